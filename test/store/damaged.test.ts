/** A database's file that is not whole: restored beside another one's log, overwritten in the middle, cut. */
import { closeSync, copyFileSync, openSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { anApp, aFolder } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, mutated } from "../support/fixtures.ts";
import { kill9, runProgram, serve } from "../support/process.ts";
import { until } from "../support/until.ts";
import { findDamageQuickly, watchIntegrity } from "../../src/store/sqlite/integrity.ts";

const env = (path: string) => ({ DATABASE_URL: `sqlite:${path}`, SKYVERN_API_KEY: FIXTURE_KEY });
const aTask = (n: number): string => mutated("task_v1.completed", { run_id: `tsk_${n}`, task_id: `tsk_${n}` });

/** A relay's file with so many runs, closed. */
async function aDatabase(runs: number): Promise<string> {
  const path = join(aFolder(), "relay.db");
  const relay = await anApp({ DATABASE_URL: `sqlite:${path}` });
  for (let n = 0; n < runs; n += 1) await relay.webhook(aTask(n));
  await relay.stop();
  return path;
}

/** Overwrites some pages in the middle, as a failing disk does. */
function damage(path: string): void {
  const file = openSync(path, "r+");
  const size = statSync(path).size;
  for (let at = 8 * 4096; at < size; at += 3 * 4096) writeSync(file, Buffer.alloc(2_000, 0xa5), 0, 2_000, at + 100);
  closeSync(file);
}

describe("a file that is damaged at the start", () => {
  it("a file damaged by the log of another database is not opened, and the relay says which file and what to do", async () => {
    const folder = aFolder();
    const path = join(folder, "relay.db");
    const first = await serve(env(path));
    for (let n = 0; n < 40; n += 1) await first.webhook(aTask(n));
    const backup = join(folder, "backups");
    expect((await runCommand(["backup", "--to", backup], env(path))).code).toBe(0);
    for (let n = 40; n < 200; n += 1) await first.webhook(aTask(n));
    await kill9(first);
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);

    const other = await aDatabase(30);
    copyFileSync(other, path);
    const ended = await runProgram(["serve"], { ...env(path), HOST: "127.0.0.1", PORT: "0" }).ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(path);
    expect(ended.stderr).toMatch(
      /is damaged \((?!\*\*\*).*-wal and .*-shm away together, and put a backup in their place/,
    );
  });

  it.each([
    ["overwritten in the middle", damage],
    ["cut", (path: string) => truncateSync(path, statSync(path).size - 9 * 4096)],
  ])("a file that was %s is not opened", async (_what, harm) => {
    const path = await aDatabase(60);
    harm(path);
    const ended = await runProgram(["serve"], { ...env(path), HOST: "127.0.0.1", PORT: "0" }).ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/is damaged|malformed|not a database/);
    expect(ended.stderr).toContain(path);
  });

  it.each([
    ["small", 0],
    ["too large to be read whole at the start", 17_000_000],
  ])("a file that is whole is found whole when it is %s", async (_size, bytes) => {
    const path = await aDatabase(3);
    const sqlite = new Sqlite(path);
    sqlite.prepare("update receipts set block = zeroblob(?) where id = (select max(id) from receipts)").run(bytes);
    expect(findDamageQuickly(sqlite)).toEqual([]);
    sqlite.close();
    const watch = watchIntegrity({ path, onDamage: () => {}, signal: new AbortController().signal });
    await watch.check();
    expect(watch.damage()).toBeNull();
  });
});

describe("a file that is damaged while the relay runs", () => {
  it("a file damaged in use makes the relay not ready once a statement meets it, and answer and log say what to do", async () => {
    const path = join(aFolder(), "relay.db");
    const relay = await serve(env(path));
    for (let n = 0; n < 120; n += 1) await relay.webhook(aTask(n));
    const ready = async () => (await fetch(`${relay.url}/readyz`)).json() as Promise<{ status: string }>;
    expect(await ready()).toEqual({ status: "ok" });

    const writer = new Sqlite(path);
    writer.pragma("wal_checkpoint(TRUNCATE)");
    writer.close();
    damage(path);
    const status = await until("the damage is found", async () => {
      await relay.webhook(aTask(10_000 + Math.floor(performance.now()))).catch(() => null);
      await fetch(`${relay.url}/v1/runs?q=invoice`, { headers: { authorization: "Bearer a-token-of-the-tests" } });
      const { status } = await ready();
      return status.includes("damaged") ? status : null;
    });
    expect(status).toMatch(/relay\.db is damaged .*stop the relay, move/);
    expect((await fetch(`${relay.url}/readyz`)).status).toBe(503);
    expect(relay.stdout()).toContain('"database.damaged"');
  });

  it("a damaged file is found by one process that reads all of it, however often the check is asked for", async () => {
    const path = await aDatabase(60);
    const found: string[] = [];
    const watch = watchIntegrity({
      path,
      onDamage: (what) => void found.push(what),
      signal: new AbortController().signal,
    });
    damage(path);
    await Promise.all([watch.check(), watch.check()]);
    expect(found).toEqual([watch.damage()]);
    expect(watch.damage()).toContain(`${path} is damaged`);
  });
});
