/**
 * A run's output in readable form. Messages and pages follow the same rules and differ in how much they show. Pure.
 * Nothing here is escaped, and every string may be hostile.
 */
import { isJsonObject, isRawNumber, numberText, type Json, type JsonObject } from "../platform/json.ts";
import { formatBytes, plural } from "../platform/amounts.ts";
import type { Report } from "../domain/report.ts";
import { lookOf } from "../domain/status-look.ts";
import { cut } from "./cut.ts";
import { isEmptyReason } from "./empty-reason.ts";
import { readMarkup, excerpt } from "./markup-text.ts";

export interface Fact {
  label: string;
  value: string;
}

/** One readable part of the output. `omitted` counts rows or fields, `omittedColumns` columns, beyond the limit. */
export type Section = { title: string | null } & (
  | { kind: "text"; text: string }
  | { kind: "fields"; fields: Fact[]; omitted: number }
  | { kind: "table"; columns: string[]; rows: string[][]; omitted: number; omittedColumns: number }
);

export interface ReadableOutput {
  /** The sections of each block that is shown. */
  blocks: Section[][];
  /** How many further blocks have output that is not shown. */
  omittedBlocks: number;
}

/** The note about what is not shown, `… and 3 more rows, 1 more column`; null when everything is. */
export function omittedIn(section: Section): string | null {
  if (section.kind === "text") return null;
  if (section.kind === "fields") return omittedWords([section.omitted, "field"]);
  return omittedWords([section.omitted, "row"], [section.omittedColumns, "column"]);
}

/** Null when nothing is omitted. */
export function omittedWords(...omitted: readonly (readonly [count: number, what: string])[]): string | null {
  const parts = omitted.filter(([count]) => count > 0).map(([count, what]) => plural(count, `more ${what}`));
  return parts.length === 0 ? null : `… and ${parts.join(", ")}`;
}

/** How much is shown; the rest is counted. */
export interface Amount {
  blocks: number;
  rows: number;
  columns: number;
  fields: number;
  /** Lines of all output together, and beside a failure, which comes first. */
  lines: number;
  linesBesideFailure: number;
  /** Characters of a summary or reason. */
  text: number;
}
/** One screen of a phone; the run's page shows everything. */
export const MESSAGE_AMOUNT: Amount = {
  blocks: 3,
  rows: 6,
  columns: 4,
  fields: 8,
  lines: 12,
  linesBesideFailure: 6,
  text: 500,
};
export const PAGE_AMOUNT: Amount = {
  blocks: 40,
  rows: 100,
  columns: 8,
  fields: 60,
  lines: Infinity,
  linesBesideFailure: Infinity,
  text: Infinity,
};

/** The last block comes first, because it is what the run was for. */
export function readableOutput({ kind, output }: Pick<Report, "kind" | "output">, amount: Amount): ReadableOutput {
  if (kind !== "workflow" || !isJsonObject(output))
    return { blocks: [listSections(null, output, amount)], omittedBlocks: 0 };
  const blocks = blockSections(output, amount);
  return { blocks: blocks.slice(0, amount.blocks), omittedBlocks: Math.max(0, blocks.length - amount.blocks) };
}

/** The sections of each block that has any, the last block first. */
function blockSections(output: JsonObject, amount: Amount): Section[][] {
  const ofLoops = new Set(Object.values(output).flatMap(keysInLoop));
  const blocks = Object.entries(output)
    .filter(([key]) => key !== EXTRACTED && !ofLoops.has(key))
    .map(([key, value]) => listSections(labelOf(key), value, amount))
    .filter((sections) => sections.length > 0)
    .toReversed()
    // A block that only says that it worked stands behind those that say what came of it.
    .toSorted((a, b) => Number(isBareSuccess(a)) - Number(isBareSuccess(b)));
  if (blocks.length > 0) return blocks;
  // Used only when no block has output of its own, because it repeats what the blocks extracted.
  const all = output[EXTRACTED] ?? null;
  const extracted = listSections(
    "extracted information",
    Array.isArray(all) && all.length === 1 ? all[0]! : all,
    amount,
  );
  return extracted.length === 0 ? [] : [extracted];
}

/** What comes of a block that sends a mail or waits. */
export const isBareSuccess = ([section, ...rest]: Section[]): boolean =>
  rest.length === 0 && section?.kind === "text" && section.text === DONE;

