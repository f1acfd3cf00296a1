/** The button that sends a run's current state again. */
import { isTerminal, type Delivery } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import type { Store } from "../store/store.ts";

export interface RedeliverParts {
  store: Pick<Store, "run" | "deliveries" | "redeliver">;
  sinks: readonly { name: string; kind: string }[];
  runtime: Pick<Runtime, "now" | "newId">;
}

export type Redelivered = { ok: true; deliveries: Delivery[] } | { ok: false; status: 400 | 404 | 409; reason: string };

/** To one sink, or (null) to those the run was meant for, or to all when it was meant for none. */
export async function redeliver(parts: RedeliverParts, runId: string, sink: string | null): Promise<Redelivered> {
  const { store, sinks, runtime } = parts;
  const stored = await store.run(runId);
  if (stored === null) return { ok: false, status: 404, reason: "The relay does not know this run." };
  if (!isTerminal(stored.state.run.status)) {
    return { ok: false, status: 409, reason: "This run is not final yet: there is no result to send." };
  }
  const told = new Set((await store.deliveries({ runId }, { limit: 1_000 })).map((delivery) => delivery.sink));
  const chosen = sinks.filter(({ name }) => (sink === null ? told.size === 0 || told.has(name) : name === sink));
  if (chosen.length === 0) {
    const reason =
      sink === null ? "No sink that was told of this run is configured any more." : "There is no such sink.";
    return { ok: false, status: 400, reason };
  }
  const fresh = chosen.map(({ name, kind }) => ({
    id: runtime.newId("dlv"),
    sink: name,
    kind,
    cause: "redelivery" as const,
  }));
  const deliveries = await store.redeliver(runId, fresh, runtime.now());
  return deliveries === null
    ? { ok: false, status: 404, reason: "The relay does not know this run any more." }
    : { ok: true, deliveries };
}
