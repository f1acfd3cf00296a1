/** Works on many items without holding up the event loop. */
import { setImmediate } from "node:timers/promises";

/** The longest time before it yields, plus one item. */
const SLICE_MS = 2;

/** The result of `map` for each item, in order. It yields to the event loop every few milliseconds. */
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
