import { expect, it } from "vitest";
import { createGroupCommit, Overloaded } from "../../src/receive/group-commit.ts";
import { StorageFault, type Accepted, type Arrival } from "../../src/store/store.ts";

const arrival = (id: string, bytes = 10): Arrival => ({
  receipt: {
    id,
    bodyHash: id,
    bodyBytes: bytes,
    body: Buffer.alloc(bytes),
    source: "webhook",
    channel: null,
    keyName: null,
    sentAt: null,
    reportedStatus: null,
    receivedAt: 0,
    note: null,
  },
  run: null,
});

const kept: Accepted = { verdict: "kept", runId: null, note: null, deliveries: 0 };

/** A disk that takes one batch after another, each when told to. */
function slowStore(refuse: (ids: string[]) => unknown = () => null) {
  const batches: string[][] = [];
  const gates: (() => void)[] = [];
  return {
    batches,
    next: async () => {
      while (gates.length === 0) await new Promise(setImmediate);
      gates.shift()?.();
    },
    accept: async (items: readonly Arrival[]): Promise<Accepted[]> => {
      const ids = items.map(({ receipt }) => receipt.id);
      batches.push(ids);
      await new Promise<void>((resolve) => gates.push(resolve));
      const error = refuse(ids);
      if (error !== null) throw error;
      return items.map(({ receipt }) => ({ ...kept, note: receipt.id }));
    },
  };
}

it("writes what arrived in one turn in one batch, and gathers the next batch meanwhile", async () => {
  const store = slowStore();
  const commit = createGroupCommit(store);
  const first = ["a", "b", "c"].map((id) => commit.accept(arrival(id)));
  await new Promise(setImmediate);
  const second = ["d", "e"].map((id) => commit.accept(arrival(id)));
  await store.next();
  await store.next();
  expect((await Promise.all([...first, ...second])).map(({ note }) => note)).toEqual(["a", "b", "c", "d", "e"]);
  expect(store.batches).toEqual([
    ["a", "b", "c"],
    ["d", "e"],
  ]);
});

it("answers nobody before the batch is written", async () => {
  const store = slowStore();
  const commit = createGroupCommit(store);
  let answered = false;
  const accepted = commit.accept(arrival("a")).then(() => (answered = true));
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect(store.batches).toEqual([["a"]]);
  expect(answered).toBe(false);
  await store.next();
  expect(await accepted).toBe(true);
});

it("lets one arrival that cannot be written fail alone", async () => {
  const store = slowStore((ids) => (ids.includes("bad") ? new Error("a bug") : null));
  const commit = createGroupCommit(store);
  const results = Promise.allSettled(["a", "bad", "c"].map((id) => commit.accept(arrival(id))));
  for (let i = 0; i < 4; i += 1) await store.next();
  expect((await results).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

it("refuses a whole batch at once when the storage is gone, and writes again when it is back", async () => {
  let gone = true;
  const store = slowStore(() => (gone ? new StorageFault("SQLITE_FULL") : null));
  const commit = createGroupCommit(store);
  const results = Promise.allSettled(["a", "b"].map((id) => commit.accept(arrival(id))));
  await store.next();
  expect((await results).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(store.batches).toHaveLength(1);
  gone = false;
  const again = commit.accept(arrival("a"));
  await store.next();
  expect(await again).toMatchObject({ note: "a" });
});

it("refuses more bodies than may wait in memory, and takes them once there is room", async () => {
  const store = slowStore();
  const commit = createGroupCommit(store);
  const big = 40 * 1024 * 1024;
  const first = commit.accept(arrival("a", big));
  await expect(commit.accept(arrival("b", big))).rejects.toThrow(Overloaded);
  await store.next();
  await first;
  const second = commit.accept(arrival("b", big));
  await store.next();
  expect(await second).toMatchObject({ note: "b" });
});
