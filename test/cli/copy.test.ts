import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, it, onTestFinished } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { COPIED_TABLES } from "../../src/store/sqlite-to-postgres.ts";
import { openSqlite } from "../../src/store/database.ts";
import { migrate, SCHEMA_VERSION } from "../../src/store/schema/migrate.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";
import { aFolder } from "../support/app.ts";
import { dropDatabase, newDatabase } from "../support/postgres.ts";

async function aTarget(): Promise<string> {
  const url = await newDatabase({ empty: true });
  onTestFinished(() => dropDatabase(url));
  return url;
}

async function cli(args: string[], env: Record<string, string> = {}) {
  let [out, err] = ["", ""];
  const code = await runCli(args, {
    env,
    stdout: (text) => void (out += text),
    stderr: (text) => void (err += text),
    stopped: new AbortController().signal,
    terminal: true,
  });
  return { code, out, err };
}

/** A database with some of everything in it. */
async function aSource(): Promise<string> {
  const path = join(aFolder(), "relay.db");
  const database = openSqlite(path, { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  const runs = Array.from({ length: 700 }, (_none, i) =>
    aRun({
      run_id: `tsk_${i}`,
      received_at: 1_000 + i * 3_600_000,
      status: i % 3 === 0 ? "failed" : "completed",
      title: i === 5 ? "a\0b" : `Rechnung ${i}`,
      output: { number: `INV-${i}`, text: "Größe" },
    }),
  );
  await store.accept(
    runs.map((run, i) =>
      anArrival(run, {
        body: `body ${i} ${"x".repeat(i)}`,
        decision: { deliveries: i % 5 === 0 ? [aDelivery(`dlv_${String(i).padStart(4, "0")}`)] : [] },
      }),
    ),
  );
  const claimed = await store.claimDue(
    { sink: "ops", holdMs: null },
    { now: 9e12, leaseMs: 60_000, limit: 20, except: [] },
  );
  for (const { delivery } of claimed)
    await store.record({
      deliveryId: delivery.id,
      sink: "ops",
      n: 1,
      revision: 1,
      startedAt: 9e12,
      finishedAt: 9e12 + 50,
      outcome: { kind: "delivered", receipt: { ts: "1.1" } },
      nextAttemptAt: null,
      circuit: CLOSED,
    });
  await store.saveArtifacts(
    "tsk_1",
    { artifacts: [{ artifact_id: "a_1", type: "recording", created_at: 5 }], status: "complete" },
    null,
  );
  await store.recordListedRuns([{ runId: "tsk_1", createdAt: 1_000, seenAt: 2_000, targetsThisRelay: true }]);
  await store.saveCopy({ runId: "tsk_1", key: "a_1", sha256: "aa", type: null, bytes: 10, copiedAt: 5 });
  await store.setting("link_key", "the key");
  await store.close();
  return path;
}

/** All that a reader can see. */
const view = async (store: Store) => ({
  runs: await store.runs({}, { limit: 200 }),
  found: await store.runs({ search: [{ words: ["grosse"], prefix: false }], status: ["failed"] }, { limit: 50 }),
  exact: await store.runs({ search: [{ words: ["inv", "69"], prefix: false }] }, { limit: 50 }),
  since: await store.runs({ search: [{ words: ["rechnung"], prefix: false }], since: 600 * 3_600_000 }, { limit: 50 }),
  receipts: await store.receipts("tsk_600"),
  body: Buffer.from((await store.body("rcp_hash of tsk_600 at 2160001000")) ?? []).toString(),
  deliveries: await store.deliveries({}, { limit: 500 }),
  attempts: await store.attempts(["dlv_0000", "dlv_0005"]),
  counts: await store.counts(),
  statistics: await store.statistics("day", 0, 9e12),
  coverage: await store.dailyCoverage(0, 9e12),
  circuits: await store.circuits(),
  copies: await store.copies("tsk_1"),
  key: await store.setting("link_key", "another"),
});

describe("copy", () => {
  it("copy knows every table of schema.sql", () => {
    const tables = [...readFileSync("schema.sql", "utf8").matchAll(/^CREATE TABLE (\w+)/gm)].map(([, name]) => name);
    expect([...COPIED_TABLES].toSorted()).toEqual(tables.toSorted());
  });

  it("copy moves every row, says how far it is, and everything reads as before", async () => {
    const [path, url] = [await aSource(), await aTarget()];
    const { code, out, err } = await cli(["copy", "--from", `sqlite:${path}`], { DATABASE_URL: url });
    expect([code, err.includes("[##"), out]).toEqual([0, true, expect.stringMatching(/runs +700 {2}[0-9a-f]{16}/)]);
    expect(out).not.toContain("unused");

    const before = createSqlStore(openSqlite(path, { exclusive: false }));
    const after = createSqlStore(await openPostgres(url));
    const [there, here] = [await view(after), await view(before)];
    expect(there).toEqual(here);
    expect(there.found.runs.length).toBeGreaterThan(10);
    // It goes on where it was.
    const taken = await after.accept([anArrival(aRun({ run_id: "new", received_at: 9e12, title: "Rechnung neu" }))]);
    expect(taken).toMatchObject([{ verdict: "accepted" }]);
    const found = await after.runs({ search: [{ words: ["rechnung"], prefix: false }] }, { limit: 1 });
    expect(found.runs.map(({ state }) => state.run.run_id)).toEqual(["new"]);
    await Promise.all([before.close(), after.close()]);
  });

  it("copy is refused by a target that is not empty, and while a relay runs on the source", async () => {
    const [path, url] = [await aSource(), await aTarget()];
    const args = ["copy", "--from", `sqlite:${path}`, "--to", url];
    const relay = openSqlite(path, { exclusive: true });
    expect(await cli(args)).toMatchObject({ code: 1, err: expect.stringContaining("another skyvern-relay") });
    await relay.close();
    expect(await cli(args)).toMatchObject({ code: 0 });
    expect(await cli(args)).toMatchObject({ code: 1, err: expect.stringContaining("not empty") });
  });

  it("copy leaves nothing behind when the rows at the target are not those of the source", async () => {
    const [path, url] = [await aSource(), await aTarget()];
    expect(await cli(["migrate"], { DATABASE_URL: url, SKYVERN_API_KEY: "k" })).toMatchObject({ code: 0 });
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`create function spoil() returns trigger language plpgsql as $$ begin
      if new.run_id = 'tsk_300' then new.note = 'spoilt'; end if; return new; end $$`);
    await client.query("create trigger spoil before insert on receipts for each row execute function spoil()");
    const { code, err } = await cli(["copy", "--from", `sqlite:${path}`, "--to", url]);
    expect([code, err]).toEqual([1, expect.stringContaining("receipts differs: 700 rows")]);
    expect((await client.query("select 1 from runs")).rowCount).toBe(0);
    await client.end();
  });

  it("copy says what is wrong with how it was called, and makes no database", async () => {
    const path = join(aFolder(), "none.db");
    const to = ["--to", "postgres://u:pass-word@h/d"];
    expect(await cli(["copy", "--from", `sqlite:${path}`, ...to])).toMatchObject({ code: 1 });
    expect(existsSync(path)).toBe(false);
    expect(await cli(["copy", "--from", "postgres://u:p@h/d", ...to])).toMatchObject({ code: 2 });
    expect(await cli(["copy", "--from", `sqlite:${path}`])).toMatchObject({ code: 2 });
    const unreachable = await cli([
      "copy",
      "--from",
      `sqlite:${await aSource()}`,
      "--to",
      "postgres://u:pass-word@127.0.0.1:1/d",
    ]);
    expect(unreachable.code).toBe(1);
    expect(unreachable.err).not.toContain("pass-word");
  });
});

describe("migrate", () => {
  it("migrate shows how far it has come where there is a terminal", async () => {
    const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`, SKYVERN_API_KEY: "key" };
    expect((await cli(["migrate"], env)).err).toBe(`\r[${"-".repeat(30)}] from version 0\u001B[K\r\u001B[K`);
  });

  it("migrate says with --json from which version it came", async () => {
    const path = join(aFolder(), "relay.db");
    const env = { DATABASE_URL: `sqlite:${path}`, SKYVERN_API_KEY: "key" };
    const { out } = await cli(["migrate", "--json"], env);
    expect(JSON.parse(out)).toEqual({ database: path, before: 0, version: SCHEMA_VERSION });
  });

  it("migrate creates a database of either kind or leaves it as it is, and says so", async () => {
    for (const url of [await aTarget(), `sqlite:${join(aFolder(), "relay.db")}`]) {
      const env = { DATABASE_URL: url, SKYVERN_API_KEY: "key" };
      expect(await cli(["migrate"], env)).toMatchObject({
        code: 0,
        out: expect.stringMatching(/was created with schema/),
      });
      expect(await cli(["migrate"], env)).toMatchObject({
        code: 0,
        out: expect.stringMatching(/has schema version \d/),
      });
    }
  });
});
