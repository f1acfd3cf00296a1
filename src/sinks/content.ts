/**
 * What a message says about a run, before any markup: Slack and email render the same content. Nothing here is escaped;
 * every string may be hostile.
 */
import { typeName } from "../domain/block.ts";
import { nameRun, oneLine, type Report } from "../domain/report.ts";
import { isTerminal, RETRYING, type Failure } from "../domain/run.ts";
import { lookOf, type StatusLook } from "../domain/status-look.ts";
import { cut } from "./cut.ts";
import { fitLines } from "./fit-lines.ts";
import { plainReason } from "./plain-reason.ts";
import {
  bytes,
  isBareSuccess,
  MESSAGE_AMOUNT,
  readableOutput,
  type Amount,
  type Fact,
  type Section,
} from "./readable-output.ts";
import type { Job } from "./sink.ts";

export interface Content {
  /** `✅ Completed` */
  status: StatusLook;
  /** The run's name, in one line (`nameRun`). */
  title: string;
  /** When it ended, how long it took, its channel and labels: parts of one line. */
  about: string[];
  /** What was asked for, as far as the title does not say it. */
  facts: Fact[];
  /** By what it is found again: its id, type and workflow. Parts of one line. */
  ids: string[];
  summary: string | null;
  /** Of every run that ended without success. `at`: the block where, `Failed at download (block 3 of 8)`. */
  failure: (Omit<Failure, "reason"> & { reason: string; at: string | null }) | null;
  /** Skyvern's run attempts, when there were several. */
  attempts: (Section & { kind: "table" }) | null;
  output: Section[];
  /** How many blocks' output is not shown. */
  omittedBlocks: number;
  files: { name: string; size: string | null; url: string }[];
  links: { label: string; url: string }[];
  /** Remarks about the message itself. */
  notes: string[];
}

const ALERT: StatusLook = { label: "Relay alert", symbol: "🔔", tone: "bad" };

export function buildContent(report: Report, cause: Job["cause"], amount: Amount = MESSAGE_AMOUNT): Content {
  const isAlert = cause === "alert";
  const most = isAlert ? Infinity : amount.text;
  const lines = report.failure === null ? amount.lines : Math.min(amount.lines, amount.linesBesideFailure);
  const failure = isAlert ? null : describeFailure(report, most);
  const readable = readableOutput(report, amount);
  // That a block worked is no answer where the run did not.
  const blocks = failure === null ? readable.blocks : readable.blocks.filter((block) => !isBareSuccess(block));
  const { sections, omittedBlocks } = fitLines({ ...readable, blocks }, lines);
  const title = nameRun(report);
  return {
    status: isAlert ? ALERT : describeStatus(report),
    title,
    about: isAlert ? [] : listAbout(report),
    facts: isAlert ? [] : listFacts(report, title),
    ids: isAlert ? [] : listIds(report),
    summary: report.summary === null ? null : cut(report.summary, most),
    failure,
    attempts: listAttempts(report),
    output:
      isAlert || !isBare(report, sections) ? sections : [{ kind: "text", title: null, text: "The run has no output." }],
    omittedBlocks,
    files: report.files.map(({ name, size, url }) => ({ name, size: size === null ? null : bytes(size), url })),
    links: isAlert ? [{ label: "Open the relay", url: report.run_url }] : listLinks(report),
    notes: listNotes(report, cause),
  };
}

/** Nothing came of it that could be shown, which is said: a message that stops short looks cut off. */
const isBare = ({ status, summary, files }: Report, sections: readonly Section[]): boolean =>
  status === "completed" && sections.length === 0 && (summary ?? "") === "" && files.length === 0;

/** `Completed at the 2nd attempt`, `Failed after 3 attempts`: how it ended, and how often Skyvern tried. */
function describeStatus({ status, attempt }: Report): StatusLook {
  const look = lookOf(status);
  if (attempt === 1 || status === RETRYING) return look;
  const how = status === "completed" ? ` at the ${ordinal(attempt)} attempt` : ` after ${attempt} attempts`;
  return { ...look, label: look.label + (isTerminal(status) ? how : `, attempt ${attempt}`) };
}

/** `1st`, `2nd`, `3rd`, `4th`, `11th` */
export function ordinal(n: number): string {
  const endings: Record<string, string> = { one: "st", two: "nd", few: "rd" };
  return `${n}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(n)] ?? "th"}`;
}

/** Skyvern makes at most 6. */
const MAX_ATTEMPTS = 20;

function listAttempts({ attempts, failure }: Report): Content["attempts"] {
  if (attempts.length < 2) return null;
  const shown = attempts.slice(-MAX_ATTEMPTS);
  const reasonOf = (reason: string | null): string =>
    reason !== null && reason === failure?.reason ? "the reason above" : (plainReason(reason) ?? "–");
  return {
    kind: "table",
    title: "Attempts",
    columns: ["Attempt", "Status", "Reason", "Codes", "Started", "Finished"],
    rows: shown.map(({ attempt, status, reason, codes, started_at, finished_at }) => [
      String(attempt),
      lookOf(status).label,
      reasonOf(reason),
      codes.join(", ") || "–",
      timeOrDash(started_at),
      timeOrDash(finished_at),
    ]),
    omitted: attempts.length - shown.length,
    omittedColumns: 0,
  };
}

const timeOrDash = (time: string | null): string => (time === null ? "–" : formatTime(time));
const formatTime = (time: string): string => time.replace("T", " ").replace(/\.\d+Z$/, " UTC");