/** What only says that it worked, in words. */
const DONE = "Done.";

/** `{"success": true}`, and what comes of a pause that a person ended: beside it a reason that says nothing. */
const isSuccess = (value: Json): boolean =>
  isJsonObject(value) &&
  value["success"] === true &&
  Object.entries(value).every(
    ([key, field]) => key === "success" || (key === "reason" && typeof field === "string" && isEmptyReason(field)),
  );

const EXTRACTED = "extracted_information";
const labelOf = (key: string): string => key.replace(/_output$/, "");

// --- what a value is ------------------------------------------------------------------------------------------------

/** A block's value without its bookkeeping. `note` says about it what a word or two can say. */
interface Essence {
  note: string | null;
  value: Json;
  /** The value in one line, where a line has a word of its own for it. */
  brief?: string;
}

/** Reads a block's value by its shape (contract §9, "Values of blocks"). */
function extractEssence(value: Json): Essence {
  if (typeof value === "string") return describeMarkup(value) ?? { note: null, value };
  if (!isJsonObject(value)) return { note: null, value };
  if ("status_code" in value && "response_body" in value) {
    const { status_code: status = null, response_body: body = null } = value;
    const http = `HTTP ${show(status)}`;
    const page = typeof body === "string" ? describeMarkup(body, { part: true }) : null;
    return page === null ? { note: http, value: body } : { ...page, note: `${http}, ${page.note}` };
  }
  if ("workflow_run_id" in value && "outputs" in value) {
    const { status = null, failure_reason: reason = null, outputs = null } = value;
    const came = isEmpty(outputs) ? reason : withoutEnding(outputs);
    if (status === "completed") return { note: null, value: isEmpty(came) ? { success: true } : came };
    return { note: typeof status === "string" ? lookOf(status).label.toLowerCase() : show(status), value: came };
  }
  if (EXTRACTED in value && ("task_id" in value || "status" in value)) {
    const { [EXTRACTED]: extracted = null, downloaded_files: files = null } = value;
    return { note: null, value: isEmpty(extracted) ? files : extracted };
  }
  return { note: null, value };
}

/** Characters of a page in one line. */
const MAX_MARKUP_LINE = 120;

/** A web page or XML as the text of it; null for any other text. */
function describeMarkup(text: string, options?: { part: boolean }): Essence | null {
  const markup = readMarkup(text, options);
  if (markup === null) return null;
  const { kind, title, lines } = markup;
  const brief = title ?? lines.slice(0, MAX_PARTS).join(", ");
  return { note: kind, value: excerpt(markup), brief: cut(brief, MAX_MARKUP_LINE) };
}

/** The blocks of a child run, by label. */
const withoutEnding = (outputs: Json): Json =>
  isJsonObject(outputs)
    ? Object.fromEntries(
        Object.entries(outputs).flatMap(([key, value]) => {
          const inner = extractEssence(value).value;
          return key === EXTRACTED || isEmpty(inner) ? [] : [[labelOf(key), inner] as const];
        }),
      )
    : outputs;

/** The result of one inner block of a loop in one round. */
interface LoopEntry {
  key: string;
  item: Json;
  value: Json;
}

/** The rounds of a loop with their inner blocks; null when the value is no loop's. */
function parseRounds(value: Json): LoopEntry[][] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const rounds: LoopEntry[][] = [];
  for (const item of value) {
    const entries = (Array.isArray(item) ? item : [item]).map(parseEntry);
    const complete = entries.filter((entry) => entry !== null);
    if (complete.length < entries.length) return null;
    rounds.push(complete);
  }
  return rounds.some((round) => round.length > 0) ? rounds : null;
}

function parseEntry(item: Json): LoopEntry | null {
  if (!isJsonObject(item) || !("output_value" in item)) return null;
  const { output_parameter: parameter = null, loop_value: looped = null, output_value: value = null } = item;
  const key = isJsonObject(parameter) && typeof parameter["key"] === "string" ? parameter["key"] : "";
  return { key, item: looped, value };
}

/** The same value also stands at top level, as the last round left it. */
const keysInLoop = (value: Json): string[] =>
  (parseRounds(value) ?? []).flatMap((round) => round.flatMap((entry) => [entry.key, ...keysInLoop(entry.value)]));

