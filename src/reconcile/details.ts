/**
 * What only Skyvern's API knows of a run: of a task what it was to do (contract §3), of a workflow run where it comes
 * from (contract §9).
 */
import { lacksGoal, lacksRelations } from "../domain/follow-up-plan.ts";
import type { Organization, Run, RunState } from "../domain/run.ts";
import type { Log } from "../platform/log.ts";
import { createRateLimit } from "../platform/rate-limit.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Intake } from "../receive/intake.ts";
import type { SkyvernFault, SkyvernResult } from "../skyvern/api-call.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { WorkflowRunRow } from "../skyvern/relations.ts";
import type { DeliveryStore } from "../store/contract/deliveries.ts";
import type { RunStore } from "../store/contract/runs.ts";
import type { Ingest } from "./ingest.ts";
import { withDeadline } from "../platform/abortable.ts";

export interface DetailsDeps {
  client: SkyvernClient;
  /** Takes a task's answer, with or without deliveries. */
  ingest: Ingest;
  intake: Pick<Intake, "relate">;
  runtime: Pick<Runtime, "now">;
  /** Called when deliveries may have been queued. */
  nudge(): void;
}

/**
 * Fills in what a run lacks. False when Skyvern could not be asked. `deliver: false` edits no message of a workflow
 * run.
 */
export async function fillDetails(
  deps: DetailsDeps,
  state: RunState,
  signal: AbortSignal,
  { deliver } = { deliver: true },
): Promise<boolean> {
  const { run } = state;
  const [organization = null] = state.owners;
  if (lacksGoal(run)) return fillGoal(deps, run, organization, signal);
  return lacksRelations(run) ? fillRelations(deps, run, { organization, deliver }, signal) : true;
}

async function fillGoal(deps: DetailsDeps, run: Run, organization: Organization, signal: AbortSignal) {
  const answer = await deps.client.with({ organization }).getRun(run.run_id, signal);
  if (!answer.ok) return answer.fault.kind === "not_found";
  await deps.ingest(answer.value, { source: "reconciled", organization, channel: run.channel });
  return true;
}

/** Two requests: the run's row in the list of its workflow's runs, and its tags. What came of them is kept. */
async function fillRelations(
  { intake, runtime, nudge, ...deps }: DetailsDeps,
  run: Run,
  { organization, deliver }: { organization: Organization; deliver: boolean },
  signal: AbortSignal,
): Promise<boolean> {
  const client = deps.client.with({ organization });
  const [row, tags] = await Promise.all([askRow(client, run, signal), client.listTags(run.run_id, signal)]);
  if (!row.ok && !isLasting(row.fault)) return false;
  // A Skyvern without tags has no such call, or forbids it.
  const isTold = tags.ok || isLasting(tags.fault) || (row.ok && tags.fault.kind === "forbidden");
  await intake.relate({
    runId: run.run_id,
    row: row.ok ? row.value : null,
    tags: tags.ok ? tags.value : isTold ? [] : null,
    now: runtime.now(),
    deliver,
  });
  if (deliver) nudge();
  return isTold;
}

async function askRow(
  client: SkyvernClient,
  run: Run,
  signal: AbortSignal,
): Promise<SkyvernResult<WorkflowRunRow | null>> {
  const workflow = run.workflow?.permanent_id ?? null;
  if (workflow === null || run.created_at === null) return { ok: true, value: null };
  return client.getWorkflowRunRow({ workflow, runId: run.run_id, createdAt: run.created_at }, signal);
}

/** True when Skyvern will answer the same later. */
const isLasting = ({ kind }: SkyvernFault): boolean => kind === "not_found" || kind === "unexpected";

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

/**
 * How many workflow runs are asked about where they come from. When more end at a time, their messages go out without
 * it: it costs two requests and a write a run, and every message would wait behind them.
 */
const RELATIONS_ALLOWED = { burst: 50, everyMs: 100 };

/** As many as are looked through for a message of the run that is out. */
const MAX_DELIVERIES = 100;

/**
 * Sinks of one run share one question. The message that waits for it shows the answer; those that are out are edited.
 */
export function createDetailsReader(deps: DetailsReaderDeps): ReadDetails {
  const asking = new Map<string, Promise<RunState | null>>();
  const relations = createRateLimit({ ...RELATIONS_ALLOWED, now: deps.runtime.now });
  const client = deps.client.with({ tries: 1 });
  const ask = async (state: RunState, signal: AbortSignal): Promise<RunState | null> => {
    const { run_id: runId } = state.run;
    try {
      const deliveries = await deps.store.deliveries({ runId }, { limit: MAX_DELIVERIES });
      const isOut = deliveries.some((delivery) => delivery.state === "delivered");
      const ingest = isOut ? deps.ingest : deps.quietIngest;
      const asked = { ...deps, client, ingest };
      await withDeadline(deps.budgetMs, signal, (inTime) => fillDetails(asked, state, inTime, { deliver: isOut }));
      return (await deps.store.run(runId))?.state ?? null;
    } catch (error) {
      deps.log.warn("details.unread", { run_id: runId, error: String(error) });
      return null;
    }
  };
  return async (state, signal) => {
    const { run_id: runId } = state.run;
    const isAsked = asking.has(runId) || lacksGoal(state.run) || (lacksRelations(state.run) && relations.take("relay"));
    if (!isAsked) return null;
    const answer = asking.get(runId) ?? ask(state, signal).finally(() => asking.delete(runId));
    asking.set(runId, answer);
    return answer;
  };
}
