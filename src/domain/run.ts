/**
 * The glossary. These words mean the same in code, tables, JSON, logs, pages and documents.
 *
 * What comes in:
 *
 * - *run*: one Skyvern run, known by its `run_id`.
 * - *run attempt*: one of Skyvern's own tries of a run (its "automatic retry"), all under the same `run_id`.
 * - *payload*: what Skyvern sent. *Channel*: the word after `/webhook/` in the address that it was sent to.
 * - *receipt*: one authenticated body that arrived. *Unrecognized*: no run could be read from it. *Disputed*: Skyvern
 *   has not yet said whose run it is.
 * - *settle*: decide what a receipt means for its run; the *verdict* is the result.
 * - *revision*: a numbered state of a run's outcome.
 * - *final*: Skyvern does no more work on a run in this status (`TERMINAL_STATUSES`), and retries it no more.
 * - *listed run*: a final run in Skyvern's own list; *coverage* compares these with what was delivered.
 *
 * What goes out:
 *
 * - *report*: a run with its artifacts, ready to be rendered (`report.ts`).
 * - *route*: a rule that chooses sinks.
 * - *sink*: a configured destination with a name; *sink kind*: the code for one type of it.
 * - *delivery*: the duty to bring one revision of one *subject* (a run, or one attempt of it) to one sink, a row of
 *   the outbox.
 * - *attempt*: one try of a delivery; *outcome*: what the attempt came to; *delivery receipt*: what the sink answered.
 * - *claim*: take due deliveries under a *lease*; *release* gives them back unattempted, *reclaim* takes those whose
 *   holder died.
 * - *pending*: to be tried, for the first time or again. *Sending*: an attempt is under way. *Backlog*: the pending and
 *   sending deliveries of a sink. *Dead*: not delivered, and not tried again. *Canceled*: another delivery covers or
 *   replaces it. *Orphan*: a delivery whose sink is no longer configured. *Expire*: become dead by age.
 * - *circuit*: a sink's circuit breaker (`deliver/circuit-breaker.ts`): *closed* lets deliveries flow, *open* lets one
 *   through at a time after failures in a row, *stopped* lets none through until somebody resumes the sink. *Lane*: the
 *   worker's queue of one sink.
 * - *alert*: a message about the relay itself.
 *
 * Inside:
 *
 * - *block*: a receipt's state and body, compressed together (`store/receipts/blocks.ts`).
 * - *mark*: a filter's value as a word of the full-text index (`store/search/search.ts`).
 * - *ledger*: what a transaction owes to roll-ups and index (`store/stats/rollups.ts`).
 * - *duty*: work that one relay of a fleet does for all (`store/postgres/fleet.ts`).
 *
 * `contract §N` in a comment: section N of docs/skyvern.md.
 *
 * JSON has snake_case keys, and so have types that become JSON; others are camelCase.
 */
import type { Json, JsonObject } from "../platform/json.ts";

/** Statuses after which Skyvern does no more work on a run. Any other status, known or not, is not final. */
export const TERMINAL_STATUSES = ["completed", "failed", "terminated", "timed_out", "canceled"] as const;
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];
export const isTerminal = (status: string): status is TerminalStatus =>
  (TERMINAL_STATUSES as readonly string[]).includes(status);

/**
 * The status of a run between two run attempts. It is the relay's own: Skyvern says `failed` (or whatever ended the
 * attempt) with `retry_pending`, and an unfinished run must not be counted, listed or delivered as a finished one.
 */
export const RETRYING = "retrying";

/**
 * True when Skyvern does no more work on a run: its status is final and no run attempt is to come. It is asked when a
 * run is settled, and when Skyvern reports it (a webhook, an answer of GET run, a row of the list).
 */
export const isFinal = ({ status, next_attempt_at }: Pick<Run, "status" | "next_attempt_at">): boolean =>
  isTerminal(status) && next_attempt_at === null;

export const SOURCES = ["webhook", "reconciled", "backfill"] as const;
/** How the relay came to know of a run. */
export type Source = (typeof SOURCES)[number];

/**
 * Names one artifact of a run in relay links: Skyvern's artifact id (`a_…`), or, where a payload gave only a URL, its
 * place: `recording`, `screenshot-1`, `file-1` (counted from 1).
 */
export type ArtifactKey = string;

export interface RunFile {
  key: ArtifactKey;
  name: string;
  /** Bytes. */
  size: number | null;
  /** The sha256, in hex. */
  checksum: string | null;
  artifact_id: string | null;
}

