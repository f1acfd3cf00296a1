/**
 * Turns a body into what the store accepts: masked, parsed, and with the decision to take once the stored state is
 * known. Pure except for new ids.
 */
import { hash } from "node:crypto";
import { match, testsRelations, type Route } from "../domain/routing.ts";
import { maySpeakFor } from "../domain/ownership.ts";
import { isFinal, RETRYING, type Organization, type Relations, type Run, type RunState } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import { isDeliveryFailure, normalize, type ReceiptOrigin } from "../skyvern/normalize.ts";
import { parsePayload, type Payload } from "../skyvern/payload.ts";
import type { IncomingReceipt, Decide, Decision, Known, NewReceipt } from "../store/contract/receipts.ts";
import { attemptDueAt, followUpAt, lacksRelations } from "../domain/follow-up-plan.ts";
import { readLabels } from "../domain/labels.ts";
import { settle, settleAnew, settleWithoutRetry, type Observation, type Settled } from "./settle.ts";
import type { BodyReading } from "./read-body.ts";
import { planAttempts, planMissed, planOutcome, untried, planUpdates, type SinkRef } from "./plan-deliveries.ts";

export interface DecideDeps {
  routes: readonly Route[];
  sinks: readonly SinkRef[];
  /** The organizations that have a key. */
  organizations: readonly Organization[];
  /** True when final runs are copied into the archive. */
  archives: boolean;
  /** Names in the query of a webhook address that become labels of the run. */
  labels?: readonly string[];
  runtime: Pick<Runtime, "newId">;
}

/** A webhook with a correct signature. */
export interface VerifiedWebhook {
  bytes: Buffer;
  /** The name of the key that signed it, and the key's organization. */
  keyName: string;
  organization: Organization;
  channel: string | null;
  /** The query of the address it came to; null: none. */
  query?: string | null;
  /** `x-skyvern-timestamp`: stored, never trusted. */
  sentAt: string | null;
  receivedAt: number;
}

/** A verified webhook that is not stored. `totp`: Skyvern asks for a one-time code. */
export type WithoutReceipt =
  | { kind: "totp" }
  /** Skyvern's test button was pressed. `sinks`: those that a run like the sample is routed to. */
  | { kind: "test"; runId: string; sinks: string[] };

export function toIncomingReceipt(
  deps: DecideDeps,
  webhook: VerifiedWebhook,
  { stored, bounded }: BodyReading,
): IncomingReceipt | WithoutReceipt {
  const { keyName, organization, channel, sentAt, receivedAt } = webhook;
  const parsed = parsePayload(bounded);
  if (parsed.kind === "totp") return { kind: "totp" };
  const labels = readLabels(deps.labels ?? [], webhook.query ?? null);
  const origin = { receivedAt, source: "webhook", channel, labels, organization } as const;
  if (parsed.kind === "sample") return toTestWebhook(deps, normalize(parsed.payload, origin));
  const payload = parsed.kind === "run" ? parsed.payload : null;
  const receipt: NewReceipt = {
    id: deps.runtime.newId("rcp"),
    bodyHash: hash("sha256", stored),
    body: stored,
    source: "webhook",
    channel,
    labels,
    keyName,
    sentAt: sentAt?.slice(0, 32) ?? null,
    reportedStatus: payload?.status ?? null,
    receivedAt,
    note: parsed.kind === "unknown" ? parsed.reason : null,
  };
  return { receipt, run: payload === null ? null : toIncomingRun(deps, payload, origin, receivedAt) };
}

/** Samples sent there reach no sink: it is the address that `doctor` has Skyvern try. */
export const DOCTOR_CHANNEL = "skyvern-relay-doctor";

function toTestWebhook({ routes, sinks }: DecideDeps, run: Run): WithoutReceipt {
  const names = sinks.map(({ name }) => name);
  const chosen = run.channel === DOCTOR_CHANNEL ? [] : match(run, routes, names).sinks;
  return { kind: "test", runId: run.run_id, sinks: chosen };
}

/**
 * The organization whose key signed a webhook or asked Skyvern. `shownTo`: Skyvern was asked with each key and showed
 * the run to these.
 */
export interface Speaker {
  organization: Organization;
  shownTo: readonly Organization[] | null;
}

/** A payload as the store accepts it: its run id, and the decision to take at `now` once the stored state is known. */
export function toIncomingRun(
  deps: DecideDeps,
  payload: Payload,
  origin: ReceiptOrigin & { shownTo?: readonly Organization[] },
  now: number,
): NonNullable<IncomingReceipt["run"]> {
  const { organization, shownTo = null } = origin;
  const run = normalize(payload, origin);
  // A key with an unknown organization does not make a run another's.
  if (organization === null && deps.organizations.includes(run.organization_id)) run.organization_id = null;
  const observation: Observation = { run, owner: organization, deliveryFailure: isDeliveryFailure(payload) };
  const decide = createDecide(deps, observation, now);
  return { id: run.run_id, decide: owned(deps, { organization, shownTo }, decide, now) };
}

const DISPUTED_NOTE = "another organization's key reported this run before: the relay asks Skyvern whose it is";
const NOT_THEIRS_NOTE = "signed by a key to which Skyvern does not show this run";

/** Applies the decision only for organizations that may speak for the run. */
function owned(
  { organizations }: DecideDeps,
  { organization, shownTo }: Speaker,
  decide: (known: Known | null, isUsurped: boolean) => Decision,
  now: number,
): Decide {
  return (known) => {
    if (known === null) return decide(null, false);
    const { state } = known;
    const unsettled = { state, routing: null, deliveries: [], cancel: [] };
    if (shownTo === null) {
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
function createDecide(deps: DecideDeps, observation: Observation, now: number) {
  return (known: Known | null, isUsurped: boolean): Decision => {
    const settled =
      known && isUsurped ? settleAnew(known.state, observation) : settle(known?.state ?? null, observation);
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
  // An outcome that waits for its sinks has been told to nobody, whatever the verdict about this receipt is.
  const isUntold = known?.state.unrouted === true;
  if (isUntold) decision.state = { ...settled.state, unrouted: true };
  else if (known?.state.guessed === true && lacksRelations(run)) decision.state = { ...settled.state, guessed: true };
  if (!isFinal(run)) {
    const waiting = run.status === RETRYING ? { followUpAt: attemptDueAt(run, now) } : {};
    // The pending deliveries are obsolete: a usurper caused them, or a later run attempt began after all.
    return { ...decision, cancel: untried(known), ...waiting };
  }
  if (deps.archives && settled.verdict !== "duplicate") decision.archiveAt = archiveAt(run, now);
  const isNew = isUntold || settled.verdict === "accepted" || settled.verdict === "corrected";
  if (!isNew)
    return settled.verdict === "updated"
      ? { ...decision, deliveries: [...events, ...planUpdates(deps, known)] }
      : decision;
  if (lacksRelations(run) && testsRelations(deps.routes)) {
    const state: RunState = { ...settled.state, unrouted: true };
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
  const planned = planOutcome(deps, known, routed.sinks);
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
