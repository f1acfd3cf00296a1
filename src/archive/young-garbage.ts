import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** So much passes between two collections: little enough to be no memory, much enough to be no work (0.5 ms each). */
const EVERY_BYTES = 2_000_000;

type Collect = (options: { type: "minor" }) => void;
let collect: Collect | null | undefined;

/**
 * For a stream of many megabytes: call it with the size of each piece, and those that have passed are given back at once.
 *
 * A piece of 64 kB is a few words on V8's heap and the rest beside it, so the collector sees little reason to run and
 * lets some hundred megabytes of them pile up before it does (measured: a stream of 500 MB raised the process by 60 to 220
 * MB, with this by 6 MB). There is no setting for that, and no way to read a response into one buffer again and again.
 */
export function createSweeper(): (bytes: number) => void {
  let passed = 0;
  return (bytes) => {
    passed += bytes;
    if (passed < EVERY_BYTES) return;
    passed = 0;
    collect ??= findCollector();
    collect?.({ type: "minor" });
  };
}

/** V8's own `gc`, which is hidden unless asked for; null where there is none. */
function findCollector(): Collect | null {
  try {
    setFlagsFromString("--expose-gc");
    const found: unknown = runInNewContext("typeof gc === 'function' ? gc : null");
    return typeof found === "function" ? (found as Collect) : null;
  } catch {
    return null;
  }
}