export interface Failure {
  reason: string | null;
  /** The `error_code`s, each once, in the order given. */
  codes: string[];
  /** Failure categories, best first. */
  categories: string[];
  /** Skyvern's own error objects. */
  errors: Json[];
}

/** One of Skyvern's tries of a run. Times are epoch milliseconds. */
export interface RunAttempt {
  /** From 1. */
  attempt: number;
  status: string;
  reason: string | null;
  codes: string[];
  started_at: number | null;
  finished_at: number | null;
  /**
   * What was decided at its end, in Skyvern's words: `retry`, `final`, `revoked` (canceled before the next one began),
   * null while it runs. `never_started` is the relay's: Skyvern announced another attempt, and a day later there was
   * none.
   */
  decision: string | null;
}

export interface Workflow {
  /** `wr_…` */
  run_id: string | null;
  /** `wpid_…` */
  permanent_id: string | null;
  /** `w_…`, one version. */
  id: string | null;
  title: string | null;
}

/** One run as the relay knows it, with all secrets masked. Times are epoch milliseconds. */
export interface Run {
  run_id: string;
  run_type: string;
  kind: "task" | "workflow";
  /** The settled outcome. */
  status: string;
  /** What the last webhook said. */
  reported_status: string;
  source: Source;
  organization_id: string | null;
  channel: string | null;
  title: string | null;
  prompt: string | null;
  url: string | null;
  summary: string | null;
  app_url: string | null;
  workflow: Workflow | null;
  output: Json;
  failure: Failure | null;
  parameters: JsonObject | null;
  files: RunFile[];
  recording: ArtifactKey | null;
  /** Newest first. */
  screenshots: ArtifactKey[];
  step_count: number | null;
  /** The run whose block started it. */
  parent: string | null;
  /** What started it, in Skyvern's words: `api`, `manual`, `scheduled`, `webhook`, … */
  trigger: string | null;
  /** The schedule that started it, `wfs_…`. */
  schedule: string | null;
  /** `key:value`, or a label alone, as Skyvern's own filter takes them; null: not known. */
  tags: string[] | null;
  /**
   * The run that it tries anew, and the one that tries it anew, each under an id of its own; null where Skyvern names
   * none.
   */
  retried_from: string | null;
  retried_by: string | null;
  /** Runs that its blocks started. */
  children: string[];
  /** What Skyvern charged for it. */
  credits: number | null;
  /** True when a script did not do and the agent took over; null without a script. */
  ai_fallback: boolean | null;
  /** What stands under the names of `receive.labels` in the query of its webhook address; null: nothing. */
  labels: Record<string, string> | null;
  /** The number of its run attempt, from 1. */
  attempt: number;
  /** Every run attempt, oldest first. Empty for a run that Skyvern tries only once. */
  attempts: RunAttempt[];
  /** When the next run attempt is to begin; null: none is to come. */
  next_attempt_at: number | null;
  created_at: number | null;
  queued_at: number | null;
  /** The first run attempt's. */
  started_at: number | null;
  finished_at: number | null;
  modified_at: number | null;
  received_at: number;
}

/** Where a workflow run comes from, as far as only Skyvern's API says it. */
export type Relations = Pick<Run, "parent" | "trigger" | "schedule" | "retried_from" | "tags">;

/**
 * How much an observation of a run weighs, compared element by element: the later run attempt; final before not final;
 * a real outcome before "failed because the webhook could not be delivered"; then the later `finished_at`,
 * `modified_at`; then the webhook before the API, which writes the same numbers otherwise (`120` and `120.0`); then
 * arrival.
 */
export type Clock = readonly [
  attempt: number,
  final: number,
  real: number,
  finished: number,
  modified: number,
  webhook: number,
  received: number,
];

/** The organization of a Skyvern key. All keys with an unknown organization count as one: null. */
export type Organization = string | null;

/** A run with everything needed to settle the next receipt. The store holds this. */
export interface RunState {
  run: Run;
  /**
   * Whose keys may speak for the run: the first signer's, until Skyvern was asked with each key to whom it shows the
   * run.
   */
  owners: readonly Organization[];
  /** Starts at 1 and grows by one with each correction or update of a final outcome. */
  revision: number;
  /** The clock of the observation that weighs most; every field that is not in `clocks` has it. */
  clock: Clock;
  clocks: Record<string, Clock>;
  /** The clock of `reported_status`, where even a failed webhook may have the last word. */
  reported: Clock;
  /** The failure that each status reported, with its clock, so that a status that wins later has its own reason. */
  failures: Record<string, FailureState>;
  /**
   * The outcome has not chosen its sinks yet: a route tests where the run comes from, and Skyvern is still to be asked.
   */
  unrouted?: true;
  /** Sinks were chosen without Skyvern's answer. Those that the routes add once it answers get the outcome then. */
  guessed?: true;
  /** The outcomes that corrections replaced, oldest first, each with the last revision that showed it. */
  replaced?: readonly (readonly [revision: number, status: string])[];
  /** The outcome that the run had before a later run attempt began after all, as long as that one has not ended. */
  ended?: string;
}

