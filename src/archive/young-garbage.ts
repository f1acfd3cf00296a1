import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** So much passes between two collections: little enough to be no memory, much enough to be no work (0.5 ms each). */
const EVERY_BYTES = 2_000_000;

type Collect = (options: { type: "minor" }) => void;
let collect: Collect | null | undefined;

/**
 * For a stream of many megabytes: call it with the size of each piece, and those that have passed are given back at once.
 *
 * A piece of 64 kB is a few words on V8's heap and the rest beside it. V8 looks at what lies beside it only from 64 MB on
 * (there is no setting for that), so a fast stream piles up as much garbage, however little of it is in use. Measured with
 * a stream of 500 MB: the peak rises by 60 to 75 MB, with this by 30, and by 10 where MALLOC_ARENA_MAX=2 keeps the C
 * library from spreading the pieces over an arena a thread, as the image does. Reading into one buffer again and again
 * would need no collector, but neither undici nor `node:http` can; and giving each piece's memory back by hand
 * (`ArrayBuffer.transfer`) would take it from others that look into the same buffer, which those libraries do.
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
