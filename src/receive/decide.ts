/**
 * Decides what a payload means for its run, once the stored state is known: the outcome, the sinks, and the deliveries.
 * Pure except for new ids.
 */
import { match, testsRelations, type Route, type Routing } from "../domain/routing.ts";
import { maySpeakFor } from "../domain/ownership.ts";
import { isFinal, RETRYING, type Organization, type Relations, type Run, type RunState } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import { isDeliveryFailure, normalize, type ReceiptOrigin } from "../skyvern/normalize.ts";
import type { Payload } from "../skyvern/payload.ts";
import type {
  IncomingReceipt,
  Decide,
  Decision,
  Known,
  KnownDelivery,
  NewDelivery,
} from "../store/contract/receipts.ts";
import { attemptDueAt, followUpAt, lacksRelations } from "../domain/follow-up-plan.ts";
import { listRetriedAttempts, runAtAttempt } from "../domain/run-attempt.ts";
import { outcomeOf, settle, settleAnew, settleWithoutRetry, toState, type Settled } from "./settle.ts";

/**
 * What deciding needs to know of a sink. `updates`: it wants more data for the same outcome. `attempts`: it wants each
 * run attempt that failed with another one to come.
 */
export interface SinkRef {
  name: string;
  kind: string;
  updates: boolean;
  attempts?: boolean;
}

export interface DecideDeps {
  routes: readonly Route[];
  /** Every sink. */
  sinks: readonly SinkRef[];
  /** The organizations that have a key. */
  organizations: readonly Organization[];
  /** True when final runs are copied into the archive. */
  archives: boolean;
  runtime: Pick<Runtime, "newId">;
}

/**
 * Where a payload comes from. `organization`: whose key signed it or asked Skyvern. `shownTo`: Skyvern was asked with
 * each key and showed the run to these.
 */
type Origin = ReceiptOrigin & { shownTo?: readonly Organization[] };

/** A payload as the store accepts it: its run id, and the decision to take at `now` once the stored state is known. */
export function toIncomingRun(
  deps: DecideDeps,
  payload: Payload,
  origin: Origin,
  now: number,
): NonNullable<IncomingReceipt["run"]> {
  const { organization } = origin;
  const run = normalize(payload, origin);
  // A key with an unknown organization does not make a run another's.
  if (organization === null && deps.organizations.includes(run.organization_id)) run.organization_id = null;
  const arrived = toState(run, organization, isDeliveryFailure(payload));
  const decide = createDecide(deps, arrived, now);
  return { id: run.run_id, decide: owned(deps, origin, decide, now) };
}

const DISPUTED_NOTE = "another organization's key reported this run before: the relay asks Skyvern whose it is";
const NOT_THEIRS_NOTE = "signed by a key to which Skyvern does not show this run";

/** Applies the decision only for organizations that may speak for the run. */
function owned(
  { organizations }: DecideDeps,
  { organization, shownTo }: Origin,
  decide: (known: Known | null, isUsurped: boolean) => Decision,
  now: number,
): Decide {
  return (known) => {
    if (known === null) return decide(null, false);
    const { state } = known;
    const unsettled = { state, routing: null, deliveries: [], cancel: [] };
    if (shownTo === undefined) {
      const isTheirs = maySpeakFor(state, organization, organizations);
      if (!isTheirs) return { ...unsettled, verdict: "disputed", note: DISPUTED_NOTE, followUpAt: now };
      return withOwners(decide(known, false), state.owners.includes(organization) ? state.owners : [organization]);
    }
    if (!shownTo.includes(organization)) return { ...unsettled, verdict: "stored", note: NOT_THEIRS_NOTE };
    const isUsurped = !state.owners.some((owner) => shownTo.includes(owner) || !organizations.includes(owner));
    return withOwners(decide(known, isUsurped), shownTo);
  };
}

const withOwners = (decision: Decision, owners: readonly Organization[]): Decision => ({
  ...decision,
  state: { ...decision.state, owners },
});

/**
 * Settles and routes in one step, inside the transaction. `isUsurped`: what is known was said by a key that had no
 * right to.
 */
