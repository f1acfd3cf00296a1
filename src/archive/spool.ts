/** Writes a stream to a temporary file for the archive, measuring and hashing it on the way. */
import type { UploadFile } from "../net/s3.ts";
import { makeFolder } from "../platform/disk/make-folder.ts";
import { createHash, randomUUID } from "node:crypto";
import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

export interface SpoolLimits {
  maxBytes: number;
  /** The clock, ms, for checking the transfer rate. */
  now(): number;
  /** Hex digits; null when unknown. */
  sha256: string | null;
  signal: AbortSignal;
}

/** Why a stream was refused. Another try would change nothing, except for a file that was cut short. */
export type Refused = { kind: "too_large" } | { kind: "checksum"; came: string } | { kind: "broken"; reason: string };

/** Names of files in progress. */
const PREFIX = "incoming-";
/**
 * How much is synced to the disk at one time. Hundreds of megabytes synced at the end would hold up webhooks on the
 * same disk.
 */
const SYNC_BYTES = 8_000_000;

/**
 * After this time the average rate must reach this speed, or a sender of a byte now and then would block the archive.
 */
const PATIENCE_MS = 60_000;
const LEAST_BYTES_PER_SECOND = 20_000;

/**
 * Memory does not grow with the stream, which goes as fast as the disk. The file is durable when this resolves. A
 * refused stream leaves no file.
 */
export async function spool(
  dir: string,
  body: ReadableStream<Uint8Array>,
  limits: SpoolLimits,
): Promise<{ ok: true; file: UploadFile } | { ok: false; refused: Refused }> {
  makeFolder(dir);
  const path = join(dir, `${PREFIX}${randomUUID()}`);
  try {
    const { came, bytes } = await write(path, body, limits);
    if (limits.sha256 === null || came === limits.sha256) return { ok: true, file: { path, sha256: came, bytes } };
    await rm(path, { force: true });
    return { ok: false, refused: { kind: "checksum", came } };
  } catch (error) {
    await rm(path, { force: true });
    if (error instanceof TooLarge) return { ok: false, refused: { kind: "too_large" } };
    return { ok: false, refused: { kind: "broken", reason: error instanceof Error ? error.message : "broken off" } };
  }
}

class TooLarge extends Error {}

async function write(path: string, body: ReadableStream<Uint8Array>, { maxBytes, now, signal }: SpoolLimits) {
  const from = now();
  const hash = createHash("sha256");
  let bytes = 0;
  let unsynced = 0;
  await using file = await open(path, "wx", 0o600);
  // Leaving the loop cancels the stream.
  for await (const chunk of body) {
    signal.throwIfAborted();
    bytes += chunk.byteLength;
    unsynced += chunk.byteLength;
    if (bytes > maxBytes) throw new TooLarge();
    const ms = now() - from;
    if (ms > PATIENCE_MS && bytes / ms < LEAST_BYTES_PER_SECOND / 1_000) throw new Error("it came too slowly");
    hash.update(chunk);
    await file.writeFile(chunk);
    if (unsynced < SYNC_BYTES) continue;
    await file.datasync();
    unsynced = 0;
  }
  await file.sync();
  return { came: hash.digest("hex"), bytes };
}

/** Removes what a dead process left. Returns how many files. */
export async function sweep(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => []);
  const left = names.filter((name) => name.startsWith(PREFIX));
  await Promise.all(left.map((name) => rm(join(dir, name), { force: true })));
  return left.length;
}
