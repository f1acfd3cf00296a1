/**
 * Lists a run's artifacts. Their URLs die within an hour, so only ids are stored; `artifact-link.ts` resolves fresh
 * ones.
 */
import { remember } from "../../platform/rate-limit.ts";
import type { Log } from "../../platform/log.ts";
import { retry } from "../../platform/retry.ts";
import { failedBlock, type Timeline } from "../../domain/block.ts";
import type { Artifact, ArtifactKey, ArtifactsStatus, Run } from "../../domain/run.ts";
import type { Redact } from "../redact.ts";
import { readTimeline, type ReadTimeline } from "../timeline.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { isArtifactId } from "./artifact-url.ts";
import type { ArtifactRow, SkyvernClient } from "../client.ts";
import { mayPass } from "../api-call.ts";
import { countBlocks } from "../workflow-definition.ts";
import { listIdOf, listRelevantArtifacts } from "./relevant-artifacts.ts";
import { withDeadline } from "../../platform/abortable.ts";

export interface Enrichment {
  /** Left out for a run that is no workflow's, and where its timeline could not be read. */
  timeline?: Timeline;
  /** In Skyvern's order, oldest first, then those that only the payload named. Each id once. */
  artifacts: Artifact[];
  /** `complete`, `partial` or `unavailable`; never `pending`. */
  status: ArtifactsStatus;
  /** Why Skyvern's list could not be read, null when it was. */
  reason: string | null;
}

/** The part of an enrichment that is saved. */
type SavedEnrichment = Pick<Enrichment, "artifacts" | "status" | "timeline">;

/** `isNew`: Skyvern listed it just now, and it is not saved yet. */
export interface ArtifactListing extends Enrichment {
  isNew: boolean;
}

export interface Enricher {
  /**
   * The run's artifacts: the saved list if it is complete, else Skyvern's, with retries while they can help and the
   * time budget lasts. Never fails: without Skyvern's list it returns what the payload named. Parallel calls for one
   * run share one request; each ends as soon as its own signal aborts. Resolves when new artifacts are saved.
   */
  enrich(run: Run, signal?: AbortSignal): Promise<Enrichment>;
  /** The same for a caller that knows the saved status and saves new artifacts itself. */
  list(run: Run, known: ArtifactsStatus, signal?: AbortSignal): Promise<ArtifactListing>;
  /** As `enrich`, but asks Skyvern even when the answer is known. A failure does not replace a known complete list. */
  refresh(run: Run, signal?: AbortSignal): Promise<Enrichment>;
}

export interface EnricherOptions {
  client: SkyvernClient;
  /** The saved part for the run, null when there is none. */
  load(runId: string): Promise<SavedEnrichment | null>;
  save(runId: string, known: SavedEnrichment): Promise<void>;
  /** Masks what the timeline quotes of pages. */
  redact: Redact;
  now: Runtime["now"];
  sleep: Runtime["sleep"];
  log: Log;
  /** The time for all tries and waits together, ms. Default 20,000. */
  budgetMs?: number;
}

const DEFAULT_BUDGET_MS = 20_000;
const FIRST_BACKOFF_MS = 500;
/** The most tries for one run. A list that takes longer is asked for again after the messages were sent. */
const MAX_TRIES = 4;
/**
 * After this many failed runs in a row Skyvern is not asked for a while, because results must not queue behind a broken
 * API.
 */
const OUTAGE_AFTER = 2;
const OUTAGE_MS = 30_000;

/**
 * How many complete lists are remembered. A run's sinks follow each other closely, and the first sink's list may not be
 * saved yet.
 */
const REMEMBERED = 64;

export function createEnricher(options: EnricherOptions): Enricher {
  const outage = { failures: 0, until: 0 };
  const context = { ...options, budgetMs: options.budgetMs ?? DEFAULT_BUDGET_MS, outage };
  const inFlight = new Map<string, InFlight>();
  const remembered = new Map<string, Enrichment>();
  const shared = (run: Run, fresh: boolean): InFlight => {
    // A refresh must not get an answer that was requested before it.
    const name = `${fresh ? "refresh" : "enrich"} ${run.run_id}`;
    const running = inFlight.get(name);
    if (running) return running;
    const request = startRequest((abort) => ask(context, run, fresh, abort));
    inFlight.set(name, request);
    const forget = () => {
      if (inFlight.get(name) === request) inFlight.delete(name);
    };
    request.canceled.addEventListener("abort", forget);
    request.answer.then(forget, forget);
    return request;
  };
  const saved = async (request: InFlight, run: Run, answer: Enrichment | null): Promise<Enrichment> => {
    const named = withNamed(run, answer ?? ABORTED);
    if (answer !== null) await (request.saved ??= saveAnswer(context, run.run_id, named));
    return named;
  };
  return {
    enrich: async (run, signal) => {
      const known = await loadComplete(context, run.run_id);
      if (known) return withNamed(run, known);
      const request = shared(run, false);
      return saved(request, run, await join(request, signal));
    },
    list: async (run, known, signal) => {
      const stored = known === "complete" ? await loadComplete(context, run.run_id) : null;
      if (stored) return { ...withNamed(run, stored), isNew: false };
      const answer = remembered.get(run.run_id) ?? (await join(shared(run, false), signal));
      if (answer?.status === "complete") remember(remembered, run.run_id, answer, REMEMBERED);
      return { ...withNamed(run, answer ?? ABORTED), isNew: answer !== null };
    },
    refresh: async (run, signal) => {
      const request = shared(run, true);
      const answer = await join(request, signal);
      const known = answer?.status === "complete" ? null : await loadComplete(context, run.run_id);
      return known ? withNamed(run, { ...known, reason: (answer ?? ABORTED).reason }) : saved(request, run, answer);
    },
  };
}

