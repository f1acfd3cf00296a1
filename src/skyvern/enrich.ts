/**
 * A run's artifacts: which there are, and a URL for one of them that works at this moment. URLs die within an hour, so
 * only ids are kept; a link in a message is minted when somebody clicks it.
 */
import { deadlineIn } from "../deadline.ts";
import { isJsonObject, type Json, type JsonObject } from "../json.ts";
import type { Log } from "../log.ts";
import type { Artifact, ArtifactKey, ArtifactsStatus, Run } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import { artifactIdOf, expiryOf, isArtifactId, parseWebUrl } from "./artifact-url.ts";
import type { ArtifactRow, SkyvernClient, SkyvernFault } from "./client.ts";

/** The types worth a person's look. A run has hundreds of others, so the list is always asked for by type (contract §4). */
export const USEFUL_TYPES: readonly string[] = [
  "recording",
  "screenshot_final",
  "screenshot_action",
  "download",
  "pdf",
  "har",
  "browser_console_log",
  "skyvern_log",
];

export interface Enrichment {
  /** As Skyvern lists them, oldest first, then those that only the payload named. Each id once. */
  artifacts: Artifact[];
  /** `complete`, `partial` or `unavailable`; never `pending`. */
  status: ArtifactsStatus;
  /** Why Skyvern's list could not be read, null when it was. */
  reason: string | null;
}

export interface Enricher {
  /**
   * The run's artifacts: what is known already if that is complete, else asked of Skyvern, again and again while that can
   * help and the budget lasts. Never fails: without Skyvern's list it answers what the payload named. Calls for one run
   * at one time share the asking; each ends at once when its own signal aborts.
   */
  enrich(run: Run, signal?: AbortSignal): Promise<Enrichment>;
  /** The same, for those who cannot wait until it is saved: what is new is on its way to the store, see {@link Enricher.settled}. */
  list(run: Run, signal?: AbortSignal): Promise<Enrichment>;
  /** Resolves when all that was listed until now is saved, or could not be. */
  settled(): Promise<void>;
  /** The same, asking Skyvern also when the answer is known. A known complete answer outlives a failure. */
  refresh(run: Run, signal?: AbortSignal): Promise<Enrichment>;
}

export interface EnricherOptions {
  client: SkyvernClient;
  /** What was saved for the run, null when nothing was. */
  load(runId: string): Promise<{ artifacts: Artifact[]; status: ArtifactsStatus } | null>;
  save(runId: string, artifacts: Artifact[], status: ArtifactsStatus): Promise<void>;
  now: Runtime["now"];
  sleep: Runtime["sleep"];
  log: Log;
  /** For all tries and waits together; 20 000 unless told. */
  budgetMs?: number;
}

const DEFAULT_BUDGET_MS = 20_000;
const FIRST_BACKOFF_MS = 500;
/** Tries for one run: what takes longer than these is asked for again when the messages are out. */
const MAX_TRIES = 4;
/** So many runs in a row in vain, and Skyvern is left in peace for a while: the news must not queue behind a broken API. */
const OUTAGE_AFTER = 2;
const OUTAGE_MS = 30_000;

