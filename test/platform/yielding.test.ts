import { expect, it } from "vitest";
import { mapInTurns } from "../../src/platform/yielding.ts";

const busyFor = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end;);
};

it("a mapping in turns makes all items in order", async () => {
  expect(await mapInTurns([], () => 1)).toEqual([]);
  expect(await mapInTurns(["a", "b", "c"], (item, i) => `${i}${item}`)).toEqual(["0a", "1b", "2c"]);
});

it("a mapping in turns yields to other work every few milliseconds", async () => {
  let turns = 0;
  let over = false;
  const other = (): void => {
    turns += 1;
    if (!over) setImmediate(other);
  };
  setImmediate(other);
  await mapInTurns(Array.from({ length: 40 }), () => busyFor(1));
  over = true;
  expect(turns).toBeGreaterThanOrEqual(10);
});

it("a mapping in turns goes no further when one item cannot be made", async () => {
  const made: number[] = [];
  const failing = mapInTurns([1, 2, 3], (item) => {
    if (item === 2) throw new Error("the second");
    made.push(item);
  });
  await expect(failing).rejects.toThrow("the second");
  expect(made).toEqual([1]);
});
