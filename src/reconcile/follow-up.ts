/**
 * Asks a little later for what a webhook could not say yet: prompt and URL of tasks, which only the API knows, and the
 * artifacts of task v2, whose webhook is sent before its recording is final (contract §2). Messages are then edited. It
 * also asks about a run between two run attempts (`await-attempt.ts`).
 */
import { HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import { isFinal, type Artifact, type Run } from "../domain/run.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import type { RunStore, StoredRun } from "../store/contract/runs.ts";
import { ARTIFACTS_DELAY_MS } from "../domain/follow-up-plan.ts";
import { fillDetails } from "./details.ts";
import { awaitAttempt, type AwaitAttemptDeps, type Next } from "./await-attempt.ts";
import type { Intake } from "../receive/intake.ts";
import { settleDispute, type OwnersDeps } from "./owners.ts";
import { withDeadline } from "../platform/abortable.ts";

export interface FollowUpDeps extends Omit<OwnersDeps, "intake">, Omit<AwaitAttemptDeps, "intake"> {
  store: Pick<ReconcileStore, "dueFollowUps" | "setFollowUp"> & Pick<RunStore, "run"> & OwnersDeps["store"];
  intake: Pick<Intake, "showMore" | "reread" | "giveUpOnRetry" | "relate" | "route">;
  /** Reads Skyvern's list again; `reason` says why it could not be read. */
  refresh(run: Run, signal: AbortSignal): Promise<{ artifacts: Artifact[]; reason: string | null }>;
}

/** The waits after failures; after the last one it is given up. */
const AGAIN_MS = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS] as const;
const BATCH = 20;
/** As many are looked through for outcomes that wait for their sinks: nothing else that is due keeps those back. */
const MAX_DUE = 200;
/** Skyvern is asked about as many at one time. */
const MAX_WAITING = 50;
/** A round in which Skyvern is slow ends after this, so that outcomes which came meanwhile choose their sinks. */
const ROUND_MS = 10_000;

/** Follows up runs that are due, first those whose outcome waits for its sinks. Returns how many there were. */
export async function followUpDue(deps: FollowUpDeps, signal: AbortSignal): Promise<number> {
  const since = deps.runtime.now();
  const found = await deps.store.dueFollowUps(since, MAX_DUE);
  const waiting = found.filter(({ run }) => isUnrouted(run)).slice(0, MAX_WAITING);
  const due = [...waiting, ...found.filter(({ run }) => !isUnrouted(run)).slice(0, BATCH)];
  const unanswered = await routeWaiting(
    deps,
    waiting.map(({ run }) => run),
    signal,
  );
  // A single organization cannot dispute with itself.
  const hasOthers = new Set(deps.client.perKey().map(({ organization }) => organization)).size > 1;
  for (const { run: before, failures } of due) {
    const { run_id: runId } = before.state.run;
    const run = isUnrouted(before) ? ((await deps.store.run(runId)) ?? before) : before;
    const dispute = hasOthers
      ? await unlessItFails(deps, runId, () => settleDispute(deps, runId, signal), { settled: 0, asked: false })
      : { settled: 0, asked: true };
    // Settling changed the run: it stays due, unless that planned another time, and is looked at as it is then.
    if (dispute.settled > 0) continue;
    const next = unanswered.has(runId)
      ? { at: deps.runtime.now() + AGAIN_MS[0], failures: 1 }
      : await nextLook(deps, { known: run, failures, isDisputed: !dispute.asked }, signal);
    // The process is stopping, so the next one follows up.
    if (signal.aborted) break;
    await deps.store.setFollowUp(runId, { ...next, since });
    if (deps.runtime.now() - since > ROUND_MS) break;
  }
  return due.length;
}

const isUnrouted = ({ state }: StoredRun): boolean => state.unrouted === true;

/** How long an outcome waits for Skyvern's word on where its run comes from. */
const ROUTE_BUDGET_MS = 5_000;

/**
 * Chooses the sinks of outcomes whose routes test where a run comes from. Skyvern is asked of all at one time. Where it
 * does not answer the run counts as one without a trigger, schedule, parent and tags, because no message is kept back.
 * Returns the runs of which Skyvern said nothing.
 */
async function routeWaiting(
  deps: FollowUpDeps,
  waiting: readonly StoredRun[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const unanswered = new Set<string>();
  const asking = { ...deps, client: deps.client.with({ tries: 1 }) };
  const route = async ({ state }: StoredRun): Promise<void> => {
    const { run_id: runId } = state.run;
    const askAndRoute = async () => {
      const hasAnswered = await withDeadline(ROUTE_BUDGET_MS, signal, (inTime) => fillDetails(asking, state, inTime));
      // The process is stopping, so the next one asks.
      if (!signal.aborted) await deps.intake.route(runId, deps.runtime.now());
      return hasAnswered;
    };
    if (!(await unlessItFails(deps, runId, askAndRoute, false))) unanswered.add(runId);
  };
  await Promise.all(waiting.map(route));
  if (waiting.length > 0) deps.nudge();
  return unanswered;
}

/** What the work says; `otherwise` where it throws: a bug, or a fault of the storage, must not stop the other runs. */
async function unlessItFails<T>(deps: FollowUpDeps, runId: string, work: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    deps.log.error("follow_up.failed", { run_id: runId, error: String(error) });
    return otherwise;
  }
}

/** The artifacts of a v2 task still follow after its details. */
function artifactsDueAt(run: Run, now: number): number | null {
  const at = run.received_at + ARTIFACTS_DELAY_MS;
  return run.run_type === "task_v2" && at > now ? at : null;
}

interface Due {
  known: StoredRun;
  failures: number;
  /** Skyvern could not be asked whose it is. */
  isDisputed: boolean;
}

/** Looks after one run, unless a dispute about it is to be settled first. When to look again. */
async function nextLook(deps: FollowUpDeps, { known, failures, isDisputed }: Due, signal: AbortSignal): Promise<Next> {
  const { run, owners } = known.state;
  if (!isDisputed && !isFinal(run)) {
    const [organization = null] = owners;
    const ask = () => awaitAttempt(deps, { run, organization, failures }, signal);
    return unlessItFails(deps, run.run_id, ask, { at: deps.runtime.now() + MINUTE_MS, failures });
  }
  const lookAfter = async () =>
    (await fillDetails(deps, known.state, signal)) && (await rereadArtifacts(deps, known, signal));
  const isDone = !isDisputed && (await unlessItFails(deps, run.run_id, lookAfter, false));
  const now = deps.runtime.now();
  if (isDone) return { at: artifactsDueAt(run, now), failures: 0 };
  // A dispute is asked about until it is settled.
  const wait = AGAIN_MS[failures] ?? (isDisputed ? AGAIN_MS.at(-1) : undefined);
  return { at: wait === undefined ? null : now + wait, failures: failures + 1 };
}

/** Reads the artifacts again; new ones edit the messages. False when Skyvern could not be asked. */
async function rereadArtifacts(deps: FollowUpDeps, known: StoredRun, signal: AbortSignal): Promise<boolean> {
  const { run } = known.state;
  if (run.run_type !== "task_v2" && known.status === "complete") return true;
  // Nothing was sent yet, so the first message will have them.
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
