import { expect, it } from "vitest";
import { grouped } from "../../src/store/grouped.ts";
import { StorageFault } from "../../src/store/contract/faults.ts";

/** A disk that takes one batch after another, each when told to. */
function slowDisk(refuse: (batch: readonly string[]) => unknown = () => null) {
  const batches: string[][] = [];
  const gates: (() => void)[] = [];
  return {
    batches,
    next: async () => {
      while (gates.length === 0) await new Promise(setImmediate);
      gates.shift()?.();
    },
    write: async (batch: readonly string[]): Promise<string[]> => {
      batches.push([...batch]);
      await new Promise<void>((resolve) => gates.push(resolve));
      const error = refuse(batch);
      if (error !== null) throw error;
      return batch.map((item) => item.toUpperCase());
    },
  };
}
const turn = () => new Promise(setImmediate);

it("grouped writes put what arrived in one turn into one batch, and gather the next batch meanwhile", async () => {
  const disk = slowDisk();
  const write = grouped(disk.write);
  const first = ["a", "b", "c"].map(write);
  await turn();
  const second = ["d", "e"].map(write);
  await disk.next();
  await disk.next();
  expect(await Promise.all([...first, ...second])).toEqual(["A", "B", "C", "D", "E"]);
  expect(disk.batches).toEqual([
    ["a", "b", "c"],
    ["d", "e"],
  ]);
});

it("a batch has no more than may be copied at a time, but one item always fits", async () => {
  const disk = slowDisk();
  const write = grouped(disk.write, { bytesOf: (item) => (item === "huge" ? 9 * 1024 * 1024 : 600 * 1024) });
  const written = ["a", "huge", "b", "c"].map(write);
  for (let i = 0; i < 4; i += 1) await disk.next();
  await Promise.all(written);
  expect(disk.batches).toEqual([["a"], ["huge"], ["b"], ["c"]]);
});

it("grouped writes answer no caller before the batch is written", async () => {
  const disk = slowDisk();
  let answered = false;
  const written = grouped(disk.write)("a").then(() => (answered = true));
  await turn();
  await turn();
  expect(disk.batches).toEqual([["a"]]);
  expect(answered).toBe(false);
  await disk.next();
  expect(await written).toBe(true);
});

it("grouped writes rest after a batch where told to, and write in one batch what came meanwhile, in however many turns", async () => {
  const disk = slowDisk();
  const write = grouped(disk.write, { restMs: 100 });
  const first = write("a");
  await disk.next();
  await first;
  const later: Promise<string>[] = [];
  for (const item of ["b", "c", "d"]) {
    later.push(write(item));
    await turn();
  }
  await disk.next();
  expect(await Promise.all(later)).toEqual(["B", "C", "D"]);
  expect(disk.batches).toEqual([["a"], ["b", "c", "d"]]);
});

it("an item of a batch that cannot be written fails alone", async () => {
  const disk = slowDisk((batch) => (batch.includes("bad") ? new Error("a bug") : null));
  const results = Promise.allSettled(["a", "bad", "c"].map(grouped(disk.write)));
  for (let i = 0; i < 4; i += 1) await disk.next();
  expect((await results).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

it("grouped writes refuse a whole batch at once when the storage is gone, and write again when it is back", async () => {
  let gone = true;
  const disk = slowDisk(() => (gone ? new StorageFault("SQLITE_FULL") : null));
  const write = grouped(disk.write);
  const results = Promise.allSettled(["a", "b"].map(write));
  await disk.next();
  expect((await results).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(disk.batches).toHaveLength(1);
  gone = false;
  const again = write("a");
  await disk.next();
  expect(await again).toBe("A");
});
