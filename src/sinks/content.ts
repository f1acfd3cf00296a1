/**
 * What a message says about a run, before any markup: Slack and email render the same content. Nothing here is escaped;
 * every string may be hostile.
 */
import { isJsonObject } from "../platform/json.ts";
import { formatBytes, plural } from "../platform/amounts.ts";
import { typeName } from "../domain/block.ts";
import { nameRun, oneLine, type Report } from "../domain/report.ts";
import { isTerminal, RETRYING, type Failure } from "../domain/run.ts";
import { lookOf, type StatusLook } from "../domain/status-look.ts";
import { cut } from "./cut.ts";
import { fitLines, textHeight } from "./fit-lines.ts";
import { blockTypeIn, plainReason } from "./plain-reason.ts";
import { saidByNoCode, withoutRepeats } from "./repeats.ts";
import {
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
  /** What the run is found by: its id, type and workflow, and runs that it belongs to. Parts of one line. */
  ids: IdPart[];
  summary: string | null;
  /** Present for every run that ended without success, and for one that completed in spite of errors. */
  failure: ContentFailure | null;
  /**
   * Skyvern's run attempts, when there were several. `alike`: a sentence for all that failed for `failure`'s reason.
   */
  attempts: (Section & { kind: "table"; alike: string | null }) | null;
  output: Section[];
  /** How many blocks' output is not shown. */
  omittedBlocks: number;
  files: { name: string; size: string | null; url: string }[];
  links: { label: string; url: string }[];
  /** Remarks about the message itself. */
  notes: string[];
}

export interface ContentFailure extends Omit<Failure, "reason"> {
  /** What the reason stands under. */
  title: string;
  /** Empty where a completed run's errors give none. */
  reason: string;
  /** The block where: `Failed at download (block 3 of 8)`. */
  at: string | null;
  /** The run completed all the same. */
  isOvercome: boolean;
}

/** `run`: another run, named after the text; `url` is its page. */
export interface IdPart {
  text: string;
  run: { id: string; url: string } | null;
}

/** `answer`: the first section of the output. `blocks`: the others. */
export type MessagePart = "failure" | "picture" | "summary" | "answer" | "blocks" | "attempts" | "files" | "notes";

/** What came of the run comes first and remarks last, in every message alike. */
export function messageParts({ failure, summary, output }: Content): MessagePart[] {
  if (failure !== null && !failure.isOvercome)
    return ["failure", "picture", "summary", "answer", "blocks", "attempts", "files", "notes"];
  // Files alone are what came of it.
  if (summary === null && output.length === 0) return ["files", "picture", "failure", "blocks", "attempts", "notes"];
  return ["summary", "answer", "picture", "failure", "blocks", "attempts", "files", "notes"];
}

const ALERT: StatusLook = { label: "Relay alert", symbol: "🔔", tone: "bad" };

export function buildContent(report: Report, cause: Job["cause"], amount: Amount = MESSAGE_AMOUNT): Content {
  const isAlert = cause === "alert";
  const isTest = cause === "test";
  const most = isAlert ? Infinity : amount.text;
  const failure = isAlert ? null : describeFailure(report, most);
  const { sections, omittedBlocks } = isTest
    ? { sections: [], omittedBlocks: 0 }
    : pickOutput(report, amount, { hasFailed: failure !== null && !failure.isOvercome });
  const title = nameRun(report);
  return {
    status: isAlert ? ALERT : isTest ? lookOf("test") : describeStatus(report),
    title,
    about: isAlert ? [] : listAbout(report),
    facts: isAlert ? [] : listFacts(report, title),
    ids: isAlert ? [] : isTest ? [{ text: report.run_id, run: null }] : listIds(report),
    summary: report.summary === null || report.summary === report.failure?.reason ? null : cut(report.summary, most),
    failure,
    attempts: listAttempts(report),
    output:
      isAlert || isTest || !isBare(report, sections) ? sections : [{ kind: "text", title: null, text: NO_ANSWER }],
    omittedBlocks,
    files: report.files.map(({ name, size, url }) => ({ name, size: size === null ? null : formatBytes(size), url })),
    links: listLinks(report, cause),
    notes: listNotes(report, cause),
  };
}

/** The sections of the output that say something new, as far as the amount allows. */
function pickOutput(report: Report, amount: Amount, { hasFailed }: { hasFailed: boolean }) {
  const all = readableOutput(report, { ...amount, blocks: Infinity }).blocks;
  // That a block worked is no answer where the run did not.
  const telling = hasFailed ? all.filter((block) => !isBareSuccess(block)) : all;
  const fresh = withoutRepeats(telling, report);
  const blocks = fresh.slice(0, amount.blocks);
  return fitLines({ blocks, omittedBlocks: fresh.length - blocks.length }, linesForOutput(report, amount));
}

/** A summary and files take room from the output, and leave it some. */
function linesForOutput({ failure, summary, files }: Report, { lines, linesBesideFailure }: Amount): number {
  const beside = (summary ? textHeight(summary, lines) : 0) + files.length;
  return failure === null ? Math.max(linesBesideFailure, lines - beside) : linesBesideFailure;
}

