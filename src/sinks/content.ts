/**
 * What a person is told about a run, before any markup: Slack and email render the same content. Nothing here is
 * escaped; every string may be hostile.
 */
import { isJsonObject, isRawNumber, numberText, type Json, type JsonObject } from "../platform/json.ts";
import type { Report } from "../domain/report.ts";
import type { Failure } from "../domain/run.ts";
import type { Job } from "./sink.ts";

export interface Fact {
  label: string;
  value: string;
}

/** One readable part of the output. `omitted`: rows or fields left out beyond the limits. */
export type Section = { title: string | null } & (
  | { kind: "text"; text: string }
  | { kind: "fields"; fields: Fact[]; omitted: number }
  | { kind: "table"; columns: string[]; rows: string[][]; omitted: number }
);

export interface Content {
  /** `✅ Completed` */
  status: { symbol: string; label: string };
  /** Title, else prompt, else run id. One line. */
  title: string;
  /** Who and what: kind, site, prompt, duration, steps. */
  facts: Fact[];
  summary: string | null;
  failure: Failure | null;
  output: Section[];
  files: { name: string; size: string | null; url: string }[];
  links: { label: string; url: string }[];
  /** What the reader should know about the message itself. */
  notes: string[];
}

/** A map, as a hostile status may be the name of something every object inherits. */
const STATUS = new Map<string, Content["status"]>([
  ["completed", { symbol: "✅", label: "Completed" }],
  ["failed", { symbol: "❌", label: "Failed" }],
  ["terminated", { symbol: "🛑", label: "Terminated" }],
  ["timed_out", { symbol: "⏱️", label: "Timed out" }],
  ["canceled", { symbol: "🚫", label: "Canceled" }],
  ["test", { symbol: "🧪", label: "Test" }],
]);

/** Rows and fields beyond these are counted, not shown: a message is not a spreadsheet. The run page has all. */
const MAX_ROWS = 20;
const MAX_COLUMNS = 10;
const MAX_FIELDS = 20;
const MAX_SECTIONS = 5;

const ALERT = { symbol: "🔔", label: "Relay alert" };

export function contentOf(report: Report, cause: Job["cause"]): Content {
  const isAlert = cause === "alert";
  return {
    status: isAlert ? ALERT : (STATUS.get(report.status) ?? { symbol: "ℹ️", label: report.status }),
    title: oneLine(report.title ?? report.prompt ?? report.run_id),
    facts: isAlert ? [] : factsOf(report),
    summary: report.summary,
    failure: report.failure,
    output: sectionsOf(report),
    files: report.files.map(({ name, size, url }) => ({ name, size: size === null ? null : bytes(size), url })),
    links: isAlert ? [{ label: "Open the relay", url: report.run_url }] : linksOf(report),
    notes: notesOf(report, cause),
  };
}

function factsOf(report: Report): Fact[] {
  const facts: [string, string | null][] = [
    ["Run", report.run_id],
    ["Type", report.run_type],
    ["Workflow", report.workflow?.permanent_id ?? null],
    ["Prompt", report.title === null ? null : report.prompt],
    ["Site", report.url],
    ["Channel", report.channel],
    ["Duration", report.duration_ms === null ? null : duration(report.duration_ms)],
    ["Steps", report.step_count === null ? null : String(report.step_count)],
    ["Finished", report.finished_at === null ? null : report.finished_at.replace("T", " ").replace(/\.\d+Z$/, " UTC")],
  ];
  return facts.flatMap(([label, value]) => (value === null || value === "" ? [] : [{ label, value }]));
}

