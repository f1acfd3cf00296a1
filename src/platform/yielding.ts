/** Work on many things at one time, which must not hold up everybody else. */
import { setImmediate } from "node:timers/promises";

/** Others wait for no longer than this, and one item. */
const SLICE_MS = 2;

/** What `map` makes of each, in order. Every few milliseconds whoever else waits for this thread gets a turn. */
export async function mapInTurns<T, R>(items: readonly T[], map: (item: T, i: number) => R): Promise<R[]> {
  const made: R[] = [];
  let since = performance.now();
  for (const [i, item] of items.entries()) {
    made.push(map(item, i));
    if (performance.now() - since < SLICE_MS) continue;
    await setImmediate();
    since = performance.now();
  }
  return made;
}
