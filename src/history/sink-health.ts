/** How each sink is: its circuit, its backlog, and what became of its deliveries. */
import type { Circuit } from "../domain/run.ts";
import { isoTime } from "../platform/time.ts";
import type { Backlog, StatsStore } from "../store/contract/stats.ts";

export interface SinkHealthDeps {
  store: Pick<StatsStore, "backlog" | "counts">;
  sinks: readonly { name: string; kind: string }[];
  circuit(sink: string): Promise<Circuit>;
}

export interface SinkHealth {
  name: string;
  /** Null: the sink is no longer configured, but some deliveries carry its name. */
  kind: string | null;
  circuit: Circuit;
  /** Null: no delivery is pending or sending. */
  backlog: Backlog | null;
  /** Its deliveries, by state; a state without any is absent. */
  counts: Partial<Record<string, number>>;
}

/** The configured sinks in the order of the configuration, then those that are no longer configured. */
export async function listSinkHealth({ store, sinks, circuit }: SinkHealthDeps): Promise<SinkHealth[]> {
  const [backlog, { deliveries }] = await Promise.all([store.backlog(), store.counts()]);
  const kinds = new Map(sinks.map(({ name, kind }) => [name, kind]));
  const names = new Set([...kinds.keys(), ...deliveries.map(({ sink }) => sink)]);
  return Promise.all(
    [...names].map(async (name) => ({
      name,
      kind: kinds.get(name) ?? null,
      circuit: await circuit(name),
      backlog: backlog.find(({ sink }) => sink === name) ?? null,
      counts: Object.fromEntries(
        deliveries.filter(({ sink }) => sink === name).map(({ state, count }) => [state, count]),
      ),
    })),
  );
}

/** Why a sink gets nothing now, and how to change that; null while deliveries flow. */
export function describePause(sink: string, { state, reason, until }: Circuit): string | null {
  const because = reason === null ? "" : ` (${reason})`;
  const resume = `POST /v1/sinks/${sink}/resume, or Resume on the page Sinks`;
  if (state === "stopped") {
    return `${sink} asked for no more deliveries${because}, so the relay stopped it. Nothing is sent until you resume it: ${resume}.`;
  }
  if (state === "closed") return null;
  const at = until === null ? "next" : `at ${isoTime(until)}`;
  return (
    `${sink} is failing${because}. The relay tries one delivery ${at} and sends the rest when it succeeds. ` +
    `To try now: ${resume}.`
  );
}

/** The circuits of the configured sinks, by name. */
export async function listCircuits({
  sinks,
  circuit,
}: {
  sinks: readonly { name: string }[];
  circuit: SinkHealthDeps["circuit"];
}): Promise<Map<string, Circuit>> {
  return new Map(await Promise.all(sinks.map(async ({ name }) => [name, await circuit(name)] as const)));
}
