/**
 * What only several processes on one PostgreSQL can show. Each store here has connections of its own, as a relay has.
 */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import pg from "pg";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { migrate, SCHEMA_VERSION, readVersion } from "../../src/store/schema/migrate.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { StorageFault } from "../../src/store/contract/faults.ts";
import type { Claimed } from "../../src/store/contract/outbox.ts";
import { toWords } from "../../src/store/search/text-words.ts";
import { dropDatabase, newDatabase, startPostgres } from "../support/postgres.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";

const MINUTE = 60_000;

let url: string;
let stores: Store[];
const openStores = async (options?: Parameters<typeof openPostgres>[1]): Promise<void> => {
  stores = await Promise.all([1, 2, 3, 4].map(async () => createSqlStore(await openPostgres(url, options))));
};
beforeEach(async () => {
  url = await newDatabase();
  await openStores();
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await dropDatabase(url);
});

const store = (i: number): Store => stores[i % stores.length] ?? expect.unreachable();
const numbers = (n: number) => Array.from({ length: n }, (_none, i) => i);

async function admin(address = url): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: address });
  // Its database is dropped under it.
  client.on("error", () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

/** Until so many other sessions wait for a lock. */
async function untilWaiting(client: pg.Client, n = 1): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ n: string }>(
      "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    if (Number(rows[0]?.n) >= n) return;
  }
}