export function createEnricher(options: EnricherOptions): Enricher {
  const outage = { failures: 0, until: 0 };
  const context = { ...options, budgetMs: options.budgetMs ?? DEFAULT_BUDGET_MS, outage };
  const flights = new Map<string, Flight>();
  const saving = new Set<Promise<void>>();
  const shared = (run: Run, fresh: boolean): Flight => {
    // A refresh must not be answered with what was known before it was asked for.
    const name = `${fresh ? "refresh" : "enrich"} ${run.run_id}`;
    let flight = flights.get(name);
    if (!flight) {
      flight = takeOff((abort) => ask(context, run, fresh, abort));
      flights.set(name, flight);
      const landed = flight;
      const forget = () => {
        if (flights.get(name) === landed) flights.delete(name);
      };
      landed.abandoned.addEventListener("abort", forget);
      landed.saved.then(forget, forget);
      saving.add(landed.saved);
      void landed.saved.finally(() => saving.delete(landed.saved)).catch(() => {});
    }
    return flight;
  };
  const answerOf = async (run: Run, flight: Flight, signal: AbortSignal | undefined) =>
    withNamed(run, (await board(flight, signal)) ?? unread("the attempt was aborted"));
  const whole = async (run: Run, fresh: boolean, signal: AbortSignal | undefined) => {
    const flight = shared(run, fresh);
    const answer = await answerOf(run, flight, signal);
    if (signal?.aborted !== true) await flight.saved;
    return answer;
  };
  return {
    enrich: (run, signal) => whole(run, false, signal),
    refresh: (run, signal) => whole(run, true, signal),
    list: (run, signal) => answerOf(run, shared(run, false), signal),
    settled: async () => {
      await Promise.allSettled(saving);
    },
  };
}

/** One asking, shared by its passengers, and abandoned when the last of them has left. */
interface Flight {
  answer: Promise<Enrichment>;
  saved: Promise<void>;
  passengers: number;
  abandoned: AbortSignal;
  abandon(): void;
}

function takeOff(ask: (abort: AbortSignal) => Promise<Asked>): Flight {
  const controller = new AbortController();
  const asked = ask(controller.signal);
  return {
    answer: asked.then(({ answer }) => answer),
    saved: asked.then(({ saved }) => saved),
    passengers: 0,
    abandoned: controller.signal,
    abandon: () => controller.abort(),
  };
}

