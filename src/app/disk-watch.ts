/** Watches the disk of the database and warns before it is full, since webhooks are then answered 503. */
import { formatBytes } from "../platform/amounts.ts";
import type { Log } from "../platform/log.ts";
import { HOUR_MS } from "../platform/time.ts";

export interface DiskSpace {
  /** Bytes that this process may still write. */
  free: number;
  /** Bytes in all. */
  total: number;
}

const MB = 1_000_000;
const NEARLY_FULL = 100 * MB;
const LOW_SHARE = 0.1;
const PLENTY = 10_000 * MB;

/** `full`: less than 100 MB are free. `low`: less than a tenth, unless that is 10 GB. */
export function diskState({ free, total }: DiskSpace): "full" | "low" | "ok" {
  if (free < NEARLY_FULL) return "full";
  return free < PLENTY && free < total * LOW_SHARE ? "low" : "ok";
}

export interface DiskWatchDeps {
  /** Rejects when the system does not say. */
  space(): Promise<DiskSpace>;
  /** Called with the free bytes at each look. */
  seen(free: number): void;
  now(): number;
  log: Log;
}

export interface DiskWatch {
  /** One look. */
  look(): Promise<void>;
  /** The state at the last look. */
  isLow(): boolean;
}

const HINT = "free space, enlarge the volume, or shorten retention in relay.yaml";

/** A disk that stays low is logged once an hour. */
export function createDiskWatch({ space, seen, now, log }: DiskWatchDeps): DiskWatch {
  let state: ReturnType<typeof diskState> = "ok";
  let saidAt = -Infinity;
  return {
    isLow: () => state !== "ok",
    look: async () => {
      const { free, total } = await space();
      seen(free);
      const before = state;
      state = diskState({ free, total });
      const fields = { free: formatBytes(free), total: formatBytes(total) };
      if (state === "ok" && before !== "ok") log.info("disk.has_room", fields);
      if (state === "ok" || (state === before && now() - saidAt < HOUR_MS)) return;
      saidAt = now();
      const said = { ...fields, hint: HINT };
      if (state === "full") log.error("disk.nearly_full", said);
      else log.warn("disk.low", said);
    },
  };
}