function createDecide(deps: DecideDeps, arrived: RunState, now: number) {
  return (known: Known | null, isUsurped: boolean): Decision => {
    const settled = known && isUsurped ? settleAnew(known.state, arrived) : settle(known?.state ?? null, arrived);
    return decideSettled(deps, settled, { known, isUsurped, now });
  };
}

/** The announced run attempt never came, so the run is delivered as it stands. Null when no attempt is awaited. */
export function giveUpOnRetry(deps: DecideDeps, known: Known, attempt: number, now: number): Decision | null {
  // Another one came while Skyvern was asked.
  if (known.state.run.attempt !== attempt) return null;
  const settled = settleWithoutRetry(known.state);
  return settled && decideSettled(deps, settled, { known, isUsurped: false, now });
}

interface Before {
  known: Known | null;
  isUsurped: boolean;
  now: number;
}

function decideSettled(deps: DecideDeps, settled: Settled, { known, isUsurped, now }: Before): Decision {
  const { run } = settled.state;
  const { deliveries: events, routing } = planAttempts(deps, { known, isUsurped }, run);
  const decision: Decision = { ...settled, routing, deliveries: events, cancel: [] };
  const replaced = listReplaced(settled, { known, isUsurped });
  if (replaced.length > 0) decision.state = { ...settled.state, replaced };
  // An outcome that waits for its sinks has been told to nobody, whatever the verdict about this receipt is.
  const isUntold = known?.state.unrouted === true;
  if (isUntold) decision.state = { ...decision.state, unrouted: true };
  else if (known?.state.guessed === true && lacksRelations(run)) decision.state = { ...decision.state, guessed: true };
  if (!isFinal(run)) {
    const waiting = run.status === RETRYING ? { followUpAt: attemptDueAt(run, now) } : {};
    // The pending deliveries are obsolete: a usurper caused them, or a later run attempt began after all.
    return { ...decision, cancel: untried(known), ...waiting };
  }
  if (deps.archives && settled.verdict !== "duplicate") decision.archiveAt = archiveAt(run, now);
  // The run attempt that came after all canceled what had not gone out, so its end is new to some sinks even if alike.
  const wentOn = known?.state.ended !== undefined;
  const isNew = isUntold || wentOn || settled.verdict === "accepted" || settled.verdict === "corrected";
  if (!isNew)
    return settled.verdict === "updated"
      ? { ...decision, deliveries: [...events, ...planUpdates(deps, known)] }
      : decision;
  if (lacksRelations(run) && testsRelations(deps.routes)) {
    const state: RunState = { ...decision.state, unrouted: true };
    return { ...decision, state, note: UNROUTED_NOTE, cancel: untried(known), followUpAt: now };
  }
  return chooseSinks(deps, decision, { known, isUsurped, now });
}

const UNROUTED_NOTE = "a route tests where the run comes from: Skyvern is asked before sinks are chosen";

/** Adds the deliveries of a new outcome to the decision. */
function chooseSinks(deps: DecideDeps, decision: Decision, { known, isUsurped, now }: Before): Decision {
  const { verdict, deliveries: events } = decision;
  const { unrouted: _waited, guessed: _guessed, ...rest } = decision.state;
  const isGuess = lacksRelations(rest.run) && testsRelations(deps.routes);
  const state: RunState = isGuess ? { ...rest, guessed: true } : rest;
  const routed = route(deps, state.run);
  const ask = verdict === "accepted" ? followUpAt(state.run, now) : undefined;
  const planned = planOutcome(deps, known, state, routed.sinks);
  // Sinks that got the usurper's version have no right to the owner's.
  if (isUsurped) planned.deliveries = planned.deliveries.filter(({ sink }) => routed.sinks.includes(sink));
  planned.deliveries.unshift(...events);
  return { ...decision, state, routing: routed.trace, ...planned, ...(ask === undefined ? {} : { followUpAt: ask }) };
}

/**
 * The decision when Skyvern has said where a run comes from. What is known stays. An outcome that waited for this
 * chooses its sinks, and one that waited no longer adds those that it missed. `deliver`: messages that are out are
 * edited; false when the only one is being written.
 */