const isFileList = (value: Json): value is JsonObject[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((one) => isJsonObject(one) && "url" in one && ("filename" in one || "checksum" in one));

/** What an HTTP request that saves its answer comes to: its path is one of Skyvern's machine. */
const isSavedFile = (value: Json): value is JsonObject =>
  isJsonObject(value) &&
  typeof value["file_name"] === "string" &&
  Object.keys(value).toSorted().join() === "file_name,file_path,file_size";

const isTable = (value: Json): value is JsonObject[] =>
  Array.isArray(value) && value.length > 0 && value.every((row) => isJsonObject(row) && Object.keys(row).length > 0);

const isEmpty = (value: Json): boolean =>
  value === null ||
  value === "" ||
  (Array.isArray(value) && value.every(isEmpty)) ||
  (isJsonObject(value) && Object.keys(value).length === 0);

// --- sections -------------------------------------------------------------------------------------------------------

/** How many nested objects of a single field are followed. */
const MAX_DEPTH = 6;
/** How many tables inside one value get a section of their own. */
const MAX_INNER_TABLES = 3;

function listSections(title: string | null, given: Json, amount: Amount, depth = 0): Section[] {
  const { note, value } = extractEssence(given);
  const named = note === null ? title : `${title ?? "output"} – ${note}`;
  if (isEmpty(value)) return note === null ? [] : [{ kind: "text", title, text: note }];
  if (isSuccess(value)) return [{ kind: "text", title: named, text: DONE }];
  const rounds = parseRounds(value);
  if (rounds !== null) return loopSections(named, rounds, amount);
  if (isSavedFile(value)) return [{ kind: "text", title: named, text: savedFileLine(value) }];
  if (isFileList(value)) return [{ kind: "text", title: named, text: listed(value.map(fileLine), amount) }];
  if (isTable(value)) return [tableSection(named, value, amount)];
  if (Array.isArray(value) && value.length === 1 && depth < MAX_DEPTH)
    return listSections(named, value[0]!, amount, depth + 1);
  if (Array.isArray(value)) return [{ kind: "text", title: named, text: listed(value.map(compact), amount) }];
  if (isJsonObject(value)) return objectSections(named, value, amount, depth);
  return [{ kind: "text", title: named, text: show(value) }];
}

function objectSections(title: string | null, value: JsonObject, amount: Amount, depth: number): Section[] {
  const entries = Object.entries(value);
  const [only] = entries;
  if (only && entries.length === 1 && typeof only[1] === "object" && depth < MAX_DEPTH) {
    const inner = listSections(title ?? only[0], only[1], amount, depth + 1);
    if (inner.length > 0) return inner;
  }
  const tables = entries.filter(([, field]) => isTable(field) && !fitsLine(field)).slice(0, MAX_INNER_TABLES);
  const apart = new Set(tables.map(([key]) => key));
  const rest = entries.filter(([key]) => !apart.has(key));
  const fields = rest.slice(0, amount.fields).map(([label, field]) => ({ label, value: compact(field) }));
  return [
    ...(fields.length === 0
      ? []
      : [{ kind: "fields", title, fields, omitted: rest.length - fields.length } satisfies Section]),
    ...tables.map(([key, rows]) =>
      tableSection(title === null ? key : `${title} › ${key}`, rows as JsonObject[], amount),
    ),
  ];
}

/** A row of a few fields stands in one line. */
const fitsLine = ([first, ...rest]: JsonObject[]): boolean =>
  rest.length === 0 && Object.keys(first ?? {}).length <= MAX_PARTS;

/** A single row is shown as fields. When not all columns fit, the first that differ are shown. */
function tableSection(title: string | null, items: JsonObject[], amount: Amount): Section {
  const [only] = items;
  if (only && items.length === 1) {
    const entries = Object.entries(only);
    const fields = entries.slice(0, amount.fields).map(([label, field]) => ({ label, value: compact(field) }));
    return { kind: "fields", title, fields, omitted: entries.length - fields.length };
  }
  const shown = items.slice(0, amount.rows);
  const all = [...new Set(shown.flatMap((item) => Object.keys(item)))];
  const cells = (column: string) => shown.map((item) => compact(item[column] ?? null));
  const differing = all.length <= amount.columns ? all : all.filter((column) => new Set(cells(column)).size > 1);
  const columns = (differing.length === 0 ? all : differing).slice(0, amount.columns);
  return {
    kind: "table",
    title,
    columns,
    rows: shown.map((item) => columns.map((column) => compact(item[column] ?? null))),
    omitted: items.length - shown.length,
    omittedColumns: all.length - columns.length,
  };
}

/** One row for each round: its item, then its inner blocks by name. */
function loopSections(title: string | null, rounds: LoopEntry[][], amount: Amount): Section[] {
  const keys = [...new Set(rounds.flatMap((round) => round.map(({ key }) => key)))];
  const values = rounds.flat().map(({ value }) => extractEssence(value));
  if (values.every(({ note, value }) => note === null && isEmpty(value))) return [];
  const isSpread = keys.length === 1 && values.every(({ value }) => isJsonObject(value) && !isSuccess(value));
  const filled = rounds.filter((round) => round.length > 0);
  const rows = filled.map((round): JsonObject => {
    const [first] = round;
    const about = first === undefined || first.item === null ? {} : { item: first.item };
    if (isSpread && first) return { ...about, ...(extractEssence(first.value).value as JsonObject) };
    return { ...about, ...Object.fromEntries(round.map(({ key, value }) => [labelOf(key) || "value", value])) };
  });
  return [tableSection(title, rows, amount)];
}

function listed(lines: readonly string[], { rows }: Amount): string {
  const shown = lines.slice(0, rows).map((line) => `• ${line}`);
  return [...shown, ...(lines.length > shown.length ? [`… and ${lines.length - shown.length} more`] : [])].join("\n");
}

function fileLine({ filename = null, file_size: size = null }: JsonObject): string {
  const name = typeof filename === "string" && filename !== "" ? filename : "file";
  return typeof size === "number" ? `${name} (${formatBytes(size)})` : name;
}

const savedFileLine = ({ file_name = null, file_size = null }: JsonObject): string =>
  listed([fileLine({ filename: file_name, file_size })], PAGE_AMOUNT);

// --- one value in a line --------------------------------------------------------------------------------------------

/** Parts of a value in a line; others are counted. */
export const MAX_PARTS = 4;

/** A value in one line; deeper nesting is counted, not shown. A dash follows its note, as a colon follows a field. */
export const compact = (given: Json): string => compactAt(given, 0);

function compactAt(given: Json, depth: number): string {
  const { note, value, brief = isEmpty(value) ? "" : inLine(value, depth) } = extractEssence(given);
  return [note ?? "", brief].filter((part) => part !== "").join(" – ") || "–";
}

function inLine(value: Json, depth: number): string {
  if (isSuccess(value)) return "done";
  const rounds = parseRounds(value);
  if (rounds !== null) return plural(rounds.length, "round");
  if (isFileList(value)) return listInLine(value, fileLine);
  if (Array.isArray(value)) {
    const [only] = value;
    if (value.length === 1 && depth < MAX_DEPTH) return compactAt(only!, depth + 1);
    return value.some(isNested) ? plural(value.length, "item") : listInLine(value, compact);
  }
  if (!isJsonObject(value)) return show(value);
  return listInLine(Object.entries(value), ([key, field]) => `${key}: ${partInLine(field)}`);
}

function listInLine<T>(parts: readonly T[], describe: (part: T) => string): string {
  const shown = parts.slice(0, MAX_PARTS).map(describe).join(", ");
  return parts.length > MAX_PARTS ? `${shown} … and ${parts.length - MAX_PARTS} more` : shown;
}

/** A field of a value that itself stands in a line: brackets keep the values of a list together. */
function partInLine(value: Json): string {
  if (!isNested(value)) return compact(value);
  const isShort = Array.isArray(value) && value.length > 0 && value.length <= MAX_PARTS;
  if (!isShort || value.some(isNested)) return size(value);
  return value.length === 1 ? compact(value[0]!) : `(${listInLine(value, compact)})`;
}

export const isNested = (value: Json): boolean => Array.isArray(value) || isJsonObject(value);

const size = (value: Json): string =>
  Array.isArray(value) ? plural(value.length, "item") : plural(Object.keys(value as JsonObject).length, "field");

/** A value as a person would write it, with numbers digit for digit. */
function show(value: Json): string {
  if (value === null) return "–";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" || isRawNumber(value)) return numberText(value);
  return size(value);
}
