/**
 * The rules for what a receipt means for its run. Pure, and independent of order: the same receipts in any order and
 * multiplicity settle to the same run. Merging achieves this by picking each field by a clock that travels with it
 * (Skyvern's own times first, arrival last), never by which receipt came second.
 */
import {
  isFinal,
  isTerminal,
  RETRYING,
  type Clock,
  type Failure,
  type FailureState,
  type Organization,
  type Run,
  type RunState,
  type Verdict,
  type Workflow,
} from "../domain/run.ts";
import { isoTime } from "../platform/time.ts";
import type { Decision } from "../store/contract/receipts.ts";

/** The part of a decision that settling makes; the note says why, when the verdict alone does not. */
export type Settled = Pick<Decision, "verdict" | "state" | "note">;

/** What a run is, whichever run attempt says it. */
const LASTING = [
  "run_type",
  "kind",
  "organization_id",
  "channel",
  "title",
  "prompt",
  "url",
  "app_url",
  "workflow.run_id",
  "workflow.permanent_id",
  "workflow.id",
  "workflow.title",
  "parameters",
  "parent",
  "trigger",
  "schedule",
  "tags",
  "retried_from",
  "retried_by",
  "labels",
  "attempts",
  "created_at",
  "started_at",
] as const satisfies (keyof Run | `workflow.${keyof Workflow}`)[];
/** What one attempt came to: of a later one nothing is filled in from an earlier one. */
const OF_ATTEMPT = [
  "status",
  "summary",
  "output",
  "files",
  "recording",
  "screenshots",
  "step_count",
  "children",
  "credits",
  "ai_fallback",
  "attempt",
  "next_attempt_at",
  "queued_at",
  "finished_at",
  "modified_at",
] as const satisfies (keyof Run)[];
const FIELDS = [...LASTING, ...OF_ATTEMPT];
type RunField = (typeof FIELDS)[number];
const OF_RUN: ReadonlySet<RunField> = new Set(LASTING);

/** `arrived` is what one receipt says, as {@link toState} makes it. */
export function settle(known: RunState | null, arrived: RunState): Settled {
  const note = saysDeliveryFailure(arrived) ? DELIVERY_FAILURE_NOTE : null;
  const state = known === null ? arrived : merge(known, arrived);
  const was = known === null ? null : outcomeOf(known);
  if (!isFinal(state.run)) {
    if (was !== null) state.ended = was;
    return { verdict: "stored", state, note: note ?? waitingNote(arrived.run) };
  }
  if (known === null || was === null) return { verdict: "accepted", state, note };
  if (!isFinal(arrived.run)) return { verdict: "stored", state, note: "not final: the outcome stands" };
  const is = state.run.status;
  const verdict = was !== is ? "corrected" : arrived.run.status === is ? sameOutcome(known, state, note) : "duplicate";
  if (verdict === "corrected" || verdict === "updated") state.revision = known.revision + 1;
  return { verdict, state, note: note ?? explainVerdict(verdict, was, is, arrived.run.reported_status) };
}

/**
 * Settles the first receipt of a run's owner when another organization's key had spoken for the run: nothing of that
 * stays except the time at which the run first appeared.
 */
export function settleAnew(usurped: RunState, arrived: RunState): Settled {
  const settled = settle(null, arrived);
  const { run } = settled.state;
  const received_at = Math.min(run.received_at, usurped.run.received_at);
  const state = { ...settled.state, run: { ...run, received_at }, revision: usurped.revision };
  if (settled.verdict === "stored" || outcomeOf(usurped) === null) return { ...settled, state };
  const isSame = run.status === usurped.run.status && shownFields(run) === shownFields(usurped.run);
  if (isSame) return { verdict: "duplicate", state, note: USURPED_NOTE };
  return { verdict: "corrected", state: { ...state, revision: state.revision + 1 }, note: USURPED_NOTE };
}

const USURPED_NOTE = "Skyvern shows the run to this key's organization, and not to the one that reported it before";

const sameOutcome = (known: RunState, state: RunState, note: string | null): "updated" | "duplicate" =>
  note === null && shownFields(known.run) !== shownFields(state.run) ? "updated" : "duplicate";

/**
 * A run whose announced run attempt never came: it is what its last attempt came to. Null when nothing is waited for.
 * Whatever Skyvern says of the run later still counts: that the retry was revoked, or that it began after all.
 */