describe("several connections at once", () => {
  // Without limits of time: on a busy machine the last of many waits long for its lock.
  beforeEach(async () => {
    await Promise.all(stores.map((one) => one.close()));
    await openStores({ patient: true });
  });

  it("a delivery that several connections claim at once goes to one of them", async () => {
    const n = 300;
    await store(0).accept(
      numbers(n).map((i) =>
        anArrival(aRun({ run_id: `tsk_${i}` }), { decision: { deliveries: [aDelivery(`dlv_${i}`)] } }),
      ),
    );
    const claimAll = async (one: Store): Promise<string[]> => {
      const ids: string[] = [];
      for (;;) {
        const claimed = await one.claimDue(
          { sink: "ops", holdMs: null },
          { now: 2_000, leaseMs: MINUTE, limit: 7, except: [] },
        );
        if (claimed.length === 0) return ids;
        expect(claimed.length).toBeLessThanOrEqual(7);
        ids.push(...claimed.map(({ delivery }) => delivery.id));
      }
    };
    // Who finds nothing for a moment, as others hold it, has finished.
    const ids = (await Promise.all(stores.map(claimAll))).flat();
    ids.push(...(await claimAll(store(0))));
    expect(ids.toSorted()).toEqual(
      numbers(n)
        .map((i) => `dlv_${i}`)
        .toSorted(),
    );
  });

  it("deliveries of an ordered sink that several connections claim at once go out one at a time, in order", async () => {
    const ids = numbers(40).map((i) => `dlv_${String(i).padStart(3, "0")}`);
    await store(0).accept(
      ids.map((id) => anArrival(aRun({ run_id: `run of ${id}` }), { decision: { deliveries: [aDelivery(id)] } })),
    );
    const told: string[] = [];
    let under = 0;
    const work = async (one: Store): Promise<void> => {
      while (told.length < ids.length) {
        const queue = { sink: "ops", holdMs: MINUTE };
        const claimed = await one.claimDue(queue, { now: 2_000, leaseMs: MINUTE, limit: 5, except: [] });
        for (const { delivery } of claimed) {
          expect((under += 1)).toBe(1);
          told.push(delivery.id);
          under -= 1;
          await one.record(delivered(delivery.id));
        }
      }
    };
    await Promise.all(stores.map(work));
    expect(told).toEqual(ids);
  });

  it("a run whose receipts several connections take at once settles as if one came after the other", async () => {
    for (const round of numbers(15)) {
      const run_id = `tsk_${round}`;
      const answers = await Promise.all(
        numbers(8).map((i) => store(i).accept([anArrival(aRun({ run_id, received_at: 1_000 + i }))])),
      );
      const verdicts = answers.flat().map(({ verdict }) => verdict);
      expect(verdicts.filter((verdict) => verdict === "accepted")).toHaveLength(1);
      expect(verdicts.filter((verdict) => verdict === "updated")).toHaveLength(7);
      expect((await store(0).run(run_id))?.state.revision).toBe(8);
      expect(await store(0).receipts(run_id)).toHaveLength(8);
    }
  });

  it("the same bytes that several connections take at once count as one receipt", async () => {
    for (const round of numbers(15)) {
      const arrival = () => anArrival(aRun({ run_id: `tsk_${round}` }), { hash: `hash ${round}` });
      const answers = await Promise.all(numbers(6).map((i) => store(i).accept([arrival()])));
      const verdicts = answers.flat().map(({ verdict }) => verdict);
      expect(verdicts.toSorted()).toEqual(["accepted", ...Array<string>(5).fill("duplicate")]);
      expect(await store(0).receipts(`tsk_${round}`)).toMatchObject([{ copies: 6 }]);
    }
  });

  it("batches of the same runs in opposite orders are taken by several connections at once", async () => {
    for (const round of numbers(6)) {
      const batch = (i: number) =>
        numbers(20).map((n) => anArrival(aRun({ run_id: `tsk_${round}_${n}`, received_at: 1_000 + i })));
      const answers = await Promise.all(
        numbers(4).map((i) => store(i).accept(i % 2 === 0 ? batch(i) : batch(i).toReversed())),
      );
      expect(answers.flat().filter(({ verdict }) => verdict === "accepted")).toHaveLength(20);
      for (const n of numbers(20)) expect((await store(0).run(`tsk_${round}_${n}`))?.state.revision).toBe(4);
    }
  });

  it("a receipt for a run that is just being removed is either stored whole or gone", async () => {
    const old = numbers(240).map((i) => `tsk_${String(i).padStart(3, "0")}`);
    const told = (run_id: string, received_at: number, deliveries = [aDelivery(`dlv_${run_id}_${received_at}`)]) =>
      anArrival(aRun({ run_id, received_at, prompt: `word${run_id}` }), { decision: { deliveries } });
    await store(0).accept(old.map((run_id) => told(run_id, 1_000, [])));
    const remove = async (): Promise<void> => {
      for (let after: string | null = null, more = true; more; more = after !== null)
        ({ next: after } = await store(0).pruneRuns({ before: 5_000, after, limit: 10, hold: [], dryRun: false }));
    };
    // What comes meanwhile is for old runs, from the end that is removed last and from the other, and for new ones.
    const take = async (i: number): Promise<void> => {
      for (const n of numbers(40)) {
        const again = old[i === 1 ? n * 6 : 239 - n * 6] ?? expect.unreachable();
        await store(i).accept([told(again, 10_000 + i), told(`new_${i}_${n}`, 10_000 + n)]);
      }
    };
    await Promise.all([remove(), take(1), take(2)]);
    await remove();

    const client = await admin();
    const count = async (sql: string) =>
      Number((await client.query<{ n: string }>(`select count(*) as n ${sql}`)).rows[0]?.n);
    expect(await count("from runs where run_id like 'new%'")).toBe(80);
    // A run that came again is there, with what came of it; those that nothing came for are gone.
    const again = new Set(numbers(40).flatMap((n) => [old[n * 6], old[239 - n * 6]]));
    expect(await count("from runs where run_id like 'tsk%'")).toBe(again.size);
    const without = (table: string, run: string) =>
      count(`from ${table} where not exists (select 1 from runs where runs.run_id = ${run})`);
    expect(await without("receipts", "receipts.run_id")).toBe(0);
    expect(await without("deliveries", "deliveries.subject_id")).toBe(0);
    expect(await count("from run_words where rowid not in (select seq from runs)")).toBe(0);
    expect(await count("from runs where state_receipt not in (select id from receipts where block is not null)")).toBe(
      0,
    );
    for (const run_id of ["new_1_7", old[6] ?? ""])
      expect(
        (await store(3).runs({ search: [{ words: toWords(`word${run_id}`), prefix: false }] }, { limit: 2 })).runs,
      ).toHaveLength(1);
    // Each taken once, whoever was removing.
    const { deliveries } = await store(3).counts();
    expect(deliveries.find(({ state }) => state === "pending")?.count).toBe(await count("from deliveries"));
  });

  it("a pending delivery that one connection cancels and another claims at once is canceled or sent, never both", async () => {
    for (const round of numbers(20)) {
      const run_id = `tsk_${round}`;
      const first = `dlv_${round}a`;
      await store(0).accept([anArrival(aRun({ run_id }), { decision: { deliveries: [aDelivery(first)] } })]);
      let seen = "";
      const later = anArrival(aRun({ run_id, received_at: 2_000 }));
      const run = later.run ?? expect.unreachable();
      later.run = {
        id: run_id,
        decide: (known) => {
          const decision = run.decide(known);
          seen = known?.deliveries[0]?.state ?? "";
          return seen === "pending"
            ? { ...decision, cancel: [first], deliveries: [aDelivery(`dlv_${round}b`)] }
            : { ...decision, deliveries: [aDelivery(`dlv_${round}b`, "ops", { cause: "correction" })] };
        },
      };
      const [, claimed] = await Promise.all([
        store(1).accept([later]),
        store(2).claimDue({ sink: "ops", holdMs: null }, { now: 3_000, leaseMs: MINUTE, limit: 5, except: [] }),
      ]);
      const taken = claimed.map(({ delivery }) => delivery.id).includes(first);
      expect([taken, seen]).toEqual(taken ? [true, "sending"] : [false, "pending"]);
      for (const { delivery } of claimed) await store(2).record(delivered(delivery.id));
      const rest = await store(2).claimDue(
        { sink: "ops", holdMs: null },
        { now: 3_000, leaseMs: MINUTE, limit: 5, except: [] },
      );
      for (const { delivery } of rest) await store(2).record(delivered(delivery.id));
    }
  });

  it("accepting, claiming and recording at once leave roll-ups that are true", async () => {
    const perStore = 40;
    const accept = async (i: number): Promise<void> => {
      for (const n of numbers(perStore))
        await store(i).accept([
          anArrival(aRun({ run_id: `tsk_${i}_${n}`, status: n % 2 === 0 ? "completed" : "failed" }), {
            decision: { deliveries: [aDelivery(`dlv_${i}_${n}`), aDelivery(`dlv_${i}_${n}m`, "mail")] },
          }),
        ]);
    };
    const still = { accepting: true };
    const deliver = async (i: number): Promise<void> => {
      for (let idle = 0; still.accepting || idle < 3; idle += 1)
        for (const sink of ["ops", "mail"]) {
          const claimed = await store(i).claimDue(
            { sink, holdMs: null },
            { now: 2_000, leaseMs: MINUTE, limit: 4, except: [] },
          );
          if (claimed.length > 0) idle = 0;
          await Promise.all(claimed.map((one) => store(i).record(delivered(one.delivery.id, one))));
        }
    };
    const writing = Promise.all(numbers(4).map(accept)).finally(() => (still.accepting = false));
    await Promise.all([writing, deliver(1), deliver(2)]);
    await deliver(0);
    const all = 4 * perStore;
    expect((await store(0).counts()).deliveries).toEqual([
      { sink: "mail", state: "delivered", count: all },
      { sink: "ops", state: "delivered", count: all },
    ]);
    expect((await store(0).statistics("day", 0, MINUTE)).runs).toEqual([
      { start: 0, status: "completed", count: all / 2 },
      { start: 0, status: "failed", count: all / 2 },
    ]);
  });

  it("an empty database may be migrated by several connections at once", async () => {
    const empty = await newDatabase({ empty: true });
    const databases = await Promise.all(numbers(5).map(() => openPostgres(empty)));
    await Promise.all(databases.map((one) => migrate(one)));
    for (const database of databases) {
      expect(await readVersion(database)).toBe(SCHEMA_VERSION);
      await database.close();
    }
    await dropDatabase(empty);
  });
});