function linksOf(report: Report): Content["links"] {
  const links: [string, string | null][] = [
    ["Run page", report.run_url],
    ["Open in Skyvern", report.app_url],
    ["Recording", report.recording_url],
    ["Screenshot", report.screenshot_urls[0] ?? null],
  ];
  return links.flatMap(([label, url]) => (url !== null && /^https?:\/\//i.test(url) ? [{ label, url }] : []));
}

function notesOf(report: Report, cause: Job["cause"]): string[] {
  const notes: string[] = [];
  if (cause === "alert") notes.push("This message is of the relay itself, not of a run.");
  if (cause === "test") notes.push("This is a test message. No run happened.");
  if (cause === "redelivery") notes.push("Sent again on request.");
  if (cause === "correction") notes.push("Correction: the outcome of this run changed.");
  if (report.artifacts_status === "partial") {
    notes.push(
      "Skyvern's artifact list could not be read in time: only the artifacts named in its webhook are linked.",
    );
  }
  if (report.artifacts_status === "unavailable")
    notes.push("Skyvern's artifacts could not be read in time: none is linked.");
  if (report.reported_status !== report.status) {
    notes.push(
      `Skyvern's last webhook says "${report.reported_status}": that was its webhook failing to arrive, not the run.`,
    );
  }
  return notes;
}

/** The output in readable parts: a workflow's blocks one by one, lists of objects as tables, objects as fields. */
function sectionsOf(report: Report): Section[] {
  const { output } = report;
  if (report.kind === "workflow" && isJsonObject(output)) {
    // Where no block has anything to say, what is left is their bookkeeping.
    return blockValues(output)
      .slice(0, MAX_SECTIONS)
      .map(([title, value]) => section(title, value));
  }
  return output === null || isEmpty(output) ? [] : [section(null, output)];
}

/** Block outputs worth reading, by block label; what task-like blocks extracted instead of their bookkeeping. */
function blockValues(output: JsonObject): [string, Json][] {
  const found: [string, Json][] = [];
  for (const [key, value] of Object.entries(output)) {
    if (key === "extracted_information") continue;
    const readable = blockValue(value);
    if (!isEmpty(readable)) found.push([key.replace(/_output$/, ""), readable]);
  }
  const all = output["extracted_information"];
  if (found.length === 0 && all !== undefined && !isEmpty(all)) {
    found.push(["extracted information", Array.isArray(all) && all.length === 1 ? (all[0] ?? null) : all]);
  }
  return found;
}

function blockValue(value: Json): Json {
  if (isJsonObject(value)) return "extracted_information" in value ? (value["extracted_information"] ?? null) : value;
  if (!Array.isArray(value)) return value;
  return value
    .flat()
    .map((item) => (isJsonObject(item) && "output_value" in item ? blockValue(item["output_value"] ?? null) : item))
    .filter((item) => !isEmpty(item));
}

const isEmpty = (value: Json): boolean =>
  value === null ||
  value === "" ||
  (Array.isArray(value) && value.every(isEmpty)) ||
  (isJsonObject(value) && Object.keys(value).length === 0);

function section(title: string | null, value: Json): Section {
  if (isJsonObject(value)) {
    const entries = Object.entries(value);
    const [only] = entries;
    if (only && entries.length === 1 && isTable(only[1])) return table(title ?? only[0], only[1]);
    const fields = entries.slice(0, MAX_FIELDS).map(([label, field]) => ({ label, value: show(field) }));
    return { kind: "fields", title, fields, omitted: entries.length - fields.length };
  }
  if (isTable(value)) return table(title, value);
  if (Array.isArray(value)) {
    const shown = value.slice(0, MAX_ROWS).map((item) => `• ${show(item)}`);
    const more = value.length > shown.length ? [`… and ${value.length - shown.length} more`] : [];
    return { kind: "text", title, text: [...shown, ...more].join("\n") };
  }
  return { kind: "text", title, text: show(value) };
}

const isTable = (value: Json): value is JsonObject[] =>
  Array.isArray(value) && value.length > 0 && value.every((row) => isJsonObject(row) && Object.keys(row).length > 0);

function table(title: string | null, items: JsonObject[]): Section {
  const columns = [...new Set(items.slice(0, MAX_ROWS).flatMap((item) => Object.keys(item)))].slice(0, MAX_COLUMNS);
  const rows = items.slice(0, MAX_ROWS).map((item) => columns.map((column) => show(item[column] ?? null)));
  return { kind: "table", title, columns, rows, omitted: items.length - rows.length };
}

/** A value as a person would write it; numbers digit for digit. */
function show(value: Json): string {
  if (value === null) return "–";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" || isRawNumber(value)) return numberText(value);
  return JSON.stringify(value);
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim();

/** `1 h 2 min`, `2 min 5 s`, `3.2 s` */
export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60
    ? `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `91 kB`: decimal units, as mail clients and browsers count. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = n < 1 ? 0 : Math.min(Math.floor(Math.log10(n) / 3), units.length - 1);
  const value = n / 1000 ** unit;
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Cuts text to `max` UTF-16 units without splitting a character, the last one a `…` that says so. */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const end = /[\uD800-\uDBFF]/.test(text.charAt(max - 2)) ? max - 2 : max - 1;
  return `${text.slice(0, end)}…`;
}