export function settleWithoutRetry(known: RunState): Settled | null {
  const { run, clock, failures } = known;
  if (run.status !== RETRYING) return null;
  const status = run.reported_status;
  const [attempt, , ...times] = clock;
  const was = outcomeOf(known);
  const { [RETRYING]: failure, ...others } = failures;
  const attempts = run.attempts.map((one) => (one.attempt === attempt ? { ...one, decision: "never_started" } : one));
  const { ended: _ended, ...rest } = known;
  const state: RunState = {
    ...rest,
    run: { ...run, status, attempts, next_attempt_at: null },
    clock: [attempt, 1, ...times],
    failures: failure === undefined ? others : { ...others, [status]: failure },
    revision: was === null ? known.revision : known.revision + 1,
  };
  const verdict = was === null ? "accepted" : was === status ? "updated" : "corrected";
  return { verdict, state, note: `attempt ${attempt} ended as ${status}, and its retry never started` };
}

/** The outcome that may have been delivered; null when there was none. */
export const outcomeOf = ({ run, ended }: RunState): string | null => (isFinal(run) ? run.status : (ended ?? null));

/** The wait between two run attempts. */
const waitingNote = ({ status, attempt, reported_status, next_attempt_at: next }: Run): string | null =>
  status === RETRYING && next !== null
    ? `attempt ${attempt} ended as ${reported_status}; Skyvern tries again at ${isoTime(next)}`
    : null;

const DELIVERY_FAILURE_NOTE =
  "Skyvern reports only that its webhook could not be delivered; the run itself did not fail";

function explainVerdict(verdict: Verdict, was: string, is: string, reported: string): string | null {
  if (verdict === "corrected") return `the outcome changed from ${was} to ${is}`;
  return verdict === "duplicate" && reported !== is ? `reports ${reported}, but ${is} is the later outcome` : null;
}

const saysDeliveryFailure = ({ clock: [, , real] }: RunState): boolean => real === 0;

/**
 * What one receipt says of a run, as a state. `owner` is the organization whose key said so. `deliveryFailure`: the run
 * is `failed` only because Skyvern could not deliver its webhook.
 */
export function toState(run: Run, owner: Organization, deliveryFailure: boolean): RunState {
  const final = isFinal(run) ? 1 : 0;
  const times = [
    run.finished_at ?? 0,
    run.modified_at ?? 0,
    run.source === "webhook" ? 1 : 0,
    run.received_at,
  ] as const;
  // An output means that there was an outcome to report, so the run had completed; without one nothing better is known.
  const completed = deliveryFailure && run.output !== null;
  const status = completed ? "completed" : isTerminal(run.status) && final === 0 ? RETRYING : run.status;
  const failure = completed ? null : run.failure;
  const clock: Clock = [run.attempt, final, deliveryFailure ? 0 : 1, ...times];
  return {
    run: { ...run, status, failure },
    owners: [owner],
    revision: 1,
    clock,
    clocks: {},
    reported: [run.attempt, final, 1, ...times],
    failures: failure === null ? {} : { [status]: { failure, clock, clocks: {} } },
  };
}

function merge(known: RunState, arrived: RunState): RunState {
  const clock = isLater(arrived.clock, known.clock) ? arrived.clock : known.clock;
  const clocks: RunState["clocks"] = {};
  const values: Partial<Record<RunField, unknown>> = {};
  for (const field of FIELDS) {
    const picked = pick(field, known, arrived);
    values[field] = picked.value;
    if (!isMissing(picked.value) && compare(picked.clock, clock) !== 0) clocks[field] = picked.clock;
  }
  // The announced run attempt is off, so null is new information here.
  if (values.status !== RETRYING) values.next_attempt_at = null;
  const first = arrived.run.received_at < known.run.received_at ? arrived.run : known.run;
  const last = isLater(arrived.reported, known.reported) ? arrived : known;
  const failures = mergeFailures(known, arrived);
  return {
    run: {
      ...toRun(values),
      run_id: known.run.run_id,
      source: first.source,
      received_at: first.received_at,
      reported_status: last.run.reported_status,
      failure: new Map(Object.entries(failures)).get(String(values.status))?.failure ?? null,
    },
    owners: known.owners,
    revision: known.revision,
    clock,
    clocks,
    reported: last.reported,
    failures,
  };
}

/** The value of one field: a present value beats a missing one, and the later beats the earlier (`pickLater`). */
function pick(field: RunField, known: RunState, arrived: RunState): Dated {
  if (!OF_RUN.has(field) && known.run.attempt !== arrived.run.attempt) {
    const { run, clock, clocks } = known.run.attempt > arrived.run.attempt ? known : arrived;
    return { value: read(run, field), clock: clocks[field] ?? clock };
  }
  const a = { value: read(known.run, field), clock: known.clocks[field] ?? known.clock };
  const b = { value: read(arrived.run, field), clock: arrived.clocks[field] ?? arrived.clock };
  return pickLater(a, b);
}