describe("when the database fails", () => {
  it("a connection lost in a transaction is a fault, nothing is half-done, and the same call works again", async () => {
    const client = await admin();
    await client.query("select pg_advisory_lock(7390003, hashtext(''))");
    const arrival = () => anArrival(aRun(), { decision: { deliveries: [aDelivery("dlv_1")] } });
    const accepted = store(0).accept([arrival()]);
    const outcome = expect(accepted).rejects.toThrow(StorageFault);
    await untilWaiting(client);
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    await outcome;
    await client.query("select pg_advisory_unlock_all()");
    expect(await store(0).run("tsk_1")).toBeNull();
    expect(await store(0).receipts("tsk_1")).toEqual([]);
    expect(await store(0).accept([arrival()])).toMatchObject([{ verdict: "accepted" }]);
  });

  it("a transaction is run again after a deadlock and after a serialization failure", async () => {
    for (const state of ["40P01", "40001"]) {
      const client = await admin();
      await client.query(`create or replace function fail_once() returns trigger language plpgsql as $$ begin
          if nextval('failures') < 3 then raise exception 'once' using errcode = '${state}'; end if; return new; end $$`);
      await client.query("drop sequence if exists failures; create sequence failures");
      await client.query("drop trigger if exists fail_once on receipts");
      await client.query(
        "create trigger fail_once before insert on receipts for each row execute function fail_once()",
      );
      expect(await store(0).accept([anArrival(aRun({ run_id: state }))])).toMatchObject([{ verdict: "accepted" }]);
      expect(await store(0).receipts(state)).toHaveLength(1);
    }
  });

  it("a lock that nobody releases is a fault, not a wait for ever", async () => {
    const client = await admin();
    await store(0).accept([anArrival(aRun())]);
    await client.query("begin; lock table receipts");
    await expect(store(0).accept([anArrival(aRun({ received_at: 2_000 }))])).rejects.toThrow(StorageFault);
    await client.query("rollback");
    await store(0).accept([anArrival(aRun({ received_at: 2_000 }))]);
  });

  it("every call fails while PostgreSQL is away, also on old connections, and works by itself when it is back", async () => {
    const server = await startPostgres();
    onTestFinished(() => server.remove());
    const database = await openPostgres(server.url);
    await migrate(database);
    const one = createSqlStore(database);
    onTestFinished(() => one.close());
    await one.accept([anArrival(aRun())]);
    await server.stop();
    for (const _ of numbers(3)) {
      await expect(one.accept([anArrival(aRun({ received_at: 2_000 }))])).rejects.toThrow(StorageFault);
      await expect(one.ping(1)).rejects.toThrow(StorageFault);
      await expect(one.runs({}, { limit: 1 })).rejects.toThrow(StorageFault);
    }
    await server.start();
    expect(await one.accept([anArrival(aRun({ received_at: 2_000 }))])).toMatchObject([{ verdict: "updated" }]);
    await server.stop("kill");
    await expect(one.ping(2)).rejects.toThrow(StorageFault);
    await server.start();
    await one.ping(3);
  });

  it("a failed connection says what is wrong without the password", async () => {
    const one = createSqlStore(await openPostgres("postgres://relay:pass-word@127.0.0.1:1/relay"));
    const fault = await one.ping(1).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(StorageFault);
    expect(JSON.stringify([String(fault), fault])).not.toContain("pass-word");
    await one.close();
  });
});

