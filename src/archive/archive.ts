/**
 * The archive: the relay's own copies of a run's pictures, recording and files, for when Skyvern no longer has them.
 *
 * A run is queued in the transaction that settles it, and leaves the queue when every wanted artifact is copied or
 * cannot be. A copy counts from the moment its row is written, after its bytes are complete on the disk or in the
 * storage; a process that dies in between starts that one artifact again and loses nothing.
 */
import { errorText } from "../platform/error-text.ts";
import type { Log } from "../platform/log.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import { recordingOf } from "../domain/report.ts";
import type { Artifact, ArtifactKey, ArtifactsStatus, Run } from "../domain/run.ts";
import { sniff } from "../skyvern/artifacts/answer.ts";
import { isPicture, type Copies, type Media, type Owner } from "../skyvern/artifacts/media.ts";
import type { ArchiveStore, Archiving, Copy } from "../store/contract/archive.ts";
import type { RunStore } from "../store/contract/runs.ts";
import type { BlobStore } from "./blob-store.ts";
import { spool, sweep, type Refused } from "./spool.ts";

export interface ArchiveDeps {
  store: Pick<RunStore, "run"> & ArchiveStore;
  /** Reads from Skyvern only, never from the copies. */
  media: Pick<Media, "fetch">;
  /** Lists the run's artifacts, from Skyvern where they are not known. Never rejects. */
  enrich(run: Run, signal: AbortSignal): Promise<{ artifacts: Artifact[]; status: ArtifactsStatus }>;
  blobs: BlobStore;
  /** The folder for files in progress, on the same disk as the folder of copies. */
  dir: string;
  what: "screenshots" | "all";
  /** The most bytes of one copy. */
  maxFile: number;
  /** The most bytes of all copies. */
  maxTotal: number;
  now(): number;
  log: Log;
}

export interface Archive {
  /** Removes leftovers of an earlier process. To be called before the first round. */
  prepare(): Promise<void>;
  /** Copies everything that is due. Returns the number of runs. */
  round(signal: AbortSignal): Promise<number>;
  /**
   * Removes the bytes that no copy needs any more. Returns how many. It must not run beside {@link Archive.round},
   * which may just be copying the same bytes.
   */
  clear(signal: AbortSignal): Promise<number>;
}

/** The waits after failures; after the last one the artifact stays missing. */
const AGAIN_MS = [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS];
const BATCH = 10;
/** The wait after bytes could not be removed. */
const REMOVE_AGAIN_MS = 600_000;
/** The most artifacts of one run. A run with more has gone wrong in a way that nobody examines picture by picture. */
const MAX_OF_RUN = 500;

export function createArchive(deps: ArchiveDeps): Archive {
  const { store, log, now } = deps;
  return {
    prepare: async () => {
      const left = await sweep(deps.dir);
      if (left > 0) log.info("archive.leftovers_removed", { files: left });
    },
    round: async (signal) => {
      for (let done = 0; ;) {
        const due = await store.dueArchiving(now(), BATCH);
        for (const archiving of due) {
          if (signal.aborted) return done;
          await archiveRun(deps, archiving, signal);
          done += 1;
        }
        if (due.length === 0) return done;
      }
    },
    clear: async (signal) => {
      let removed = 0;
      for (;;) {
        const hashes = await store.discarded(now(), BATCH);
        for (const sha256 of hashes) {
          if (signal.aborted) return removed;
          if (await removeOne(deps, sha256, signal)) removed += 1;
        }
        if (hashes.length > 0) continue;
        if (removed > 0) log.info("archive.copies_removed", { files: removed });
        return removed;
      }
    },
  };
}

async function removeOne({ store, blobs, now, log }: ArchiveDeps, sha256: string, signal: AbortSignal) {
  try {
    await blobs.remove(sha256, signal);
    await store.setDiscarded(sha256, null);
    return true;
  } catch (error) {
    log.warn("archive.removal_failed", { sha256, error: errorText(error) });
    await store.setDiscarded(sha256, now() + REMOVE_AGAIN_MS);
    return false;
  }
}

/** Serves the copies to browsers and readers. */
export const createCopies = ({
  store,
  blobs,
  log,
}: Pick<ArchiveDeps, "blobs" | "log"> & { store: Pick<ArchiveStore, "copy"> }): Copies => ({
  has: async (runId, key) => (await store.copy(runId, key)) !== null,
  open: async (runId, key, range) => {
    const copy = await store.copy(runId, key);
    if (copy === null) return null;
    try {
      const answer = await blobs.open(copy.sha256, copy.bytes, range);
      if (answer === null) log.error("archive.copy_missing", { run_id: runId, artifact: key, sha256: copy.sha256 });
      if (answer === null || copy.type === null) return answer;
      const headers = new Headers(answer.headers);
      headers.set("content-type", copy.type);
      return new Response(answer.body, { status: answer.status, headers });
    } catch (error) {
      log.error("archive.unreadable", { run_id: runId, artifact: key, error: errorText(error) });
      return null;
    }
  },
});