interface Dated {
  value: unknown;
  clock: Clock;
}

/** The present one of two values, else the one that Skyvern has not removed, else the later one. */
function pickLater(a: Dated, b: Dated): Dated {
  const [later, earlier] = isLater(b.clock, a.clock) ? [b, a] : [a, b];
  if (isMissing(later.value) || isMissing(earlier.value)) return isMissing(later.value) ? earlier : later;
  return isRemoved(later) && !isRemoved(earlier) ? earlier : later;
}

/** What Skyvern's retention leaves of a text (contract §9). */
const REMOVED = "[removed]";

/**
 * True when Skyvern has removed some of a value. Retention works on old runs, so only the API answers it: in a webhook
 * the same words are a page's.
 */
const isRemoved = ({ value, clock: [, , , , , webhook] }: Dated): boolean => webhook === 0 && holdsRemoved(value);

function holdsRemoved(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value === REMOVED;
  return Object.values(value).some(holdsRemoved);
}

const isMissing = (value: unknown): boolean =>
  value === null || value === undefined || (Array.isArray(value) && value.length === 0);

const read = (run: Run, field: RunField): unknown => {
  const [key, part] = field.split(".") as [keyof Run, keyof Workflow | undefined];
  return part === undefined ? run[key] : (run.workflow?.[part] ?? null);
};

/** The merged fields as a run. Every field was read from a run, so each has its type. */
function toRun(
  values: Partial<Record<RunField, unknown>>,
): Omit<Run, "run_id" | "source" | "received_at" | "reported_status" | "failure"> {
  const {
    "workflow.run_id": run_id,
    "workflow.permanent_id": permanent_id,
    "workflow.id": id,
    "workflow.title": title,
    ...rest
  } = values;
  const workflow = { run_id, permanent_id, id, title } as Workflow;
  const none = Object.values(workflow).every((value) => value === null);
  return { ...(rest as Omit<Run, "workflow">), workflow: none ? null : workflow };
}

function mergeFailures(known: RunState, arrived: RunState): RunState["failures"] {
  if (known.run.attempt !== arrived.run.attempt)
    return (known.run.attempt > arrived.run.attempt ? known : arrived).failures;
  // A status may be any text, also the name of an inherited property, so only entries are read.
  const failures = new Map(Object.entries(known.failures));
  for (const [status, entry] of Object.entries(arrived.failures)) {
    const had = failures.get(status);
    failures.set(status, had === undefined ? entry : mergeFailure(had, entry));
  }
  return Object.fromEntries(failures);
}

const FAILURE_PARTS = ["reason", "codes", "categories", "errors"] as const satisfies (keyof Failure)[];

/** Merged part by part, because the API has no categories and must not erase the webhook's. */
function mergeFailure(known: FailureState, arrived: FailureState): FailureState {
  const clock = isLater(arrived.clock, known.clock) ? arrived.clock : known.clock;
  const clocks: FailureState["clocks"] = {};
  const parts: Partial<Record<keyof Failure, unknown>> = {};
  for (const part of FAILURE_PARTS) {
    const a = { value: known.failure[part], clock: known.clocks[part] ?? known.clock };
    const b = { value: arrived.failure[part], clock: arrived.clocks[part] ?? arrived.clock };
    const picked = pickLater(a, b);
    parts[part] = picked.value;
    if (!isMissing(picked.value) && compare(picked.clock, clock) !== 0) clocks[part] = picked.clock;
  }
  return { failure: parts as Failure, clock, clocks };
}

const isLater = (a: Clock, b: Clock): boolean => compare(a, b) >= 0;

function compare(a: Clock, b: Clock): number {
  for (const [i, value] of a.entries()) {
    const difference = value - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** What a message shows. Ids of artifacts may change between payloads, so only their number counts. */
const shownFields = (run: Run): string =>
  JSON.stringify([
    run.title,
    run.prompt,
    run.url,
    run.summary,
    run.app_url,
    run.output,
    run.failure,
    run.step_count,
    run.started_at,
    run.finished_at,
    run.attempts.map(({ attempt, status, reason, codes, decision }) => [attempt, status, reason, codes, decision]),
    run.recording !== null,
    run.screenshots.length,
    run.files.map(({ name, size, checksum }) => [name, size, checksum]),
  ]);
