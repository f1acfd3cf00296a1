/** Plans the deliveries that a verdict causes. Pure except for new ids. */
import type { Runtime } from "../platform/runtime.ts";
import type { Decision, Known, NewDelivery } from "../store/contract/receipts.ts";

/** What planning needs to know of a sink. `updates`: it wants more data for the same outcome. */
export interface SinkRef {
  name: string;
  kind: string;
  updates: boolean;
}

export interface PlanDeps {
  /** Every sink. */
  sinks: readonly SinkRef[];
  runtime: Pick<Runtime, "newId">;
}

/**
 * Plans the deliveries of a new outcome: to every routed sink, and to every sink that has the old outcome. A sink whose
 * first delivery still waits gets only the new one, and the waiting one is canceled.
 */
export function planOutcome({ sinks, runtime }: PlanDeps, known: Known | null, routed: readonly string[]) {
  const before = known?.deliveries ?? [];
  const canceled = new Set(untried(known));
  const reached = new Set(
    before.filter(({ id, state }) => !canceled.has(id) && state !== "canceled").map(({ sink }) => sink),
  );
  const deliveries = sinks
    .filter(({ name }) => reached.has(name) || routed.includes(name))
    .map(({ name, kind }): NewDelivery => {
      const cause = reached.has(name) ? "correction" : "result";
      return { id: runtime.newId("dlv", last(before)), sink: name, kind, cause };
    });
  return { deliveries, cancel: [...canceled] };
}

/**
 * Plans the updates for more data: to sinks that want updates, have the run, and have nothing waiting. A waiting
 * delivery is rendered when it is sent, so it shows the new data by itself.
 */
export function planUpdates({ sinks, runtime }: PlanDeps, known: Known | null): NewDelivery[] {
  const before = known?.deliveries ?? [];
  const of = (name: string) => before.filter(({ sink, state }) => sink === name && state !== "canceled");
  return sinks
    .filter(({ name, updates }) => updates && of(name).length > 0 && !of(name).some(isUntried))
    .map(({ name, kind }) => ({ id: runtime.newId("dlv", last(before)), sink: name, kind, cause: "update" }));
}

/** The decision when a run has more to show, such as artifacts; null when no sink gets an update. */
export function decideUpdate(deps: PlanDeps, known: Known): Decision | null {
  const deliveries = planUpdates(deps, known);
  if (deliveries.length === 0) return null;
  const state = { ...known.state, revision: known.state.revision + 1 };
  return { verdict: "updated", note: null, routing: null, state, deliveries, cancel: [] };
}

/** Deliveries of a run go out in the order of their ids, and another relay's clock may be ahead. */
const last = (before: Known["deliveries"]): string | undefined => before.at(-1)?.id;

/** Ids of waiting deliveries that were never attempted. */
export const untried = (known: Known | null): string[] =>
  (known?.deliveries ?? []).filter(isUntried).map(({ id }) => id);

const isUntried = ({ state, attempts }: Known["deliveries"][number]): boolean => state === "pending" && attempts === 0;