/** The flight's answer, or null as soon as the signal aborts. */
async function board(flight: Flight, signal: AbortSignal | undefined): Promise<Enrichment | null> {
  if (!signal) {
    flight.passengers++;
    return flight.answer;
  }
  const left = Promise.withResolvers<null>();
  const leave = () => {
    if (--flight.passengers === 0) flight.abandon();
    left.resolve(null);
  };
  flight.passengers++;
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave);
  try {
    return await Promise.race([flight.answer, left.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

type Context = EnricherOptions & {
  budgetMs: number;
  /** Runs in a row whose list could not be read; no more asking until then, epoch ms. */
  outage: { failures: number; until: number };
};

interface Asked {
  answer: Enrichment;
  /** Never rejects. */
  saved: Promise<void>;
}

const NOTHING_TO_SAVE = Promise.resolve();

async function ask(context: Context, run: Run, fresh: boolean, abort: AbortSignal): Promise<Asked> {
  const known = await loadKnown(context, run.run_id);
  if (known?.status === "complete" && !fresh)
    return { answer: withNamed(run, { ...known, reason: null }), saved: NOTHING_TO_SAVE };
  const listed = await listUnlessOut(context, run, fresh, abort);
  if (known?.status === "complete" && listed.status !== "complete") {
    return { answer: withNamed(run, { ...known, reason: listed.reason }), saved: NOTHING_TO_SAVE };
  }
  const answer = withNamed(run, listed);
  const saved = abort.aborted ? NOTHING_TO_SAVE : saveAnswer(context, run.run_id, answer);
  const { status, reason } = answer;
  const fields = { run_id: run.run_id, status, count: answer.artifacts.length, ...(reason === null ? {} : { reason }) };
  if (status === "complete") context.log.info("run.enriched", fields);
  else context.log.warn("run.enriched", fields);
  return { answer, saved };
}

/** During an outage one run in a while asks, and the others are answered at once. */
async function listUnlessOut(context: Context, run: Run, fresh: boolean, abort: AbortSignal): Promise<Enrichment> {
  const { outage } = context;
  const isOut = outage.failures >= OUTAGE_AFTER;
  if (isOut && !fresh && context.now() < outage.until) return unread("Skyvern could not be reached a moment ago");
  if (isOut) outage.until = context.now() + OUTAGE_MS;
  const listed = await listWithinBudget(context, run, abort);
  if (listed.status === "complete") outage.failures = 0;
  else if (!abort.aborted) {
    outage.failures += 1;
    outage.until = context.now() + OUTAGE_MS;
  }
  return listed;
}

const unread = (reason: string): Enrichment => ({ artifacts: [], status: "unavailable", reason });

async function listWithinBudget(context: Context, run: Run, abort: AbortSignal): Promise<Enrichment> {
  // One try per call: the waits between tries are this loop's.
  const client = context.client.with({ organization: run.organization_id, tries: 1 });
  const deadline = context.now() + context.budgetMs;
  for (let [n, backoffMs] = [1, FIRST_BACKOFF_MS]; ; n += 1, backoffMs *= 2) {
    const inTime = deadlineIn(Math.max(0, deadline - context.now()), abort);
    const listed = await usefulArtifacts(client, listIdOf(run), inTime.signal);
    inTime.end();
    if (listed.ok) return { artifacts: listed.rows.map(artifactOf), status: "complete", reason: null };
    const { fault } = listed;
    const waitMs = Math.max(backoffMs, fault.retryAfterMs ?? 0);
    const mayPass = fault.kind === "unavailable" || fault.kind === "rate_limited";
    if (inTime.isOver() && !abort.aborted) return unread(`Skyvern did not answer within ${context.budgetMs} ms`);
    if (!mayPass || n >= MAX_TRIES || abort.aborted || context.now() + waitMs >= deadline) return unread(fault.reason);
    await context.sleep(waitMs, abort);
    if (abort.aborted) return unread(fault.reason);
  }
}

type Listed = { ok: true; rows: ArtifactRow[] } | { ok: false; fault: SkyvernFault };

/** An older Skyvern refuses types it does not know with 422: then all are asked for and the useful ones kept. */
async function usefulArtifacts(client: SkyvernClient, id: string, signal: AbortSignal | undefined): Promise<Listed> {
  const byType = await client.listArtifacts(id, USEFUL_TYPES, signal);
  if (byType.ok) return { ok: true, rows: byType.value.rows };
  if (byType.fault.status !== 422) return byType;
  const all = await client.listArtifacts(id, [], signal);
  return all.ok
    ? { ok: true, rows: all.value.rows.filter(({ artifact_type }) => USEFUL_TYPES.includes(artifact_type)) }
    : all;
}

const artifactOf = ({ artifact_id, artifact_type, created_at }: ArtifactRow): Artifact => ({
  artifact_id,
  type: artifact_type,
  created_at,
});

/**
 * The id Skyvern lists a run's artifacts under. Since v1.0.30 a v2 task's own id answers an empty list: its workflow
 * run's id is needed, which is also in its page's address (contract §4).
 */
function listIdOf(run: Run): string {
  const isTaskV2 = run.run_type === "task_v2" || /^(tsk_v2_|oc_)/.test(run.run_id);
  if (!isTaskV2) return run.run_id;
  return run.workflow?.run_id ?? /\/runs\/(wr_\w+)(?:[/?#]|$)/.exec(run.app_url ?? "")?.[1] ?? run.run_id;
}

/** Adds what only the payload named. Downloads of `tsk_` runs are never in Skyvern's list (contract §4). */
function withNamed(run: Run, { artifacts, status, reason }: Enrichment): Enrichment {
  const byId = new Map<string, Artifact>();
  for (const artifact of [...artifacts, ...namedBy(run)]) {
    if (!byId.has(artifact.artifact_id)) byId.set(artifact.artifact_id, artifact);
  }
  const named = run.recording !== null || run.screenshots.length > 0 || run.files.length > 0;
  return { artifacts: [...byId.values()], status: status === "unavailable" && named ? "partial" : status, reason };
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

/** The store's trouble is not the message's: without what was saved Skyvern is asked again. */
async function loadKnown(context: Context, runId: string) {
  try {
    return await context.load(runId);
  } catch (error) {
    context.log.warn("artifacts.load_failed", { run_id: runId, error: nameOf(error) });
    return null;
  }
}

async function saveAnswer(context: Context, runId: string, { artifacts, status }: Enrichment): Promise<void> {
  try {
    await context.save(runId, artifacts, status);
  } catch (error) {
    context.log.warn("artifacts.save_failed", { run_id: runId, error: nameOf(error) });
  }
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error);

/**
 * Where an artifact can be had right now. `redirect`: an http(s) URL that needs no key, dead at `expiresAt` (epoch
 * milliseconds, null when unknown). `stream`: only the relay can read it, by {@link SkyvernClient.openContent}. `gone`:
 * it cannot be had; `temporary` when a later try may find it.
 */
export type Minted =
  | { kind: "redirect"; url: string; expiresAt: number | null }
  | { kind: "stream"; artifactId: string }
  | { kind: "gone"; reason: string; temporary: boolean };

export interface MintRequest {
  run: Run;
  key: ArtifactKey;
  client: SkyvernClient;
  now: Runtime["now"];
  signal?: AbortSignal;
}

/** Finds a fresh URL for one artifact of a run. Never throws for what Skyvern answers, never hands out another scheme. */
export function mintUrl(request: MintRequest): Promise<Minted> {
  const mint = { ...request, client: request.client.with({ organization: request.run.organization_id }) };
  if (isArtifactId(mint.key)) return mintById(mint, mint.key);
  const place = PLACE.exec(mint.key);
  if (!place) return Promise.resolve(gone("The link names no artifact."));
  return mintByPlace(mint, place[1] ?? "recording", Number(place[2] ?? 1));
}

const PLACE = /^(?:recording|(screenshot|file)-([1-9]\d{0,3}))$/;

const gone = (reason: string): Minted => ({ kind: "gone", reason, temporary: false });
const goneBy = ({ kind, reason }: SkyvernFault): Minted => ({
  kind: "gone",
  reason,
  temporary: kind === "unavailable" || kind === "rate_limited",
});

/** `fresh` is a URL of it that Skyvern gave just now, for a Skyvern without the signed-url call. */
async function mintById(mint: MintRequest, id: string, fresh: string | null = null): Promise<Minted> {
  const signed = await mint.client.signedUrl(id, mint.signal);
  if (signed.ok) return handOut(mint, id, signed.value.url, signed.value.expiresAt);
  const { fault } = signed;
  // 404: a Skyvern before v1.0.47, or no such artifact; 503: no signing keys.
  if (fault.status !== 404 && fault.status !== 503) return goneBy(fault);
  if (fresh !== null) return handOut(mint, id, fresh);
  return mintFromLists(mint, id);
}

/** Looks the artifact up in the run's list, then in the run itself; at last asks for its first byte. */
async function mintFromLists(mint: MintRequest, id: string): Promise<Minted> {
  const listed = await usefulArtifacts(mint.client, listIdOf(mint.run), mint.signal);
  const row = listed.ok ? listed.rows.find(({ artifact_id }) => artifact_id === id) : undefined;
  if (row?.archived === true) return gone(ARCHIVED);
  if (row) return handOut(mint, id, row.signed_url ?? "");
  const run = await mint.client.getRun(mint.run.run_id, mint.signal);
  const url = run.ok ? urlOfArtifact(run.value, id) : null;
  if (url !== null) return handOut(mint, id, url);
  const probe = await mint.client.openContent(id, {
    range: "bytes=0-0",
    ...(mint.signal ? { signal: mint.signal } : {}),
  });
  // 416: it is there, and empty.
  if (!probe.ok) return probe.fault.status === 416 ? { kind: "stream", artifactId: id } : goneBy(probe.fault);
  await probe.value.body?.cancel();
  return { kind: "stream", artifactId: id };
}

const ARCHIVED = "Skyvern archived it: its bytes cannot be had through the API.";

async function mintByPlace(mint: MintRequest, place: string, n: number): Promise<Minted> {
  const run = await mint.client.getRun(mint.run.run_id, mint.signal);
  if (!run.ok) return goneBy(run.fault);
  if (place === "recording" && run.value["recording_archived"] === true) return gone(ARCHIVED);
  const { url, id } = atPlace(run.value, place, n);
  if (id !== null) return mintById(mint, id, url);
  if (url === null) return gone(`Skyvern's run names no ${place === "recording" ? place : `${place} ${n}`} any more.`);
  const web = parseWebUrl(url);
  if (web) return { kind: "redirect", url: web.href, expiresAt: expiryOf(url) };
  return mintLocal(mint, place, url);
}

/** A `file:` URL on Skyvern's own disk: the list may know the same file under an id. */
async function mintLocal(mint: MintRequest, place: string, uri: string): Promise<Minted> {
  const listed = await usefulArtifacts(mint.client, listIdOf(mint.run), mint.signal);
  if (!listed.ok) return goneBy(listed.fault);
  const rows = listed.rows.filter(({ artifact_type }) => (TYPES_AT[place] ?? []).includes(artifact_type));
  const row =
    rows.find((row) => row.uri === uri) ??
    rows.find((row) => lastSegment(row.uri ?? "") === lastSegment(uri)) ??
    (place === "recording" ? rows.at(-1) : undefined);
  if (!row) return gone("Skyvern keeps it on its own disk and lists no artifact for it.");
  return row.archived === true ? gone(ARCHIVED) : { kind: "stream", artifactId: row.artifact_id };
}

const TYPES_AT: Record<string, readonly string[]> = {
  recording: ["recording"],
  screenshot: ["screenshot_action", "screenshot_final"],
  file: ["download", "pdf"],
};

const lastSegment = (uri: string): string => uri.slice(uri.lastIndexOf("/") + 1);

/** Redirects to a URL a browser can open; what has none is streamed. */
function handOut(mint: MintRequest, id: string, url: string, said: number | null = null): Minted {
  const web = parseWebUrl(url);
  const expiresAt = said ?? expiryOf(url);
  const dead = expiresAt !== null && expiresAt <= mint.now();
  if (!web || dead || isForeign(web, mint.client.origin)) return { kind: "stream", artifactId: id };
  return { kind: "redirect", url: web.href, expiresAt };
}

/** A self-hosted Skyvern that was not told its own address signs URLs of the cloud's host, which knows nothing of them (contract §5). */
const isForeign = (url: URL, origin: string): boolean =>
  isCloud(url.hostname) && !isCloud(new URL(origin).hostname) && artifactIdOf(url.href) !== null;

const isCloud = (hostname: string): boolean => hostname === "skyvern.com" || hostname.endsWith(".skyvern.com");

/** What GET run gives for a place: its URL and, where there is one, the artifact's id. */
function atPlace(run: JsonObject, place: string, n: number): { url: string | null; id: string | null } {
  if (place === "recording") return urlAndId(run["recording_url"], null);
  const list = run[place === "screenshot" ? "screenshot_urls" : "downloaded_files"];
  const item = Array.isArray(list) ? list[n - 1] : null;
  return isJsonObject(item) ? urlAndId(item["url"], item["artifact_id"]) : urlAndId(item, null);
}

function urlAndId(url: Json | undefined, id: Json | undefined): { url: string | null; id: string | null } {
  const text = typeof url === "string" && url !== "" ? url : null;
  const given = typeof id === "string" && isArtifactId(id) ? id : null;
  return { url: text, id: given ?? (text === null ? null : artifactIdOf(text)) };
}

function urlOfArtifact(run: JsonObject, id: string): string | null {
  const lists = [run["screenshot_urls"], run["downloaded_files"]].map((list) =>
    Array.isArray(list) ? list.length : 0,
  );
  const places: [string, number][] = [
    ["recording", 1],
    ...Array.from({ length: lists[0] ?? 0 }, (_, index): [string, number] => ["screenshot", index + 1]),
    ...Array.from({ length: lists[1] ?? 0 }, (_, index): [string, number] => ["file", index + 1]),
  ];
  const found = places.map(([place, n]) => atPlace(run, place, n)).find((item) => item.id === id);
  return found?.url ?? null;
}