/** The result for one artifact. `retry`: another try may succeed. */
type ArchiveResult = "copied" | "skipped" | "retry";

async function archiveRun(deps: ArchiveDeps, archiving: Archiving, signal: AbortSignal): Promise<void> {
  const { store, log, now } = deps;
  const { runId, failures } = archiving;
  const stored = await store.run(runId);
  if (stored === null) return store.setArchiving(archiving, null);
  const { run } = stored.state;
  const { artifacts, status } = await deps.enrich(run, signal);
  const owner = { run, artifacts };
  const have = new Set((await store.copies(runId)).map(({ key }) => key));
  const counts: Record<ArchiveResult, number> = { copied: 0, skipped: 0, retry: 0 };
  for (const key of wanted(deps.what, owner)) {
    if (have.has(key) || signal.aborted) continue;
    counts[await copyOne(deps, owner, key, signal)]++;
  }
  // What a stop cut short begins again at the next start.
  if (signal.aborted) return;
  const incomplete = counts.retry > 0 || status !== "complete";
  const waitMs = incomplete ? AGAIN_MS[failures] : undefined;
  await store.setArchiving(archiving, waitMs === undefined ? null : { at: now() + waitMs, failures: failures + 1 });
  log.info("run.archived", { run_id: runId, ...counts, again: waitMs !== undefined });
}

/** The wanted artifacts, each once: those Skyvern lists, and those only the payload named. */
function wanted(what: ArchiveDeps["what"], owner: Owner): ArtifactKey[] {
  const { run, artifacts } = owner;
  const recording = recordingOf(run, artifacts);
  const all = [
    ...run.screenshots,
    ...run.files.map(({ key }) => key),
    ...(recording === null ? [] : [recording]),
    ...artifacts.filter(({ empty }) => empty !== true).map(({ artifact_id }) => artifact_id),
  ];
  const keys = what === "all" ? all : all.filter((key) => isPicture(owner, key));
  return [...new Set(keys)].slice(0, MAX_OF_RUN);
}

async function copyOne(deps: ArchiveDeps, owner: Owner, key: ArtifactKey, signal: AbortSignal): Promise<ArchiveResult> {
  const { store, media, log, maxFile } = deps;
  const runId = owner.run.run_id;
  const fields = { run_id: runId, artifact: key };
  const skip = (reason: string): ArchiveResult => {
    log.warn("artifact.not_archived", { ...fields, reason });
    return "skipped";
  };
  const retryLater = (reason: string): ArchiveResult => {
    log.warn("artifact.archiving_failed", { ...fields, reason });
    return "retry";
  };
  const remaining = deps.maxTotal - (await store.copiedBytes());
  if (remaining <= 0) return skip("the archive is full (artifacts.max_total)");
  try {
    const opened = await media.fetch(owner, key, { signal });
    if (opened.kind !== "content")
      return opened.kind === "gone" && opened.temporary ? retryLater(opened.reason) : skip("gone");
    const { content } = opened;
    const most = Math.min(maxFile, remaining);
    if (content.status !== 200 || !content.body || Number(content.headers.get("content-length") ?? 0) > most) {
      await content.body?.cancel();
      return skip(most < maxFile ? "no space left for it (artifacts.max_total)" : "too large (artifacts.max_file)");
    }
    const { type, body } = await sniff("", content.body);
    const sha256 = owner.run.files.find((file) => file.key === key)?.checksum ?? null;
    const spooled = await spool(deps.dir, body, {
      maxBytes: most,
      sha256: isSha256(sha256) ? sha256 : null,
      now: deps.now,
      signal,
    });
    if (!spooled.ok) return refusal(spooled.refused, { skip, retryLater });
    const { file } = spooled;
    await deps.blobs.keep(file, signal);
    const copy: Copy = { runId, key, sha256: file.sha256, type, bytes: file.bytes, copiedAt: deps.now() };
    await store.saveCopy(copy);
    return "copied";
  } catch (error) {
    return retryLater(errorText(error));
  }
}

function refusal(
  refused: Refused,
  { skip, retryLater }: Record<"skip" | "retryLater", (reason: string) => ArchiveResult>,
): ArchiveResult {
  if (refused.kind === "too_large") return skip("too large (artifacts.max_file, artifacts.max_total)");
  // The file may have been read while it changed.
  if (refused.kind === "checksum")
    return retryLater(`its bytes have the sha256 ${refused.came}, not Skyvern's checksum`);
  return retryLater(`the transfer broke off: ${refused.reason}`);
}

const isSha256 = (text: string | null): boolean => text !== null && /^[0-9a-f]{64}$/.test(text);