/** One request to Skyvern, shared by its waiters, and canceled when the last of them has left. */
interface InFlight {
  answer: Promise<Enrichment>;
  /** Null until someone saves it. */
  saved: Promise<void> | null;
  waiters: number;
  canceled: AbortSignal;
  cancel(): void;
}

function startRequest(fetchAndLog: (abort: AbortSignal) => Promise<Enrichment>): InFlight {
  const controller = new AbortController();
  return {
    // Starts only after the caller has joined: that caller may be about to leave.
    answer: Promise.resolve().then(() => fetchAndLog(controller.signal)),
    saved: null,
    waiters: 0,
    canceled: controller.signal,
    cancel: () => controller.abort(),
  };
}

/** The answer, or null as soon as the signal aborts. */
async function join(request: InFlight, signal: AbortSignal | undefined): Promise<Enrichment | null> {
  if (!signal) {
    request.waiters++;
    return request.answer;
  }
  const left = Promise.withResolvers<null>();
  const leave = () => {
    if (--request.waiters === 0) request.cancel();
    left.resolve(null);
  };
  request.waiters++;
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave);
  try {
    return await Promise.race([request.answer, left.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

type EnricherContext = EnricherOptions & {
  budgetMs: number;
  /** Failed runs in a row, and until when no list is asked for, epoch ms. */
  outage: { failures: number; until: number };
};

async function ask(context: EnricherContext, run: Run, fresh: boolean, abort: AbortSignal): Promise<Enrichment> {
  const listed = await listUnlessOut(context, run, fresh, abort);
  const { status, reason, artifacts } = withNamed(run, listed);
  const fields = { run_id: run.run_id, status, count: artifacts.length, ...(reason === null ? {} : { reason }) };
  if (status === "complete") context.log.info("artifacts.listed", fields);
  else context.log.warn("artifacts.listed", fields);
  return listed;
}

/** During an outage one run now and then tries Skyvern, and the others are answered at once. */
async function listUnlessOut(
  context: EnricherContext,
  run: Run,
  fresh: boolean,
  abort: AbortSignal,
): Promise<Enrichment> {
  const { outage } = context;
  const isOut = outage.failures >= OUTAGE_AFTER;
  if (isOut && !fresh && context.now() < outage.until) return unread("Skyvern could not be reached a moment ago");
  if (isOut) outage.until = context.now() + OUTAGE_MS;
  const { listed, isOut: isOutNow } = await listWithinBudget(context, run, abort);
  if (listed.status === "complete") outage.failures = 0;
  else if (isOutNow && !abort.aborted) {
    outage.failures += 1;
    outage.until = context.now() + OUTAGE_MS;
  }
  return listed;
}

interface Answer {
  listed: Enrichment;
  /** Whether Skyvern gave no answer, or was too busy for one. That it refuses one run says nothing of the others. */
  isOut: boolean;
}

const unread = (reason: string): Enrichment => ({ artifacts: [], status: "unavailable", reason });
const ABORTED = unread("the attempt was aborted");

const listWithinBudget = (context: EnricherContext, run: Run, abort: AbortSignal): Promise<Answer> =>
  withDeadline(context.budgetMs, abort, (signal) => listAndRead(context, run, abort, signal));

async function listAndRead(
  context: EnricherContext,
  run: Run,
  abort: AbortSignal,
  signal: AbortSignal,
): Promise<Answer> {
  // One try per call, because this loop does the waiting.
  const client = context.client.with({ organization: run.organization_id, tries: 1 });
  const deadline = context.now() + context.budgetMs;
  const listed = await retry({
    act: () => listRelevantArtifacts(client, listIdOf(run), signal),
    waitMs: (result, tried) => {
      if (result.ok || tried >= MAX_TRIES || !mayPass(result.fault)) return null;
      const waitMs = Math.max(FIRST_BACKOFF_MS * 2 ** (tried - 1), result.fault.retryAfterMs ?? 0);
      return context.now() + waitMs >= deadline ? null : waitMs;
    },
    sleep: context.sleep,
    signal,
  });
  if (listed.ok) {
    const read = await readBlocks(context, client, run, signal);
    const said = read === null ? {} : { timeline: await withPlan(client, run, read, signal) };
    const artifacts = listed.rows.map((row) => toArtifact(row, read?.labels));
    return { listed: { artifacts, status: "complete", reason: null, ...said }, isOut: false };
  }
  if (signal.aborted && !abort.aborted)
    return { listed: unread(`Skyvern did not answer within ${context.budgetMs} ms`), isOut: true };
  return { listed: unread(listed.fault.reason), isOut: mayPass(listed.fault) };
}

/** One try, after the list was read: without its blocks a message says less, and is still sent. */
async function readBlocks(
  { redact, log }: EnricherContext,
  client: SkyvernClient,
  run: Run,
  signal: AbortSignal,
): Promise<ReadTimeline | null> {
  if (run.kind !== "workflow") return null;
  const answer = await client.getTimeline(run.run_id, signal);
  const timeline = answer.ok ? readTimeline(answer.value, redact) : null;
  if (timeline === null && !signal.aborted)
    log.warn("timeline.unread", {
      run_id: run.run_id,
      reason: answer.ok ? "it has another shape" : answer.fault.reason,
    });
  return timeline;
}

/** "Block 3 of 8": the timeline has no block that did not begin. */
async function withPlan(
  client: SkyvernClient,
  run: Run,
  { blocks, omitted }: ReadTimeline,
  signal: AbortSignal,
): Promise<Timeline> {
  const workflow = run.workflow?.permanent_id ?? null;
  const isBroken = run.status !== "completed" && failedBlock({ blocks, omitted }) !== null;
  if (workflow === null || !isBroken) return { blocks, omitted };
  const answer = await client.getWorkflow(workflow, signal);
  return { blocks, omitted, ...(answer.ok ? { planned: countBlocks(answer.value) } : {}) };
}

function toArtifact(row: ArtifactRow, labels: ReadonlyMap<string, string> = new Map()): Artifact {
  const { artifact_id, artifact_type: type, created_at, bundle_key: bundle, file_size: size } = row;
  const block = labels.get(row.workflow_run_block_id ?? "") ?? labels.get(row.task_id ?? "");
  return {
    artifact_id,
    type,
    created_at,
    ...(block === undefined ? {} : { block }),
    ...(typeof bundle === "string" ? { bundle } : {}),
    // A canceled run may have a recording that was never written (contract §9). A file may well be empty.
    ...(type === "recording" && size === 0 ? { empty: true as const } : {}),
  };
}

/** Adds what only the payload named. Skyvern's list never has downloads of `tsk_` runs (contract §4). */
function withNamed(run: Run, { artifacts, status, ...rest }: Enrichment): Enrichment {
  const byId = new Map<string, Artifact>();
  for (const artifact of [...artifacts, ...namedBy(run)]) {
    if (!byId.has(artifact.artifact_id)) byId.set(artifact.artifact_id, artifact);
  }
  const named = run.recording !== null || run.screenshots.length > 0 || run.files.length > 0;
  return { artifacts: [...byId.values()], status: status === "unavailable" && named ? "partial" : status, ...rest };
}

function namedBy(run: Run): Artifact[] {
  const named: [ArtifactKey | null, string][] = [
    [run.recording, "recording"],
    ...run.screenshots.map((key): [ArtifactKey, string] => [key, "screenshot_action"]),
    ...run.files.map((file): [ArtifactKey | null, string] => [file.artifact_id, "download"]),
  ];
  return named.flatMap(([key, type]) =>
    key !== null && isArtifactId(key) ? [{ artifact_id: key, type, created_at: null }] : [],
  );
}

/**
 * The saved list, if it is complete. When the store fails, Skyvern is asked again, so that the message is not held up.
 */
async function loadComplete(context: EnricherContext, runId: string): Promise<Enrichment | null> {
  try {
    const known = await context.load(runId);
    return known?.status === "complete" ? { ...known, reason: null } : null;
  } catch (error) {
    context.log.warn("artifacts.load_failed", { run_id: runId, error: errorName(error) });
    return null;
  }
}

async function saveAnswer(context: EnricherContext, runId: string, answer: Enrichment): Promise<void> {
  const { reason: _reason, ...known } = answer;
  try {
    await context.save(runId, known);
  } catch (error) {
    context.log.warn("artifacts.save_failed", { run_id: runId, error: errorName(error) });
  }
}

const errorName = (error: unknown): string => (error instanceof Error ? error.name : typeof error);