/**
 * Whether nothing came of the run that could be shown. The message then says so: one that stops short looks cut off.
 */
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
function ordinal(n: number): string {
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
    alike: areAlike(attempts, failure) ? `${bothOrAll(attempts.length)} failed for the reason above.` : null,
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

/** Whether the attempts differ in nothing that a reader would act on. */
const areAlike = (attempts: Report["attempts"], failure: Report["failure"]): boolean =>
  attempts.every(
    ({ status, reason, codes }) =>
      status === "failed" &&
      reason !== null &&
      reason === failure?.reason &&
      codes.join() === attempts[0]?.codes.join(),
  );

const bothOrAll = (attempts: number): string => (attempts === 2 ? "Both" : `All ${attempts}`);

const timeOrDash = (time: string | null): string => (time === null ? "–" : formatTime(time));
/** Every time in a message is UTC, and says so. */
export const formatTime = (time: string): string => time.replace("T", " ").replace(/\.\d+Z$/, " UTC");

function describeFailure({ failure, status, blocks, finished_at }: Report, most: number): Content["failure"] {
  const { label } = lookOf(status);
  const isOvercome = status === "completed";
  if (failure === null) {
    if (!isTerminal(status) || isOvercome) return null;
    const last = blocks.at(-1);
    const how = last !== undefined && wasOver(last, finished_at) ? "after" : "at";
    const at = last === undefined ? null : `${label} ${how} ${nameBlock(last)}`;
    return { codes: [], categories: [], errors: [], title: at ?? WHY, reason: NO_REASON, at, isOvercome };
  }
  const { block, categories, reason: given, ...rest } = failure;
  const type = blockTypeIn(given);
  const place =
    block !== null
      ? nameBlock(block) + (block.of === 1 ? "" : ` (block ${block.index} of ${block.of})`)
      : type === null
        ? null
        : `its ${typeName(type).replace(/^[A-Z](?=[a-z ])/, (letter) => letter.toLowerCase())} block`;
  const reason = plainReason(given) ?? reasonIn(rest.errors);
  // UNKNOWN tells a reader nothing.
  const known = categories
    .slice(0, MAX_CODES)
    .filter((category) => category !== "UNKNOWN" && saidByNoCode(category, rest.codes.slice(0, MAX_CODES)));
  const said = { ...rest, categories: known, reason: cut(reason ?? (isOvercome ? "" : NO_REASON), most), isOvercome };
  if (isOvercome) {
    const isTelling = said.reason !== "" || [rest.codes, known, rest.errors].some((list) => list.length > 0);
    return isTelling ? { ...said, title: "Errors on the way", at: null } : null;
  }
  const at = place === null ? null : `${label} at ${place}`;
  return { ...said, title: at ?? WHY, at };
}

const WHY = "Why it did not complete";

/** What the first errors say, each a line; null where none says anything. */
function reasonIn(errors: Failure["errors"]): string | null {
  const texts = errors.slice(0, MAX_CODES).flatMap((error) => {
    const text = isJsonObject(error) ? error["reasoning"] : error;
    return (typeof text === "string" ? plainReason(text) : null) ?? [];
  });
  return texts.length === 0 ? null : [...new Set(texts)].join("\n");
}

/** As many are compared: no message or page shows more, and Skyvern has a few. */
const MAX_CODES = 30;

/**
 * Whether a block was over when its run ended: Skyvern lets the one under way go on, which then says that it worked.
 */
function wasOver({ status, started_at, duration_ms }: Report["blocks"][number], end: string | null): boolean {
  if (status !== "completed") return false;
  if (started_at === null || duration_ms === null || end === null) return true;
  return Date.parse(started_at) + duration_ms <= Date.parse(end);
}

export const NO_REASON = "Skyvern gives no reason.";
export const NO_ANSWER = "The run has no output.";

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

/** The run's goal in one line, or the rest of it where its title has the beginning; null where that has all of it. */
export function goalBeside(prompt: string | null, title: string): string | null {
  const goal = oneLine(prompt ?? "");
  if (isWithin(goal, title)) return null;
  const beginning = /^(?:\S+: )?(.{10,}) …$/.exec(title)?.[1];
  return beginning !== undefined && goal.startsWith(beginning) ? `… ${goal.slice(beginning.length).trim()}` : goal;
}

/** Whether one line says all that another does, but for case and the stop at its end. */
const isWithin = (part: string, whole: string): boolean =>
  whole.toLowerCase().includes(part.toLowerCase().replace(/[.!?…]+$/, ""));

function listFacts({ prompt, url }: Report, title: string): Fact[] {
  const goal = goalBeside(prompt, title);
  const host = url === null ? "" : (URL.parse(url)?.host ?? "");
  const isSaid =
    url === null || url === "" || (prompt ?? "").includes(url) || (host !== "" && title.startsWith(`${host}:`));
  return [
    ...(goal === null ? [] : [{ label: "Goal", value: goal }]),
    ...(isSaid ? [] : [{ label: "Site", value: url }]),
  ];
}

function listIds(report: Report): IdPart[] {
  const { run_id, run_type, workflow, step_count, related, trigger } = report;
  const plain = (text: string | null | undefined): IdPart[] => (text ? [{ text, run: null }] : []);
  const linked = (text: string, id: string | null): IdPart[] =>
    id === null ? [] : [{ text, run: { id, url: urlBeside(report.run_url, id) } }];
  return [
    ...plain(run_id),
    ...plain(typeName(run_type)),
    ...plain(workflow?.permanent_id),
    ...linked("started by", related.parent),
    ...linked("retry of", related.retried_from),
    // A call of Skyvern's API starts nearly every run.
    ...plain(trigger === "api" || trigger === null ? null : describeTrigger(trigger)),
    ...plain(step_count ? plural(step_count, "step") : null),
  ];
}

/** The page of another run. */
const urlBeside = (runUrl: string, id: string): string =>
  runUrl.replace(/[^/]*$/, () => encodeURIComponent(id.toWellFormed()));

/** Whether an id can neither pose as an address nor be markup. */
export const isPlainId = (id: string): boolean => /^[\w-]{1,100}$/.test(id);

const TRIGGERS = new Map([
  ["manual", "started by hand"],
  ["scheduled", "started by a schedule"],
  ["webhook", "started by a webhook"],
]);

const describeTrigger = (trigger: string): string =>
  TRIGGERS.get(trigger) ?? `started by: ${trigger.replaceAll("_", " ")}`;

export const codesLabel = ({ codes }: Pick<Failure, "codes">): string =>
  codes.length === 1 ? "Error code" : "Error codes";
export const categoriesLabel = ({ categories }: Pick<Failure, "categories">): string =>
  categories.length === 1 ? "Category" : "Categories";

/** A word of a program as people write it: `PAGE_LOAD_TIMEOUT` → `Page load timeout`. Any other text stays. */
export const plainWord = (word: string): string =>
  /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/.test(word) ? typeName(word.toLowerCase()) : word;

function listLinks(
  { run_url, app_url, recording_url, screenshot_urls }: Report,
  cause: Job["cause"],
): Content["links"] {
  const links: [string, string | null][] = [
    [OWN_PAGES.get(cause) ?? "Run page", run_url],
    ["Open in Skyvern", app_url],
    ["Recording", recording_url],
    [SCREENSHOT_LINK, screenshot_urls[0] ?? null],
  ];
  return links.flatMap(([label, url]) => (url !== null && /^https?:\/\//i.test(url) ? [{ label, url }] : []));
}

/** The relay's page that a message about no run leads to. */
const OWN_PAGES = new Map<Job["cause"], string>([
  ["alert", "Open the relay"],
  ["test", "Sinks"],
]);

const SCREENSHOT_LINK = "Screenshot";

/** The links of a message, which needs none to a screenshot that it shows. */
export const linksBeside = ({ links }: Content, picture: object | null): Content["links"] =>
  picture === null ? links : links.filter(({ label }) => label !== SCREENSHOT_LINK);

const CORRECTED = "Correction: the outcome of this run changed. This replaces what was told before.";

function listNotes(report: Report, cause: Job["cause"]): string[] {
  const notes: string[] = [];
  if (cause === "alert") notes.push("This message is about the relay itself, not about a run.");
  if (cause === "test") notes.push("This is a test message. No run happened.");
  if (cause === "redelivery") notes.push("Sent again on request.");
  if (cause === "correction") notes.push(CORRECTED);
  if (report.artifacts_status === "partial") {
    notes.push("Skyvern could not be asked for all files, so only those that its webhook named are linked.");
  }
  if (report.artifacts_status === "unavailable")
    notes.push("Skyvern could not be asked for screenshots and files, so none are linked.");
  const last = report.attempts.at(-1);
  if (report.status === RETRYING) {
    const at = report.next_attempt_at === null ? "" : ` at ${formatTime(report.next_attempt_at)}`;
    notes.push(`Attempt ${report.attempt} ended as ${inSentence(report.reported_status)}. Skyvern tries again${at}.`);
  } else if (last?.decision === "never_started") {
    notes.push("Skyvern announced another attempt, but it never started.");
  } else if (last?.decision === "revoked") {
    notes.push("Another attempt was planned; it was canceled before it began.");
  } else if (report.reported_status !== report.status) {
    notes.push(
      `Skyvern reports it as ${inSentence(report.reported_status)} only because a webhook did not arrive; the run ` +
        "itself did not fail.",
    );
  }
  return notes;
}

const inSentence = (status: string): string => lookOf(status).label.toLowerCase();

/** `1 h 2 min`, `2 min 5 s`, `3.2 s`, `45 ms` */
export function duration(ms: number): string {
  if (ms < 100) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60
    ? `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
