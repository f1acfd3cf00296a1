/** Who is told what: the deliveries that a verdict makes. Pure but for new ids. */
import type { Runtime } from "../platform/runtime.ts";
import type { Decision, Known, NewDelivery } from "../store/contract/receipts.ts";

/** A sink, as far as it matters for who is told. `updates`: it wants to hear of more data for the same outcome. */
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
 * Who is to be told of a new outcome: every routed sink, and every sink that was told the old one. Whoever was not told
 * yet hears only the new one: its waiting delivery is canceled for the new.
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
 * Who is to hear that there is more to show: who wants to, was told, and has nothing waiting. What waits is rendered when
 * it is sent, so it will show the news by itself.
 */
export function planUpdates({ sinks, runtime }: PlanDeps, known: Known | null): NewDelivery[] {
  const before = known?.deliveries ?? [];
  const of = (name: string) => before.filter(({ sink, state }) => sink === name && state !== "canceled");
  return sinks
    .filter(({ name, updates }) => updates && of(name).length > 0 && !of(name).some(isUntried))
    .map(({ name, kind }) => ({ id: runtime.newId("dlv", last(before)), sink: name, kind, cause: "update" }));
}

/** What it comes to that there is more to show of a run, such as artifacts; null when nobody is to see it. */
export function decideUpdate(deps: PlanDeps, known: Known): Decision | null {
  const deliveries = planUpdates(deps, known);
  if (deliveries.length === 0) return null;
  const state = { ...known.state, revision: known.state.revision + 1 };
  return { verdict: "updated", note: null, routing: null, state, deliveries, cancel: [] };
}

/** Deliveries of a run are told in the order of their ids, and another relay's clock may be ahead. */
const last = (before: Known["deliveries"]): string | undefined => before.at(-1)?.id;

/** Ids of the deliveries that wait and were never attempted. */
export const untried = (known: Known | null): string[] =>
  (known?.deliveries ?? []).filter(isUntried).map(({ id }) => id);

const isUntried = ({ state, attempts }: Known["deliveries"][number]): boolean => state === "pending" && attempts === 0;
