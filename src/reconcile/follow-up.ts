/**
 * What a webhook could not say yet is asked for a little later: prompt and URL of tasks, which only the API knows, and the
 * artifacts of task v2, whose webhook goes out before its recording is final (contract §2). Messages are edited then.
 */
import type { Log } from "../platform/log.ts";
import { HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import type { Artifact, Run } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import type { StoredRun } from "../store/contract/runs.ts";
import { webhookUrlOf } from "./reconcile.ts";
import type { Addresses } from "../receive/own-addresses.ts";
import { ARTIFACTS_DELAY_MS, DETAILS_DELAY_MS, followUpAt, lacksDetails } from "../domain/follow-up-plan.ts";
import type { Ingest } from "./ingest.ts";
import type { Intake } from "../receive/intake.ts";
import { settleDispute, type OwnersDeps } from "./owners.ts";

export interface FollowUpDeps extends OwnersDeps {
  store: Pick<ReconcileStore, "dueFollowUps" | "setFollowUp"> & OwnersDeps["store"];
  intake: Pick<Intake, "showMore" | "reread">;
  client: SkyvernClient;
  ingest: Ingest;
  addresses: Addresses;
  /** Asks Skyvern's list anew; `reason` says why it could not be read. */
  refresh(run: Run, signal: AbortSignal): Promise<{ artifacts: Artifact[]; reason: string | null }>;
  runtime: Runtime;
  log: Log;
  nudge(): void;
}

/** After a failure; then it is left. */
const AGAIN_MS = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS];
const BATCH = 20;

/** Looks after every run that is due. Returns how many there were. */
export async function followUpDue(deps: FollowUpDeps, signal: AbortSignal): Promise<number> {
  const due = await deps.store.dueFollowUps(deps.runtime.now(), BATCH);
  // One organization cannot dispute with itself.
  const hasOthers = new Set(deps.client.perKey().map(({ organization }) => organization)).size > 1;
  for (const { run, failures } of due) {
    const { run_id: runId } = run.state.run;
    const dispute = hasOthers ? await lookAtDispute(deps, runId, signal) : { settled: 0, asked: true };
    const done = dispute.asked && (dispute.settled > 0 || (await lookAfter(deps, run, signal)));
    // Cut short by the end of the process: the next one looks.
    if (signal.aborted) break;
    const now = deps.runtime.now();
    // A dispute is asked about until it is settled.
    const wait = AGAIN_MS[failures] ?? (dispute.asked ? undefined : AGAIN_MS.at(-1));
    const again = wait === undefined ? null : now + wait;
    const at = dispute.settled > 0 ? plannedAt(run.state.run, now) : artifactsDueAt(run.state.run, now);
    await deps.store.setFollowUp(runId, done ? at : again, done ? 0 : failures + 1);
  }
  return due.length;
}

/** A bug in one run must not keep the others from being looked after. */
async function lookAtDispute(deps: FollowUpDeps, runId: string, signal: AbortSignal) {
  try {
    return await settleDispute(deps, runId, signal);
  } catch (error) {
    deps.log.error("follow_up.failed", { run_id: runId, error: String(error) });
    return { settled: 0, asked: false };
  }
}

/** The dispute took the place of what was planned for the run. */
function plannedAt(run: Run, now: number): number | null {
  const at = followUpAt(run, run.received_at);
  return at === undefined ? null : Math.max(at, now + DETAILS_DELAY_MS);
}

/** A v2 task whose details were asked for first has its artifacts still to come. */
function artifactsDueAt(run: Run, now: number): number | null {
  const at = run.received_at + ARTIFACTS_DELAY_MS;
  return run.run_type === "task_v2" && lacksDetails(run) && at > now ? at : null;
}

/** False when Skyvern could not be asked. What goes wrong with one run must not keep the others from being looked after. */
async function lookAfter(deps: FollowUpDeps, run: StoredRun, signal: AbortSignal): Promise<boolean> {
  try {
    return (await complete(deps, run, signal)) && (await rereadArtifacts(deps, run, signal));
  } catch (error) {
    deps.log.error("follow_up.failed", { run_id: run.state.run.run_id, error: String(error) });
    return false;
  }
}

/** Fills in what only the API knows. False when Skyvern could not be asked. */
async function complete(deps: FollowUpDeps, { state }: StoredRun, signal: AbortSignal): Promise<boolean> {
  const { run } = state;
  if (!lacksDetails(run)) return true;
  const [organization = null] = state.owners;
  const answer = await deps.client.with({ organization }).getRun(run.run_id, signal);
  if (!answer.ok) return answer.fault.kind === "not_found";
  const channel = deps.addresses.channelOf(webhookUrlOf(answer.value)) ?? run.channel;
  await deps.ingest(answer.value, { source: "reconciled", organization, channel });
  return true;
}

/** Reads the artifacts again; what is new edits the messages. False when Skyvern could not be asked. */
async function rereadArtifacts(deps: FollowUpDeps, known: StoredRun, signal: AbortSignal): Promise<boolean> {
  const { run } = known.state;
  if (run.run_type !== "task_v2" && known.status === "complete") return true;
  // Nothing was sent yet: what is sent will have them.
  if (known.status === "pending") return true;
  const now = await deps.refresh(run, signal);
  if (now.reason !== null) return false;
  if (known.status === "complete" && sameIds(known.artifacts, now.artifacts)) return true;
  const revised = await deps.intake.showMore(run.run_id, deps.runtime.now());
  deps.log.info("artifacts.completed", { run_id: run.run_id, artifacts: now.artifacts.length, revised });
  if (revised) deps.nudge();
  return true;
}

const sameIds = (a: readonly Artifact[], b: readonly Artifact[]): boolean =>
  a.length === b.length && a.every(({ artifact_id }) => b.some((other) => other.artifact_id === artifact_id));