export function decideRelations(
  deps: DecideDeps,
  known: Known,
  said: Relations,
  { now, deliver }: { now: number; deliver: boolean },
): Decision {
  const { state } = known;
  const { run } = state;
  const related: Run = {
    ...run,
    parent: run.parent ?? said.parent,
    trigger: run.trigger ?? said.trigger,
    schedule: run.schedule ?? said.schedule,
    retried_from: run.retried_from ?? said.retried_from,
    tags: run.tags ?? said.tags,
  };
  const routed = routeNow(deps, { ...known, state: { ...state, run: related } }, now);
  if (routed !== null) return routed;
  const edits = deliver && shownRelations(run) !== shownRelations(related) ? planUpdates(deps, known) : [];
  const revision = state.revision + (edits.length === 0 ? 0 : 1);
  const decision: Decision = {
    verdict: "updated",
    note: null,
    routing: null,
    state: { ...state, run: related, revision },
    deliveries: edits,
    cancel: [],
  };
  return state.guessed === true && isFinal(run) && !lacksRelations(related)
    ? addMissed(deps, decision, known)
    : decision;
}

const route = ({ routes, sinks }: DecideDeps, run: Run) =>
  match(
    run,
    routes,
    sinks.map(({ name }) => name),
  );

/** Adds deliveries to the sinks that the routes choose now that Skyvern has answered. */
function addMissed(deps: DecideDeps, decision: Decision, known: Known): Decision {
  const { guessed: _guessed, ...state } = decision.state;
  const { sinks, trace } = route(deps, state.run);
  return {
    ...decision,
    state,
    routing: trace,
    deliveries: [...decision.deliveries, ...planMissed(deps, known, sinks)],
  };
}

const shownRelations = ({ parent, trigger, retried_from, tags }: Run): string =>
  JSON.stringify([parent ?? null, trigger ?? null, retried_from, tags ?? []]);

/** Chooses the sinks of an outcome that waited for that. Null when none waits, or not for that alone. */
export function routeNow(deps: DecideDeps, known: Known, now: number): Decision | null {
  const { state } = known;
  if (state.unrouted !== true || !isFinal(state.run)) return null;
  const decision: Decision = { verdict: "accepted", note: null, routing: null, state, deliveries: [], cancel: [] };
  return chooseSinks(deps, decision, { known, isUsurped: false, now });
}

/** Skyvern reports task v2 before its recording is final (contract §2). */
const archiveAt = ({ run_type }: Run, now: number): number => now + (run_type === "task_v2" ? 120_000 : 5_000);

// --- deliveries -----------------------------------------------------------------------------------------------------

/** A run's state is stored with each of its receipts. */
const MAX_REPLACED = 20;

/** The replaced outcomes of a run, after a decision. What a usurper said is none that could be true again. */
function listReplaced(
  { verdict }: Settled,
  { known, isUsurped }: Pick<Before, "known" | "isUsurped">,
): NonNullable<RunState["replaced"]> {
  if (known === null) return [];
  const { replaced = [], revision } = known.state;
  if (isUsurped) return [[revision, ""]];
  const was = outcomeOf(known.state);
  if (verdict !== "corrected" || was === null) return replaced;
  const all = [...replaced, [revision, was] as const];
  // What was told before the oldest that is kept counts as another outcome.
  const [, ...newest] = all;
  return all.length <= MAX_REPLACED ? all : newest.map(([last, status], i) => [last, i === 0 ? "" : status]);
}

/**
 * Plans the deliveries of a new outcome: to every routed sink, and to every sink that has another outcome. A sink whose
 * first delivery is still pending gets only the new one, and the pending one is canceled. A correction is of what the
 * sink was told last: one that was told this very outcome, and none between, has only more to show.
 */
function planOutcome(deps: DecideDeps, known: Known | null, state: RunState, routed: readonly string[]) {
  const canceled = new Set(untried(known));
  const deliveries = deps.sinks.flatMap((sink) => {
    const last = toSink(known, sink).findLast(({ id }) => !canceled.has(id));
    if (last === undefined) return routed.includes(sink.name) ? [newDelivery(deps, known, sink, "result")] : [];
    const isSure = last.state === "delivered" && last.maybe_sent !== 1;
    const isTold = isSure && outcomeAt(state, last.revision) === state.run.status;
    if (!isTold) return [newDelivery(deps, known, sink, "correction")];
    return sink.updates ? [newDelivery(deps, known, sink, "update")] : [];
  });
  return { deliveries, cancel: [...canceled] };
}

