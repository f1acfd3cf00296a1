/**
 * What only Skyvern's API knows of a run: what it was to do (contract §3). Webhooks of tasks have no title, prompt or
 * address.
 */
import { lacksDetails } from "../domain/follow-up-plan.ts";
import type { RunState } from "../domain/run.ts";
import type { Log } from "../platform/log.ts";
import type { Addresses } from "../receive/own-addresses.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { DeliveryStore } from "../store/contract/deliveries.ts";
import type { RunStore } from "../store/contract/runs.ts";
import type { Ingest } from "./ingest.ts";
import { webhookUrlOf } from "./reconcile.ts";

export interface DetailsDeps {
  client: SkyvernClient;
  ingest: Ingest;
  addresses: Addresses;
}

/** Fills in what a run lacks. False when Skyvern could not be asked. */
export async function fillDetails(deps: DetailsDeps, state: RunState, signal: AbortSignal): Promise<boolean> {
  const { run } = state;
  if (!lacksDetails(run)) return true;
  const [organization = null] = state.owners;
  const answer = await deps.client.with({ organization }).getRun(run.run_id, signal);
  if (!answer.ok) return answer.fault.kind === "not_found";
  const channel = deps.addresses.channelOf(webhookUrlOf(answer.value)) ?? run.channel;
  await deps.ingest(answer.value, { source: "reconciled", organization, channel });
  return true;
}

export interface DetailsReaderDeps extends DetailsDeps {
  store: Pick<RunStore, "run"> & Pick<DeliveryStore, "deliveries">;
  /** Stores and settles what came, and makes no delivery. */
  quietIngest: Ingest;
  /** Skyvern is waited for this long, ms. */
  budgetMs: number;
  log: Log;
}

/** A run's state with its details, to be read before a message is sent; null when there is nothing new. Never fails. */
export type ReadDetails = (state: RunState, signal: AbortSignal) => Promise<RunState | null>;

/** As many as are looked through for a message of the run that is out. */
const MAX_DELIVERIES = 100;

/** Sinks of one run share one question. The message that waits for it shows the answer; those that are out are edited. */
export function createDetailsReader(deps: DetailsReaderDeps): ReadDetails {
  const asking = new Map<string, Promise<RunState | null>>();
  const client = deps.client.with({ tries: 1 });
  const ask = async (state: RunState, signal: AbortSignal): Promise<RunState | null> => {
    const { run_id: runId } = state.run;
    try {
      const deliveries = await deps.store.deliveries({ runId }, { limit: MAX_DELIVERIES });
      const isOut = deliveries.some((delivery) => delivery.state === "delivered");
      const ingest = isOut ? deps.ingest : deps.quietIngest;
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(deps.budgetMs)]);
      if (!(await fillDetails({ ...deps, client, ingest }, state, inTime))) return null;
      return (await deps.store.run(runId))?.state ?? null;
    } catch (error) {
      deps.log.warn("details.unread", { run_id: runId, error: String(error) });
      return null;
    }
  };
  return async (state, signal) => {
    const { run_id: runId } = state.run;
    if (!lacksDetails(state.run)) return null;
    const answer = asking.get(runId) ?? ask(state, signal).finally(() => asking.delete(runId));
    asking.set(runId, answer);
    return answer;
  };
}