function describeFailure({ failure, status, blocks, finished_at }: Report, most: number): Content["failure"] {
  const { label } = lookOf(status);
  const said = { codes: [], categories: [], errors: [], reason: NO_REASON };
  if (failure === null) {
    if (!isTerminal(status) || status === "completed") return null;
    const last = blocks.at(-1);
    const how = last !== undefined && wasOver(last, finished_at) ? "after" : "at";
    return { ...said, at: last === undefined ? null : `${label} ${how} ${nameBlock(last)}` };
  }
  const { block, categories, reason: given, ...rest } = failure;
  const at = block === null ? null : `${label} at ${nameBlock(block)} (block ${block.index} of ${block.of})`;
  const reason = plainReason(given, at === null ? "unnamed" : "named");
  // It says nothing, and less beside others.
  const known = categories.filter((category) => category !== "UNKNOWN");
  return { ...rest, reason: reason === null ? NO_REASON : cut(reason, most), categories: known, at };
}

/** Whether a block was over when its run ended: Skyvern lets the one under way go on, which then says that it worked. */
function wasOver({ status, started_at, duration_ms }: Report["blocks"][number], end: string | null): boolean {
  if (status !== "completed") return false;
  if (started_at === null || duration_ms === null || end === null) return true;
  return Date.parse(started_at) + duration_ms <= Date.parse(end);
}

const NO_REASON = "Skyvern gives no reason.";

const nameBlock = ({ label, type }: { label: string | null; type: string }): string =>
  oneLine(label ?? "") || typeName(type);

/** What people tell runs apart by; a run with more has its tags from a program. */
const MAX_TAGS = 10;

function listAbout(report: Report): string[] {
  const parts = [
    report.finished_at === null ? null : formatTime(report.finished_at),
    report.duration_ms === null ? null : duration(report.duration_ms),
    report.channel,
    ...Object.entries(report.labels).map(([name, value]) => `${name}: ${value}`),
    ...report.tags.slice(0, MAX_TAGS),
  ];
  return parts.filter((part) => part !== null && part !== "") as string[];
}

/** The run's goal in one line; null where its title says all of it. */
export function goalBeside(prompt: string | null, title: string): string | null {
  const goal = oneLine(prompt ?? "");
  return goal === "" || title.includes(goal) ? null : goal;
}

function listFacts({ prompt, url }: Report, title: string): Fact[] {
  const goal = goalBeside(prompt, title);
  const host = url === null ? "" : (URL.parse(url)?.host ?? "");
  return [
    ...(goal === null ? [] : [{ label: "Goal", value: goal }]),
    ...(url === null || url === "" || (host !== "" && title.startsWith(`${host}:`))
      ? []
      : [{ label: "Site", value: url }]),
  ];
}

function listIds(report: Report): string[] {
  const parts = [
    report.run_id,
    report.run_type,
    report.workflow?.permanent_id ?? null,
    ...listOrigin(report),
    report.step_count === null || report.step_count === 0
      ? null
      : `${report.step_count} step${report.step_count === 1 ? "" : "s"}`,
  ];
  return parts.filter((part) => part !== null && part !== "") as string[];
}

/** What started the run, unless that was a call of Skyvern's API, as nearly always. */
const listOrigin = ({ trigger, related: { parent, retried_from } }: Report): string[] => [
  ...(parent === null ? [] : [`child of ${parent}`]),
  ...(retried_from === null ? [] : [`retry of ${retried_from}`]),
  ...(trigger === null || trigger === "api" ? [] : [`trigger: ${trigger}`]),
];

function listLinks(report: Report): Content["links"] {
  const links: [string, string | null][] = [
    ["Run page", report.run_url],
    ["Open in Skyvern", report.app_url],
    ["Recording", report.recording_url],
    ["Screenshot", report.screenshot_urls[0] ?? null],
  ];
  return links.flatMap(([label, url]) => (url !== null && /^https?:\/\//i.test(url) ? [{ label, url }] : []));
}

function listNotes(report: Report, cause: Job["cause"]): string[] {
  const notes: string[] = [];
  if (cause === "alert") notes.push("This message is about the relay itself, not about a run.");
  if (cause === "test") notes.push("This is a test message. No run happened.");
  if (cause === "redelivery") notes.push("Sent again on request.");
  if (cause === "correction") notes.push("Correction: the outcome of this run changed.");
  if (report.artifacts_status === "partial") {
    notes.push("Skyvern could not be asked for all artifacts, so only those that its webhook named are linked.");
  }
  if (report.artifacts_status === "unavailable")
    notes.push("Skyvern could not be asked for screenshots and files, so none are linked.");
  const last = report.attempts.at(-1);
  if (report.status === RETRYING) {
    const at = report.next_attempt_at === null ? "" : ` at ${formatTime(report.next_attempt_at)}`;
    notes.push(`Attempt ${report.attempt} ended as ${report.reported_status}. Skyvern tries again${at}.`);
  } else if (last?.decision === "never_started") {
    notes.push("Skyvern announced another attempt, but it never started.");
  } else if (last?.decision === "revoked") {
    notes.push("Another attempt was planned; it was canceled before it began.");
  } else if (report.reported_status !== report.status) {
    notes.push(
      `Skyvern's last webhook says "${report.reported_status}" because its webhook did not arrive; the run ` +
        "itself did not fail.",
    );
  }
  return notes;
}

/** `1 h 2 min`, `2 min 5 s`, `3.2 s`, `45 ms` */
export function duration(ms: number): string {
  if (ms < 100) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60
    ? `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
