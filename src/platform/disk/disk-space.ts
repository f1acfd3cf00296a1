/** The free space of a disk, and when it counts as almost full. Pure. */

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

/** `640 MB`, `1.2 GB` */
export const formatBytes = (bytes: number): string =>
  bytes < 1_000 * MB ? `${Math.round(bytes / MB)} MB` : `${(bytes / MB / 1_000).toFixed(1)} GB`;
