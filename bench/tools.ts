/**
 * The C programs of the benches, compiled on first use, and the folder outside the repository that keeps what is
 * installed.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findOthersWritable } from "../src/app/trusted-file.ts";

/** Set `BENCH_CACHE` for another place. */
export const CACHE =
  process.env.BENCH_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "skyvern-relay", "bench");

export interface Tools {
  load: string;
  receiver: string;
  /** To be preloaded: makes fsync slower. */
  slowFsync: string;
}

const SOURCES = join(import.meta.dirname, "wire");

/** Needs a C compiler as `cc`; throws what it said. */
export function tools(): Tools {
  const hash = createHash("sha256");
  for (const name of readdirSync(SOURCES).toSorted()) hash.update(readFileSync(join(SOURCES, name)));
  const open = findOthersWritable(CACHE);
  if (open !== null)
    throw new Error(`other users can write to ${open}, so nothing in ${CACHE} is run: set BENCH_CACHE`);
  const folder = join(CACHE, `wire-${hash.digest("hex").slice(0, 12)}`);
  const built = {
    load: join(folder, "load"),
    receiver: join(folder, "receiver"),
    slowFsync: join(folder, "slow-fsync.so"),
  };
  if (existsSync(folder)) return built;
  // Whole or not at all: two benches may begin at the same time.
  const making = `${folder}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  const cc = (...args: string[]) => execFileSync("cc", ["-O2", "-std=gnu11", "-Wall", "-Wextra", ...args]);
  cc("-o", join(making, "load"), join(SOURCES, "load.c"));
  cc("-o", join(making, "receiver"), join(SOURCES, "receiver.c"));
  cc("-shared", "-fPIC", "-o", join(making, "slow-fsync.so"), join(SOURCES, "slow-fsync.c"), "-ldl");
  if (!existsSync(folder)) renameSync(making, folder);
  return built;
}
