/** A stream on its way into the archive: written to a file beside it, measured and hashed while it passes. */
import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import type { ReadableStream as NodeStream } from "node:stream/web";
import { pipeline } from "node:stream/promises";
import { createSweeper } from "./young-garbage.ts";

export interface Spooled {
  /** Whoever takes the file moves or removes it. */
  path: string;
  /** Hex. */
  sha256: string;
  bytes: number;
}

export interface Limits {
  maxBytes: number;
  /** Hex; null: not known. */
  sha256: string | null;
  signal: AbortSignal;
}

/** Why a stream was not taken; another try would not change it, but for a file that was cut short. */
export type Refused = { kind: "too_large" } | { kind: "checksum"; came: string } | { kind: "broken"; reason: string };

/** Names of files under way; they are nothing to anybody else. */
const PREFIX = "incoming-";

/**
 * Memory does not grow with the stream: it goes as fast as the disk takes it. The file is on the disk when this resolves.
 * What is refused leaves no file behind.
 */
export async function spool(
  dir: string,
  body: ReadableStream<Uint8Array>,
  { maxBytes, sha256, signal }: Limits,
): Promise<{ ok: true; file: Spooled } | { ok: false; refused: Refused }> {
  await mkdir(dir, { recursive: true });
  const path = join(dir, `${PREFIX}${randomUUID()}`);
  const hash = createHash("sha256");
  const sweepUp = createSweeper();
  let bytes = 0;
  const measure = new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) return done(new TooLarge());
      hash.update(chunk);
      sweepUp(chunk.byteLength);
      done(null, chunk);
    },
  });
  try {
    const source = Readable.fromWeb(body as NodeStream<Uint8Array>);
    await pipeline(source, measure, createWriteStream(path, { flags: "wx", mode: 0o600 }), { signal });
    await toDisk(path);
  } catch (error) {
    await rm(path, { force: true });
    if (error instanceof TooLarge) return { ok: false, refused: { kind: "too_large" } };
    return { ok: false, refused: { kind: "broken", reason: error instanceof Error ? error.message : "broken off" } };
  }
  const came = hash.digest("hex");
  if (sha256 === null || came === sha256) return { ok: true, file: { path, sha256: came, bytes } };
  await rm(path, { force: true });
  return { ok: false, refused: { kind: "checksum", came } };
}

class TooLarge extends Error {}

async function toDisk(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Removes what a process that died left half-done. Returns how many files. */
export async function sweep(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => []);
  const left = names.filter((name) => name.startsWith(PREFIX));
  await Promise.all(left.map((name) => rm(join(dir, name), { force: true })));
  return left.length;
}