/** The outcome that a revision showed. */
const outcomeAt = ({ replaced = [], run }: RunState, revision: number): string =>
  replaced.find(([last]) => revision <= last)?.[1] ?? run.status;

/** Plans the outcome for routed sinks that were not chosen before. */
const planMissed = (deps: DecideDeps, known: Known, routed: readonly string[]): NewDelivery[] =>
  deps.sinks
    .filter((sink) => routed.includes(sink.name) && toSink(known, sink).length === 0)
    .map((sink) => newDelivery(deps, known, sink, "result"));

/**
 * Plans the events of run attempts that failed and are known only now. Each is routed as if the run had ended with it,
 * and stays due when the run ends meanwhile. `routing` is the trace of the last one; null: there is none.
 */
function planAttempts(
  deps: DecideDeps,
  { known, isUsurped }: { known: Known | null; isUsurped: boolean },
  run: Run,
): { deliveries: NewDelivery[]; routing: Routing["trace"] | null } {
  const wanting = deps.sinks.filter(({ attempts }) => attempts === true);
  const before = new Set(known === null || isUsurped ? [] : listRetriedAttempts(known.state.run));
  const numbers = wanting.length === 0 ? [] : listRetriedAttempts(run).filter((number) => !before.has(number));
  let routing: Routing["trace"] | null = null;
  const deliveries = numbers.flatMap((number) => {
    const { reported_status: status, ...then } = runAtAttempt(run, number);
    const routed = route(deps, { ...then, status, reported_status: status });
    routing = routed.trace;
    return wanting
      .filter(({ name }) => routed.sinks.includes(name) && !hasAttempt(known, name, number))
      .map((sink) => ({ ...newDelivery(deps, known, sink, "result"), runAttempt: number }));
  });
  return { deliveries, routing };
}

const hasAttempt = (known: Known | null, name: string, number: number): boolean =>
  (known?.deliveries ?? []).some(
    ({ subject, sink, revision }) => subject === "attempt" && sink === name && revision === number,
  );

/**
 * Plans the updates for more data: to sinks that want updates, have the run, and have nothing pending. A pending
 * delivery is rendered when it is sent, so it shows the new data by itself.
 */
function planUpdates(deps: DecideDeps, known: Known | null): NewDelivery[] {
  return deps.sinks
    .filter((sink) => sink.updates && toSink(known, sink).length > 0 && !toSink(known, sink).some(isUntried))
    .map((sink) => newDelivery(deps, known, sink, "update"));
}

/** The decision when a run has more to show, such as artifacts; null when no sink gets an update. */
export function decideUpdate(deps: DecideDeps, known: Known): Decision | null {
  const deliveries = planUpdates(deps, known);
  if (deliveries.length === 0) return null;
  const state = { ...known.state, revision: known.state.revision + 1 };
  return { verdict: "updated", note: null, routing: null, state, deliveries, cancel: [] };
}

/** Deliveries of a run go out in the order of their ids, and another relay's clock may be ahead. */
const newDelivery = (
  { runtime }: DecideDeps,
  known: Known | null,
  { name, kind }: SinkRef,
  cause: NewDelivery["cause"],
): NewDelivery => ({ id: runtime.newId("dlv", known?.deliveries.at(-1)?.id), sink: name, kind, cause });

const ofRun = (known: Known | null): KnownDelivery[] =>
  (known?.deliveries ?? []).filter(({ subject }) => subject === "run");

/**
 * A sink that is of another kind by now cannot mend what it told as the other: it has told nothing. What is pending
 * goes out as the kind that the sink is now.
 */
const toSink = (known: Known | null, { name, kind }: SinkRef): KnownDelivery[] =>
  ofRun(known).filter(
    (one) => one.sink === name && (one.kind === kind || one.state === "pending") && one.state !== "canceled",
  );

/** Ids of pending deliveries of the run that were never attempted. */
const untried = (known: Known | null): string[] =>
  ofRun(known)
    .filter(isUntried)
    .map(({ id }) => id);

const isUntried = ({ state, attempts }: KnownDelivery): boolean => state === "pending" && attempts === 0;
