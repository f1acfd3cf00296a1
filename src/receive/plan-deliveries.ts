/** Plans the deliveries that a verdict causes. Pure except for new ids. */
import type { Runtime } from "../platform/runtime.ts";
import { match, type Route, type Routing } from "../domain/routing.ts";
import type { Run } from "../domain/run.ts";
import { listRetriedAttempts, runAtAttempt } from "../domain/run-attempt.ts";
import type { Decision, Known, KnownDelivery, NewDelivery } from "../store/contract/receipts.ts";

/**
 * What planning needs to know of a sink. `updates`: it wants more data for the same outcome. `attempts`: it wants each
 * run attempt that failed with another one to come.
 */
export interface SinkRef {
  name: string;
  kind: string;
  updates: boolean;
  attempts?: boolean;
}

export interface PlanDeps {
  /** Every sink. */
  sinks: readonly SinkRef[];
  runtime: Pick<Runtime, "newId">;
}

/**
 * Plans the deliveries of a new outcome: to every routed sink, and to every sink that has the old outcome. A sink whose
 * first delivery is still pending gets only the new one, and the pending one is canceled.
 */
export function planOutcome({ sinks, runtime }: PlanDeps, known: Known | null, routed: readonly string[]) {
  const before = ofRun(known);
  const canceled = new Set(untried(known));
  const reached = new Set(
    before.filter(({ id, state }) => !canceled.has(id) && state !== "canceled").map(({ sink }) => sink),
  );
  const deliveries = sinks
    .filter(({ name }) => reached.has(name) || routed.includes(name))
    .map(({ name, kind }): NewDelivery => {
      const cause = reached.has(name) ? "correction" : "result";
      return { id: runtime.newId("dlv", last(known)), sink: name, kind, cause };
    });
  return { deliveries, cancel: [...canceled] };
}

/** Plans the outcome for routed sinks that were not chosen before. */
export const planMissed = ({ sinks, runtime }: PlanDeps, known: Known, routed: readonly string[]): NewDelivery[] => {
  const chosen = new Set(ofRun(known).flatMap(({ sink, state }) => (state === "canceled" ? [] : [sink])));
  return sinks
    .filter(({ name }) => routed.includes(name) && !chosen.has(name))
    .map(({ name, kind }) => ({ id: runtime.newId("dlv", last(known)), sink: name, kind, cause: "result" }));
};

/**
 * Plans the events of run attempts that failed and are known only now. Each is routed as if the run had ended with it,
 * and stays due when the run ends meanwhile. `routing` is the trace of the last one; null: there is none.
 */
export function planAttempts(
  { sinks, routes, runtime }: PlanDeps & { routes: readonly Route[] },
  { known, isUsurped }: { known: Known | null; isUsurped: boolean },
  run: Run,
): { deliveries: NewDelivery[]; routing: Routing["trace"] | null } {
  const wanting = sinks.filter(({ attempts }) => attempts === true);
  const before = new Set(known === null || isUsurped ? [] : listRetriedAttempts(known.state.run));
  const numbers = wanting.length === 0 ? [] : listRetriedAttempts(run).filter((number) => !before.has(number));
  const names = sinks.map(({ name }) => name);
  let routing: Routing["trace"] | null = null;
  const deliveries = numbers.flatMap((number) => {
    const { reported_status: status, ...then } = runAtAttempt(run, number);
    const routed = match({ ...then, status, reported_status: status }, routes, names);
    routing = routed.trace;
    return wanting
      .filter(({ name }) => routed.sinks.includes(name) && !has(known, name, number))
      .map(({ name, kind }): NewDelivery => {
        const id = runtime.newId("dlv", last(known));
        return { id, sink: name, kind, cause: "result", runAttempt: number };
      });
  });
  return { deliveries, routing };
}

const has = (known: Known | null, name: string, number: number): boolean =>
  (known?.deliveries ?? []).some(
    ({ subject, sink, revision }) => subject === "attempt" && sink === name && revision === number,
  );

/**
 * Plans the updates for more data: to sinks that want updates, have the run, and have nothing pending. A pending
 * delivery is rendered when it is sent, so it shows the new data by itself.
 */
export function planUpdates({ sinks, runtime }: PlanDeps, known: Known | null): NewDelivery[] {
  const of = (name: string) => ofRun(known).filter(({ sink, state }) => sink === name && state !== "canceled");
  return sinks
    .filter(({ name, updates }) => updates && of(name).length > 0 && !of(name).some(isUntried))
    .map(({ name, kind }) => ({ id: runtime.newId("dlv", last(known)), sink: name, kind, cause: "update" }));
}

/** The decision when a run has more to show, such as artifacts; null when no sink gets an update. */
export function decideUpdate(deps: PlanDeps, known: Known): Decision | null {
  const deliveries = planUpdates(deps, known);
  if (deliveries.length === 0) return null;
  const state = { ...known.state, revision: known.state.revision + 1 };
  return { verdict: "updated", note: null, routing: null, state, deliveries, cancel: [] };
}

/** Deliveries of a run go out in the order of their ids, and another relay's clock may be ahead. */
const last = (known: Known | null): string | undefined => known?.deliveries.at(-1)?.id;

const ofRun = (known: Known | null): KnownDelivery[] =>
  (known?.deliveries ?? []).filter(({ subject }) => subject === "run");

/** Ids of pending deliveries of the run that were never attempted. */
export const untried = (known: Known | null): string[] =>
  ofRun(known)
    .filter(isUntried)
    .map(({ id }) => id);

const isUntried = ({ state, attempts }: KnownDelivery): boolean => state === "pending" && attempts === 0;