describe("a search", () => {
  it("a search pages from the newest runs, looked through one by one, to those that the index finds", async () => {
    const run = (n: number, prompt: string) => anArrival(aRun({ run_id: `tsk_${n}`, received_at: 1_000 + n, prompt }));
    const old = numbers(5).map((n) => run(n, "a needle"));
    for (const from of numbers(9))
      await store(0).accept([
        ...(from === 0 ? old : []),
        ...numbers(250).map((i) => run(10 + from * 250 + i, from === 8 && i > 246 ? "a needle" : "some hay")),
      ]);
    const expected = [2259, 2258, 2257, 4, 3, 2, 1, 0].map((n) => `tsk_${n}`);
    for (const limit of [2, 3, 4, 8, 20]) {
      const found: string[] = [];
      for (let after: { at: number; id: string } | null = null; ;) {
        const search = [{ words: ["needle"], prefix: limit === 4 }];
        const { runs } = await store(1).runs({ search }, { limit, ...(after === null ? {} : { after }) });
        found.push(...runs.map(({ state }) => state.run.run_id));
        const last = runs.at(-1)?.state.run;
        if (last === undefined || runs.length < limit) break;
        after = { at: last.received_at, id: last.run_id };
      }
      expect(found).toEqual(expected);
    }
    const before = { search: [{ words: ["needle"], prefix: false }], until: 1_004 };
    expect((await store(2).runs(before, { limit: 2 })).runs.map(({ state }) => state.run.run_id)).toEqual([
      "tsk_3",
      "tsk_2",
    ]);
  });
});

describe("text and numbers", () => {
  it("the one character that PostgreSQL's text cannot hold is replaced, and the run is found", async () => {
    const run = aRun({ run_id: "tsk_1", title: "a\0b", summary: "half \uD800 a pair", output: { x: "\0" } });
    await store(0).accept([anArrival(run)]);
    expect((await store(0).run("tsk_1"))?.state.run).toMatchObject({ title: "a\0b", output: { x: "\0" } });
    expect((await store(0).runs({ workflow: ["a\0b"] }, { limit: 1 })).runs).toHaveLength(1);
  });

  it("PostgreSQL compresses states and bodies with lz4 where the server has it", async () => {
    const client = await admin();
    const hasLz4 = await client.query("create temporary table tried (a text compression lz4)").then(
      () => true,
      () => false,
    );
    const { rows } = await client.query<{ method: string }>(
      `select distinct attcompression as method from pg_attribute
        where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r')
          and attname in ('state', 'body') and not attisdropped`,
    );
    expect(rows.map(({ method }) => method)).toEqual([hasLz4 ? "l" : ""]);
  });

  it("PostgreSQL compares every id and name byte by byte", async () => {
    const client = await admin();
    const { rows } = await client.query<{ name: string }>(
      `select table_name || '.' || column_name as name from information_schema.columns c
        where table_schema = 'public' and data_type = 'text' and collation_name is distinct from 'C'
          and exists (select 1 from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
            where i.indrelid = (quote_ident(table_name))::regclass and a.attname = c.column_name)`,
    );
    expect(rows.map(({ name }) => name).filter((name) => !/grain|settings|delivery_counts.state/.test(name))).toEqual(
      [],
    );
  });
});

const delivered = (deliveryId: string, claimed?: Claimed) => ({
  deliveryId,
  sink: claimed?.delivery.sink ?? "ops",
  n: 1,
  revision: 1,
  startedAt: 2_000,
  finishedAt: 2_100,
  outcome: { kind: "delivered", receipt: {} } as const,
  nextAttemptAt: null,
  circuit: CLOSED,
});
