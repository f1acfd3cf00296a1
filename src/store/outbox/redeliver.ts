/** What redelivery means, whoever asks for it: the history API, the web page or a command. */
import { isFinal, type Delivery } from "../../domain/run.ts";
import type { Runtime } from "../../platform/runtime.ts";
import type { DeliveryStore } from "../contract/deliveries.ts";
import type { RunStore } from "../contract/runs.ts";

export interface RedeliverDeps {
  store: Pick<RunStore, "run"> & Pick<DeliveryStore, "deliveries" | "redeliver">;
  sinks: readonly { name: string; kind: string }[];
  runtime: Pick<Runtime, "now" | "newId">;
}

export type Redelivered =
  | { ok: true; deliveries: Delivery[] }
  /** 400: a sink that is not there. 404: no such run. 409: a run that cannot be sent as it is. */
  | { ok: false; status: 400 | 404 | 409; reason: string };

const MAX_DELIVERIES = 1_000;

/** Enough ids for all deliveries that may be created. */
export const newDeliveryIds = ({ newId }: Pick<Runtime, "newId">, count: number): string[] =>
  Array.from({ length: count }, () => newId("dlv"));

/** Creates deliveries of a run's current revision to the named sinks, or (null) to those the run was meant for. */
export async function redeliver(
  { store, sinks, runtime }: RedeliverDeps,
  runId: string,
  wanted: readonly string[] | null,
): Promise<Redelivered> {
  const unknown = wanted?.find((name) => !sinks.some((sink) => sink.name === name));
  if (unknown !== undefined) return no(400, `there is no sink ${JSON.stringify(unknown.slice(0, 100))}`);
  const stored = await store.run(runId);
  if (stored === null) return no(404, `There is no run ${JSON.stringify(runId.slice(0, 100))}.`);
  if (!isFinal(stored.state.run)) return no(409, "This run is not final yet: there is no result to send.");
  const known = await store.deliveries({ runId }, { limit: MAX_DELIVERIES });
  const names = new Set(wanted ?? known.filter(({ subject }) => subject === "run").map(({ sink }) => sink));
  const last = known.reduce((id, one) => (one.id > id ? one.id : id), "");
  const chosen = sinks.filter(({ name }) => names.has(name));
  const say =
    sinks.length === 0 ? "No sink is configured." : `Say which: ${sinks.map(({ name }) => name).join(" or ")}.`;
  if (chosen.length === 0)
    return no(
      409,
      names.size === 0 ? `No route chose a sink for this run. ${say}` : `Its sinks are no longer configured. ${say}`,
    );
  const fresh = chosen.map(({ name, kind }) => ({
    id: runtime.newId("dlv", last),
    sink: name,
    kind,
    cause: "redelivery" as const,
  }));
  const deliveries = await store.redeliver(runId, fresh, runtime.now());
  return deliveries === null ? no(404, "The run was removed meanwhile.") : { ok: true, deliveries };
}

const no = (status: 400 | 404 | 409, reason: string): Redelivered => ({ ok: false, status, reason });
