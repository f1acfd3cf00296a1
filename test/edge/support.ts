import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleEdge } from "../../scripts/edge/bundle.ts";

export const inside = (name: string): string => fileURLToPath(new URL(`inside/${name}`, import.meta.url));

/**
 * Memory, where there is such a place: what a suite that waits for hundreds of commits would wait for otherwise is the
 * disk.
 */
const PLACE = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** A new folder, removed when the hook runs. */
export function aFolderUntil(hook: (remove: () => void) => void): string {
  const folder = mkdtempSync(join(PLACE, "skyvern-relay-edge-"));
  hook(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A Worker that holds suites: with what stands for vitest and for the stores there. */
export const bundleInside = (entry: string): Promise<string> =>
  bundleEdge({
    entry,
    minify: false,
    alias: { vitest: inside("vitest.ts") },
    replace: [[/\/stores\.ts$/, inside("stores.ts")]],
  });