/** A part that is not in `clocks` has the clock `clock`. */
export interface FailureState {
  failure: Failure;
  clock: Clock;
  clocks: Record<string, Clock>;
}

/** An artifact row of Skyvern's API without its URL, because URLs die within hours and ids do not. */
export interface Artifact {
  artifact_id: string;
  type: string;
  created_at: number | null;
  /** The label of the block that made it, where that is known. */
  block?: string;
  /** Its name in the ZIP in which Skyvern keeps it; absent: it is a file of its own. */
  bundle?: string;
  /** Skyvern lists it, and has no byte of it. */
  empty?: true;
}

/** `pending`: not asked yet. `partial`: the payload's own, as Skyvern's list could not be read. `unavailable`: none. */
export type ArtifactsStatus = "pending" | "complete" | "partial" | "unavailable";

export const VERDICTS = [
  "accepted",
  "duplicate",
  "updated",
  "corrected",
  "stored",
  "disputed",
  "unrecognized",
] as const;
/**
 * The result of settling a receipt. `disputed`: another organization's key spoke for the run before, and Skyvern is
 * still to be asked whose it is. `unrecognized`: a known key signed it, but no run could be read from it.
 */
export type Verdict = (typeof VERDICTS)[number];

/** Why a delivery exists. */
export const CAUSES = ["result", "update", "correction", "redelivery", "test"] as const;
/** `update`: same outcome with more to show; it edits what was sent. `correction`: the outcome changed. */
export type Cause = (typeof CAUSES)[number];

export const DELIVERY_STATES = ["pending", "sending", "delivered", "dead", "canceled"] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

/**
 * What a sink answered, stored as proof and for later edits. Pages and `why` show these keys of any kind: `status` (an
 * HTTP status), `permalink`, `message_id` (a mail's).
 */
export type DeliveryReceipt = JsonObject;

/** What a delivery is about: a run, or a run attempt that ended with another one to come. */
export const SUBJECTS = ["run", "attempt"] as const;
export type Subject = (typeof SUBJECTS)[number];

/** The duty to bring one revision of one subject to one sink. */
export interface Delivery {
  id: string;
  run_id: string;
  subject: Subject;
  /** Of a run attempt its number. */
  revision: number;
  sink: string;
  /** The sink's kind. */
  kind: string;
  cause: Cause;
  state: DeliveryState;
  /** How many attempts have begun. */
  attempts: number;
  next_attempt_at: number | null;
  last_error: string | null;
  created_at: number;
  delivered_at: number | null;
  receipt: DeliveryReceipt | null;
}

/**
 * What one attempt came to. `delivered` names the revision that the message shows where the sink knows it better than
 * the worker: it found an earlier attempt's message, or made sure that there is none. `retry`: the sink may accept it
 * later (`retryAfterMs` when it said when); `unknown` marks a try whose message may have arrived, `throttled` one that
 * the sink answered with a request to slow down, which uses up no schedule. `dead`: no further try can help; `gone`:
 * the sink asked for no more messages (HTTP 410). `reason` is for people: it says who answered and what came, and never
 * holds a secret.
 *
 * Where a message has several recipients, a `delivered` outcome has a `reason` when some of them will never get it, and
 * a `retry` has the `receipt` of those that got it: the next attempt finds it in the delivery and leaves them out.
 */
export type Outcome =
  | { kind: "delivered"; receipt: DeliveryReceipt; revision?: number; reason?: string }
  | {
      kind: "retry";
      reason: string;
      retryAfterMs?: number;
      unknown?: boolean;
      throttled?: true;
      receipt?: DeliveryReceipt;
    }
  | { kind: "dead"; reason: string; gone?: true };

/** The state of a sink's circuit breaker (`deliver/circuit-breaker.ts`). Times are epoch milliseconds. */
export interface Circuit {
  state: "closed" | "open" | "stopped";
  /** Failures in a row. */
  failures: number;
  /** How often the circuit opened since the last success. */
  openings: number;
  /** When the probe of an open circuit is due. */
  until: number | null;
  /** The last failure that counted, or why the circuit was stopped. */
  reason: string | null;
  last_success_at: number | null;
  last_failure_at: number | null;
}
