/**
 * How SQLite goes about each question of the history, with 50,000 runs: along an index, and no further than its page.
 * A plan that sorts or walks a table would be as right, and a hundred times slower with a million.
 */
import { CompiledQuery, sql, SqliteQueryCompiler, type KyselyPlugin } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../src/store/sqlite/connection.ts";
import { sqliteDatabase, type Database } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { packBlock } from "../../src/store/receipts/blocks.ts";
import { toListItem } from "../../src/store/history/list-items.ts";
import { indexedText, readSearch } from "../../src/store/search/search.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { sqliteRows } from "../../src/store/bulk-sql.ts";
import type { Search } from "../../src/store/contract/runs.ts";
import { aDelivery, anArrival, aRun, aState } from "../support/a-run.ts";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";

const RUNS = 50_000;
const MINUTE = 60_000;

let database: Database;
let store: Store;
const asked: CompiledQuery[] = [];

beforeAll(async () => {
  const sqlite = connect(":memory:");
  database = sqliteDatabase(sqlite);
  await migrate(database);
  await fill(database);
  const compiler = new SqliteQueryCompiler();
  const plugin: KyselyPlugin = {
    transformQuery: ({ node, queryId }) => {
      asked.push(compiler.compileQuery(node as never, queryId));
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  };
  const rows = sqliteRows({
    prepare: (text) => {
      const statement = sqlite.prepare(text);
      const heard = (parameters: readonly unknown[]) => asked.push(CompiledQuery.raw(text, [...parameters]));
      return {
        reader: statement.reader,
        all: (...parameters) => [heard(parameters), statement.all(...parameters)][1] as unknown[],
        run: (...parameters) => [heard(parameters), statement.run(...parameters)][1],
      };
    },
  });
  store = createSqlStore({
    ...database,
    db: database.db.withPlugin(plugin),
    read: (work) => database.read(() => work(rows)),
    transaction: (work) => database.transaction((tx) => work(tx.withPlugin(plugin), rows)),
  });
});
afterAll(() => store.close());

/**
 * A run a minute; one in five failed, one in fifty is of `billing`; two deliveries each, of which three are not
 * delivered.
 */
async function fill({ db }: Database): Promise<void> {
  const kinds = [0, 1].flatMap((failed) =>
    [0, 1].map((billing) => {
      const run = aRun({
        run_id: "tsk_1",
        status: failed ? "failed" : "completed",
        channel: billing ? "billing" : null,
        organization_id: "o_1",
        prompt: "an invoice",
      });
      const state = JSON.stringify(aState(run));
      const block = packBlock(state, Buffer.from("{}")).toString("hex");
      return { failed, billing, words: indexedText(run), item: toListItem(run), bytes: state.length, block };
    }),
  );
  await sql`create temp table kinds as select value ->> 'failed' as failed, value ->> 'billing' as billing,
    value ->> 'words' as words, value ->> 'item' as item, value ->> 'bytes' as bytes, unhex(value ->> 'block') as block
    from json_each(${JSON.stringify(kinds)})`.execute(db);
  await sql`create temp table n as with recursive c (i) as (select 1 union all select i + 1 from c where i < ${RUNS})
    select i, i % 5 = 0 as failed, i % 50 = 0 as billing, i * ${sql.lit(MINUTE)} as at from c`.execute(db);
  await sql`insert into runs (seq, run_id, run_type, status, source, organization_id, channel, received_at, list_item,
      state_receipt, state_bytes, artifacts_status)
    select i, 'tsk_' || i, 'task_v2', iif(n.failed, 'failed', 'completed'), 'webhook', 'o_1', iif(n.billing, 'billing', null), at, k.item,
      'rcp_' || i, k.bytes, 'complete' from n join kinds k using (failed, billing) order by i`.execute(db);
  await sql`insert into receipts (id, run_id, body_hash, body_bytes, verdict, reported_status, source, key_name, received_at, copies,
      last_received_at, block)
    select 'rcp_' || i, 'tsk_' || i, 'h' || i, 2, 'accepted', 'completed', 'webhook', 'key', at, 1, at, k.block
      from n join kinds k using (failed, billing)`.execute(db);
  await sql`insert into run_words (rowid, words) select i, k.words || i from n join kinds k using (failed, billing) order by i`.execute(
    db,
  );
  await sql`insert into run_hours select at / 3600000 * 3600000, min(i), max(i) from n group by 1`.execute(db);
  await sql`insert into deliveries (id, subject_kind, subject_id, revision, sink, kind, cause, state, attempts, ended, throttled,
      next_attempt_at, maybe_sent, last_error, created_at, delivered_at, receipt, subject_at)
    select 'dlv_' || s.sink || printf('%08d', i), 'run', 'tsk_' || i, 1, s.sink, 'http', 'result',
      case when i <= 2 and s.sink = 'crm' then 'dead' when i = ${RUNS} and s.sink = 'crm' then 'pending' else 'delivered' end,
      1, 1, 0, iif(i = ${RUNS} and s.sink = 'crm', at, null), 0, null, at, at + 5, null, at
    from n cross join (select 'ops' as sink union all select 'crm') s order by i`.execute(db);
  await sql`insert into deliveries select 'dlv_rare' || i, subject_kind, subject_id, revision, 'rare', kind, cause, 'delivered', attempts, ended,
      throttled, null, maybe_sent, last_error, created_at, delivered_at, receipt, log, subject_at
    from n join deliveries on id = 'dlv_ops' || printf('%08d', i) where i <= 3`.execute(db);
  await sql`insert into delivery_counts select sink, state, count(*) from deliveries where state <> 'pending' group by 1, 2
    union all select sink, 'made', count(*) from deliveries group by 1`.execute(db);
  await sql`insert into listed_runs (run_id, created_at, seen_at, targets_this_relay, settled) select 'tsk_' || i, at, at, 1, 1 from n`.execute(
    db,
  );
}

/** The plan's steps of everything the store asks while `act` runs. */
async function plan(act: () => Promise<unknown>): Promise<string[]> {
  asked.length = 0;
  await act();
  const steps: string[] = [];
  for (const { sql: text, parameters } of asked.slice()) {
    const explain = CompiledQuery.raw(`explain query plan ${text}`, [...parameters]);
    const details = (await database.db.executeQuery<{ detail: string }>(explain)).rows.map(({ detail }) => detail);
    // The largest number of a run is looked up, as it is the table's key.
    steps.push(...details.filter((detail) => !(detail === "SEARCH runs" && text.includes("max(seq)"))));
  }
  return steps;
}

const LARGE = "runs|r|deliveries|d|e|l|receipts|p|listed_runs|s|archiving|copies";
/** Reads a whole table, or sorts what it read. */
const isSlow = (step: string): boolean =>
  new RegExp(String.raw`^SCAN (${LARGE})( |$)(?!.*VIRTUAL)(?!USING (COVERING )?INDEX)`).test(step) ||
  // The smallest or largest of a column that no index serves.
  new RegExp(`^SEARCH (${LARGE})$`).test(step) ||
  step === "USE TEMP B-TREE FOR ORDER BY" ||
  step.includes("AUTOMATIC");

/** Indexes of deliveries that wait, and of those that are over. */
const WAITING = /^SEARCH deliveries USING (COVERING )?INDEX deliveries_(queue|due) \(sink=\?/m;
const ENDED = /^SEARCH deliveries USING (COVERING )?INDEX deliveries_ended \(sink=\? AND state=\?/m;

const page = { limit: 51 };
const aClaim = { now: 9e9, leaseMs: MINUTE, limit: 9, except: ["dlv_1"] };
const after = { at: 20_000 * MINUTE, id: "tsk_20000" };
const search = [{ words: ["invoice"], prefix: false }];

describe("runs", () => {
  it.each<[string, Parameters<Store["runs"]>, RegExp]>([
    ["the newest", [{}, page], /^SCAN runs USING INDEX runs_newest$/],
    ["a later page", [{}, { ...page, after }], /^SEARCH runs USING INDEX runs_newest/],
    ["since and until", [{ since: 5, until: 9e9 }, page], /^SEARCH runs USING INDEX runs_newest/],
    ["a status", [{ status: ["failed"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    [
      "a status, a later page",
      [{ status: ["failed"] }, { ...page, after }],
      /^SCAN run_words VIRTUAL TABLE INDEX \d+:\S*<$/,
    ],
    ["a run type", [{ run_type: ["task_v2"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    ["an organization", [{ organization: ["o_1"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    ["a channel", [{ channel: ["billing"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    ["two statuses", [{ status: ["failed", "terminated"] }, page], /^SCAN run_words VIRTUAL TABLE INDEX/],
    ["a status and a channel", [{ status: ["failed"], channel: ["billing"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    ["a workflow", [{ workflow: ["wpid_1"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    ["a source", [{ source: ["backfill"] }, page], /^SCAN run_words VIRTUAL TABLE/],
    ["text", [{ search }, page], /^SEARCH runs USING INTEGER PRIMARY KEY \(rowid=\?\)/],
    ["text, a later page", [{ search }, { ...page, after }], /^SCAN run_words VIRTUAL TABLE INDEX \d+:\S*<$/],
    [
      "text, since and until",
      [{ search, since: 5, until: 9e9 }, page],
      /^SCAN run_words VIRTUAL TABLE INDEX \d+:\S*(<>|><)$/,
    ],
    [
      "a sink that had many",
      [{ sink: ["ops"] }, page],
      /^SEARCH deliveries EXISTS USING COVERING INDEX deliveries_run/,
    ],
    [
      "a sink and a state that many have",
      [{ sink: ["ops"], delivery: ["delivered"] }, page],
      /^SEARCH deliveries EXISTS USING INDEX deliveries_run \(subject_id=\? AND sink=\?\)/,
    ],
    ["a state that many have", [{ delivery: ["delivered"] }, page], /^SCAN runs USING INDEX runs_newest$/],
  ])("the list of runs by %s is read along an index", async (_what, question, expected) => {
    for (const list of [store.runs, store.listItems]) {
      const steps = await plan(() => list(...question));
      // Of a page's list items, the few deliveries are sorted by sink.
      const sorts = list === store.listItems ? steps.filter((step) => step.startsWith("USE TEMP")) : [];
      expect(sorts.length).toBeLessThanOrEqual(1);
      expect(steps.filter((step) => isSlow(step) && !sorts.includes(step))).toEqual([]);
      expect(
        steps.some((step) => expected.test(step)),
        steps.join("\n"),
      ).toBe(true);
    }
  });

  it("the list of runs reads no run's state", async () => {
    await plan(() => store.listItems({}, page));
    expect(asked.filter(({ sql: text }) => text.includes('"runs"')).map(({ sql: text }) => text)).toEqual([
      expect.not.stringContaining('"state"'),
    ]);
  });

  it.each<[string, Parameters<Store["runs"]>[0], number, RegExp]>([
    ["what waits", { delivery: ["pending", "sending"] }, 1, WAITING],
    ["what waits at a sink", { delivery: ["pending"], sink: ["crm"] }, 1, WAITING],
    ["dead deliveries and text", { delivery: ["dead"], search }, 2, ENDED],
    ["what is over or waits", { delivery: ["canceled", "dead", "sending", "pending"] }, 3, ENDED],
    ["a sink that had few", { sink: ["rare"] }, 3, ENDED],
  ])(
    "runs by %s, which few deliveries have, are found by looking at those few",
    async (_what, filter, count, expected) => {
      const steps = await plan(async () => {
        expect((await store.runs(filter, page)).runs.length).toBe(count);
      });
      expect(steps.join("\n")).toMatch(expected);
      expect(steps.join("\n")).toMatch(/^SEARCH runs USING INDEX sqlite_autoindex_runs_1 \(run_id=\?\)/m);
      expect(steps.filter((step) => isSlow(step) && !step.startsWith("USE TEMP"))).toEqual([]);
    },
  );

  it.each<[string, Parameters<Store["runs"]>, string[]]>([
    ["", [{ delivery: ["dead"] }, page], ["tsk_2", "tsk_1"]],
    [", a later page", [{ delivery: ["dead"] }, { ...page, after: { at: 2 * MINUTE, id: "tsk_2" } }], ["tsk_1"]],
    [" of a sink within a time", [{ delivery: ["dead"], sink: ["crm"], until: 2 * MINUTE }, page], ["tsk_1"]],
    [" of a sink that had none", [{ delivery: ["dead"], sink: ["ops"] }, page], []],
    [" of a status", [{ delivery: ["dead"], status: ["failed"] }, page], []],
  ])(
    "runs with a dead delivery%s are read along the dead deliveries in the order of the list",
    async (_what, question, ids) => {
      const steps = await plan(async () => {
        expect((await store.runs(...question)).runs.map(({ state }) => state.run.run_id)).toHaveLength(ids.length);
      });
      expect(steps.join("\n")).toMatch(/^SEARCH deliveries USING (COVERING )?INDEX deliveries_dead \(sink=\?/m);
      expect(steps.filter((step) => isSlow(step) && !step.startsWith("USE TEMP"))).toEqual([]);
      // What is sorted are the pages of the sinks, and the page.
      expect(steps.filter((step) => step === "USE TEMP B-TREE FOR ORDER BY").length).toBeLessThanOrEqual(2);
    },
  );

  it("a search by the beginning of a word asks the index for whole words, one after the other", async () => {
    const term = { words: ["invo"], prefix: true };
    const steps = await plan(async () => {
      expect((await store.runs({ search: [term] }, { limit: 3 })).runs).toHaveLength(3);
    });
    expect(asked.map(({ parameters }) => parameters[0])).toContain('("invoice")');
    expect(steps.filter(isSlow)).toEqual([]);
    expect(await store.searchFault([term])).toBe(null);
  });

  it("a later page of a search is bounded by an integer, as FTS5 passes over another and reads its way there", async () => {
    await plan(() => store.runs({ search }, { ...page, after }));
    expect(asked.map(({ sql: text }) => text).join("\n")).toContain("run_words.rowid < cast(? as bigint)");
  });

  it.each([
    ["a number that few runs hold, forwards, as they are all read", "invoice 4321", 1, /run_words\.rowid$/],
    ["the beginning of numbers that few runs hold, forwards", "invoice 4321*", 11, /run_words\.rowid$/],
    ["what many hold, backwards, as a page is", "invoice tsk", page.limit, /run_words\.rowid desc limit \?$/],
  ])("a search by %s reads the index in that direction", async (_what, typed, count, expected) => {
    const words = readSearch(typed) as Search;
    const steps = await plan(async () => {
      expect((await store.runs({ search: words }, page)).runs).toHaveLength(count);
    });
    expect(steps.filter(isSlow)).toEqual([]);
    expect(asked.filter(({ sql: text }) => expected.test(text))).toHaveLength(1);
  });

  it("a search by the beginning of too many words is refused before it is made", async () => {
    expect(await store.searchFault([{ words: ["123"], prefix: true }])).toMatch(
      /100 words that begin with "123": add a letter/,
    );
  });

  it("a search with a status finds what there is", async () => {
    const { runs: found } = await store.runs(
      { search: [{ words: ["invoice"], prefix: false }], status: ["failed"] },
      { limit: 3 },
    );
    expect(found).toHaveLength(3);
  });
});

describe("deliveries", () => {
  it.each<[string, Parameters<Store["deliveries"]>, RegExp]>([
    ["the newest", [{}, page], /^SCAN deliveries USING INDEX deliveries_newest$/],
    ["a later page", [{}, { ...page, after }], /^SEARCH deliveries USING INDEX deliveries_newest/],
    ["a run", [{ runId: "tsk_9" }, page], /^SEARCH deliveries USING INDEX deliveries_run/],
    ["a sink", [{ sink: ["ops"] }, page], ENDED],
    ["a state", [{ state: ["dead"] }, page], ENDED],
    ["what waits", [{ state: ["pending"] }, page], WAITING],
    [
      "a sink and states, later, within a time",
      [
        { sink: ["ops"], state: ["dead", "delivered"], since: 1 },
        { ...page, after },
      ],
      /deliveries_ended \(sink=\? AND state=\? AND/,
    ],
  ])("the list of deliveries by %s is read along an index", async (_what, question, expected) => {
    const steps = await plan(() => store.deliveries(...question));
    // The pages of each sink and state, or the few of one run, are sorted: some hundred rows.
    expect(steps.filter((step) => isSlow(step) && !step.startsWith("USE TEMP"))).toEqual([]);
    expect(
      steps.some((step) => expected.test(step)),
      steps.join("\n"),
    ).toBe(true);
  });
});

it("the number of dead deliveries to send again is asked of those alone", async () => {
  const steps = await plan(async () => {
    const filter = { state: ["dead"], sink: ["ops", "crm"] };
    expect(await store.redeliverable(filter, 100)).toBe(2);
  });
  expect(steps.filter((step) => isSlow(step) && !step.startsWith("USE TEMP"))).toEqual([]);
  expect(steps.join("\n")).toMatch(ENDED);
});

it.each([
  ["coverage by the day", () => store.dailyCoverage(0, 9e9)],
  ["coverage of the last hours", () => store.coverage(5, 9e9)],
])("%s looks only at the listed_runs that are open", async (_what, act) => {
  const steps = await plan(act);
  expect(steps.filter((step) => step.includes("listed_runs") && !step.includes("autoindex")).join("\n")).toMatch(
    /^SCAN listed_runs USING (COVERING )?INDEX listed_runs_open$/m,
  );
});

it("a run's receipts are looked up by the run, and those few sorted", async () => {
  const steps = await plan(() => store.receipts("tsk_9"));
  expect(steps).toEqual(["SEARCH receipts USING INDEX receipts_run (run_id=?)", "USE TEMP B-TREE FOR ORDER BY"]);
});

it.each<[string, () => Promise<unknown>]>([
  ["the backlog", () => store.backlog()],
  ["the counts", () => store.counts()],
  ["the counts of runs", () => store.runCounts("hour", 0, 9e9)],
  ["statistics by the hour", () => store.statistics("hour", 0, 9e9)],
  ["statistics by the day", () => store.statistics("day", 0, 9e9)],
  ["coverage by the day", () => store.dailyCoverage(0, 9e9)],
  ["coverage of the last hours", () => store.coverage(5, 9e9)],
  ["one run", () => store.run("tsk_9")],
  ["kept receipts", () => store.unrecognizedReceipts({ limit: 200, after: { at: 9e9, id: "rcp_9" } })],
  [
    "kept receipts, oldest first",
    () => store.unrecognizedReceipts({ limit: 9, after: { at: 1, id: "" }, oldestFirst: true }),
  ],
  ["a waiting delivery of a sink that has none", () => store.nextDue({ sink: "none", holdMs: null }, 9e9)],
  ["the next follow-up", () => store.nextFollowUpAt()],
  ["due follow-ups", () => store.dueFollowUps(9e9, 10)],
  ["what is due for a sink", () => store.nextDue({ sink: "ops", holdMs: null }, 9e9)],
  ["what is due for an ordered sink", () => store.nextDue({ sink: "ops", holdMs: 60_000 }, 9e9)],
  ["claiming for a sink", () => store.claimDue({ sink: "ops", holdMs: null }, aClaim)],
  ["claiming for an ordered sink", () => store.claimDue({ sink: "ops", holdMs: 60_000 }, aClaim)],
  ["what Skyvern's list said of a run", () => store.listedRun("tsk_9")],
  ["what is known of runs", () => store.outcomes(["tsk_9", "tsk_10"])],
  ["runs that are not final", () => store.unfinished(RUNS * MINUTE, 10)],
  ["what was not relayed", () => store.unrelayed({ since: 0, seenBefore: 9e9, limit: 10 })],
  ["attempts", () => store.attempts(["dlv_ops00000009"])],
  ["a body", () => store.body("rcp_9")],
  ["artifacts", () => store.artifacts("tsk_9")],
  ["what is to be archived", () => store.dueArchiving(9e9, 10)],
  ["copies", () => store.copies("tsk_9")],
  [
    "a dry run of pruning",
    () => store.pruneRuns({ before: 100 * MINUTE, after: null, limit: 20, hold: [], dryRun: true }),
  ],
])("asking for %s walks no table and sorts nothing large", async (_what, act) => {
  const steps = await plan(act);
  expect(steps.length).toBeGreaterThan(0);
  expect(steps.filter(isSlow)).toEqual([]);
});

describe("writing", () => {
  const corrected = aRun({ run_id: "tsk_9", received_at: 9 * MINUTE, prompt: "a letter" });
  const attempt = {
    deliveryId: "dlv_crm000" + RUNS,
    sink: "crm",
    n: 1,
    revision: 1,
    startedAt: 1,
    finishedAt: 2,
    outcome: { kind: "delivered", receipt: {} },
    nextAttemptAt: null,
    circuit: CLOSED,
  } as const;
  it.each<[string, () => Promise<unknown>]>([
    [
      "a new run",
      () => store.accept([anArrival(aRun({ run_id: "new" }), { decision: { deliveries: [aDelivery("dlv_new")] } })]),
    ],
    ["the same bytes again", () => store.accept([anArrival(aRun({ run_id: "new" }))])],
    ["what was not understood", () => store.accept([{ ...anArrival(aRun({ run_id: "kept" })), run: null }])],
    ["a correction", () => store.accept([anArrival(corrected, { decision: { cancel: ["dlv_ops00000009"] } })])],
    ["an earlier time of a run", () => store.accept([anArrival({ ...corrected, received_at: 8 * MINUTE })])],
    ["what an attempt came to", () => store.record(attempt)],
    ["artifacts", () => store.saveArtifacts("tsk_9", { artifacts: [], status: "complete" }, null)],
    ["a redelivery", () => store.redeliver("tsk_9", [aDelivery("dlv_again")], 5)],
    ["due times", () => store.shiftDue(5)],
    ["what a dead process had leased", () => store.reclaimLeases(9e9)],
    ["a release", () => store.release(["dlv_again"], 9e9)],
    ["deliveries to sinks that are gone", () => store.deadLetterOrphans(["ops", "crm", "rare"], "gone")],
    ["when to ask again", () => store.setFollowUp("tsk_9", { at: 5, failures: 0, since: 0 })],
    ["a copy", () => store.saveCopy({ runId: "tsk_9", key: "a", sha256: "s", type: null, bytes: 1, copiedAt: 1 })],
    [
      "listed_runs",
      () => store.recordListedRuns([{ runId: "tsk_9", createdAt: 1, seenAt: 2, targetsThisRelay: true }]),
    ],
    ["words made anew", () => store.rebuildWords(10)],
  ])("writing %s walks no table", async (_what, act) => {
    const steps = await plan(act);
    expect(steps.length).toBeGreaterThan(0);
    expect(steps.filter(isSlow)).toEqual([]);
  });
});

it("an expired delivery of a sink is looked for among those pending there", async () => {
  expect((await plan(() => store.expire("crm", 5, "too old"))).join("\n")).toMatch(WAITING);
});

describe("pruning", () => {
  const names = ["pruneRuns", "pruneBodies", "pruneUnrecognized", "pruneTests", "pruneListedRuns"] as const;
  it.each(names)("the step %s of pruning walks along an index, whatever it removes", async (name) => {
    // The first hundred minutes: runs 1 and 2 have a dead delivery, which does not keep them.
    const step = { before: 100 * MINUTE, after: null, limit: 20, hold: [], dryRun: false };
    const steps = await plan(() => store[name](step));
    expect(steps.filter(isSlow)).toEqual([]);
  });
});
