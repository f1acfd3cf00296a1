import { fdatasync, mkdtempSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { StorageFault } from "../../src/store/contract/faults.ts";
import { openSqlite, type Database } from "../../src/store/database.ts";

vi.mock(import("node:fs"), async (original) => {
  const fs = await original();
  return { ...fs, fdatasync: vi.fn<typeof fs.fdatasync>(fs.fdatasync) as unknown as typeof fs.fdatasync };
});

const sync = vi.mocked(fdatasync);
let folder: string;
let database: Database;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "relay-"));
  database = openSqlite(join(folder, "relay.db"), { exclusive: true });
  await database.transaction((tx) => database.script(tx, "create table notes (note text)"));
  sync.mockClear();
});
afterEach(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const note = (text: string) =>
  database.transaction((_tx, rows) => rows.query("insert into notes (note) values (?)", [text]));
const notes = () => database.read((rows) => rows.query<{ note: string }>("select note from notes", []));

it("a transaction resolves once the disk has its log, and the thread works meanwhile", async () => {
  let synced = () => {};
  let path = "";
  sync.mockImplementationOnce((file, done) => {
    path = readlinkSync(`/proc/self/fd/${file}`);
    synced = () => done(null);
  });
  let isDone = false;
  const noted = note("a").then(() => (isDone = true));
  await vi.waitFor(() => expect(path).toBe(join(folder, "relay.db-wal")));
  expect(await notes()).toEqual([{ note: "a" }]);
  await new Promise(setImmediate);
  expect(isDone).toBe(false);
  synced();
  await noted;
});

it("a log that cannot be synced is a fault of the storage, and the next transaction copies all out of it", async () => {
  sync.mockImplementationOnce((_file, done) => done(Object.assign(new Error("EIO: i/o error"), { code: "EIO" })));
  await expect(note("a")).rejects.toThrow(StorageFault);
  await note("b");
  expect(sync).toHaveBeenCalledTimes(2);
  expect(statSync(join(folder, "relay.db-wal")).size).toBe(0);
  expect(await notes()).toEqual([{ note: "a" }, { note: "b" }]);
});
