/** What every Store promises of looking back: search, numbers, changes. One suite, every implementation. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { parseJson } from "../../src/platform/json.ts";
import type { Run } from "../../src/domain/run.ts";
import type { ChangesPage } from "../../src/store/contract/changes.ts";
import { bucketOf } from "../../src/store/stats/latency-buckets.ts";
import { readSearch } from "../../src/store/search/search.ts";
import type { FinishedAttempt } from "../../src/store/contract/outbox.ts";
import type { Page, RunFilter, Search } from "../../src/store/contract/runs.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";
import { stores } from "./stores.ts";
import type { Store } from "../../src/store/store.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const searchFor = (typed: string): Search => {
  const search = readSearch(typed);
  if (typeof search === "string") throw new Error(`${JSON.stringify(typed)} ${search}`);
  return search;
};

describe.each(Object.entries(stores))("%s", (name, open) => {
  let store: Store;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const ids = async (filter: RunFilter, page: Page = { limit: 100 }) =>
    (await store.runs(filter, page)).runs.map(({ state }) => state.run.run_id);
  const claim = (now: number, sink = "ops") =>
    store.claimDue({ sink, holdMs: null }, { now, leaseMs: 60_000, limit: 10, except: [] });
  const finished = (deliveryId: string, values: Partial<FinishedAttempt> = {}): FinishedAttempt => ({
    deliveryId,
    n: 1,
    startedAt: 1_000,
    finishedAt: 1_100,
    outcome: { kind: "delivered", receipt: { status: 200 } },
    nextAttemptAt: null,
    sink: "ops",
    revision: 1,
    circuit: CLOSED,
    ...values,
  });
  let bodies = 0;
  /** Each a body of its own. */
  const accept = (...runs: Run[]) => store.accept(runs.map((run) => anArrival(run, { hash: `body ${++bodies}` })));

  describe("search", () => {
    beforeEach(async () => {
      await accept(
        aRun({ run_id: "tsk_v2_565346328529285494", received_at: 1, prompt: "Read the Überweisung at Müller & Söhne" }),
        aRun({
          run_id: "wr_2",
          received_at: 2,
          status: "failed",
          title: "Invoice Downloader",
          workflow: { run_id: "wr_2", permanent_id: "wpid_2", id: null, title: "Invoice Downloader" },
          failure: { reason: "Login was refused", codes: ["LOGIN_FAILED"], categories: ["AUTH"], errors: [] },
        }),
        aRun({
          run_id: "tsk_3",
          received_at: 3,
          status: "failed",
          channel: "billing",
          summary: "Two invoices, one overdue.",
          output: parseJson('{"orders":[{"order_no":"INV-2026-0042","big":12345678901234567890,"sum":1234.50}]}'),
        }),
        aRun({ run_id: "tsk_4", received_at: 4, prompt: "café \u{1F389} 東京 invoice", channel: "billing" }),
      );
    });

    it.each([
      ["invoice", ["tsk_4", "wr_2"]],
      ["INVOICE", ["tsk_4", "wr_2"]],
      ["invoice*", ["tsk_4", "tsk_3", "wr_2"]],
      ["invoice downloader", ["wr_2"]],
      ['"downloader invoice"', []],
      ["overdue invoices", ["tsk_3"]],
      ["INV-2026-0042", ["tsk_3"]],
      ["INV-2026-004", []],
      ["2026-0042-INV", []],
      ["12345678901234567890", ["tsk_3"]],
      ["12345678901234567891", []],
      ["1234.50", ["tsk_3"]],
      ["1234.5", []],
      ["tsk_v2_565346328529285494", ["tsk_v2_565346328529285494"]],
      ["565346328529285494", ["tsk_v2_565346328529285494"]],
      ["tsk_v2_5653*", ["tsk_v2_565346328529285494"]],
      ["wpid_2", ["wr_2"]],
      ["LOGIN_FAILED", ["wr_2"]],
      ["refused", ["wr_2"]],
      ["uberweisung", ["tsk_v2_565346328529285494"]],
      ["MÜLLER", ["tsk_v2_565346328529285494"]],
      ["cafe", ["tsk_4"]],
      ["東京", ["tsk_4"]],
      ["京", ["tsk_4"]],
      ["京東", []],
      ["東京*", ["tsk_4"]],
      ["Überw*", ["tsk_v2_565346328529285494"]],
      ["uberwei* müll*", ["tsk_v2_565346328529285494"]],
      ['"order_no INV-2026-0042"', ["tsk_3"]],
      ['"0042 big"', []],
      ["0042-big*", []],
      ["order_no", ["tsk_3"]],
      ["billing", []],
      ["nothing of the kind", []],
      ['") OR 1=1 --x', []],
      ["invoice OR overdue", []],
      ["invoice NOT downloader", []],
      ["run_words:invoice", []],
      ["words : {invoice}", []],
      ["NEAR(invoice downloader)", []],
      ["^invoice", ["tsk_4", "wr_2"]],
      ["'; drop table runs; --", []],
    ])("a search for %s finds %j, newest first", async (typed, expected) => {
      expect(await ids({ search: searchFor(typed) })).toEqual(expected);
    });

    it.each<[string, RunFilter, string[]]>([
      ["a status", { status: ["failed"] }, ["tsk_3", "wr_2"]],
      ["several statuses", { status: ["failed", "completed"] }, ["tsk_4", "tsk_3", "wr_2"]],
      ["a workflow's title", { workflow: ["Invoice Downloader"] }, ["wr_2"]],
      ["a channel", { channel: ["billing"] }, ["tsk_4", "tsk_3"]],
      ["a time", { since: 2, until: 4 }, ["tsk_3", "wr_2"]],
      ["all of them", { status: ["failed"], channel: ["billing"], since: 1 }, ["tsk_3"]],
      ["what no run has", { channel: ["other"] }, []],
      ["no value at all", { channel: [] }, []],
    ])("a search is narrowed by %s", async (_what, filter, expected) => {
      expect(await ids({ ...filter, search: searchFor("inv*") })).toEqual(expected);
    });

    it("a search is narrowed by what was sent to which sink", async () => {
      await store.redeliver("wr_2", [aDelivery("dlv_1")], 9);
      await store.redeliver("tsk_v2_565346328529285494", [aDelivery("dlv_2")], 9);
      expect(await ids({ search: searchFor("inv*"), sink: ["ops"] })).toEqual(["wr_2"]);
      expect(await ids({ search: searchFor("inv*"), delivery: ["pending"] })).toEqual(["wr_2"]);
      expect(await ids({ search: searchFor("inv*"), delivery: ["dead"] })).toEqual([]);
    });

    it("a search takes a run's changed text and status at once, and forgets the old ones", async () => {
      await accept(aRun({ run_id: "tsk_3", received_at: 3, status: "completed", summary: "All was paid." }));
      expect(await ids({ search: searchFor("overdue") })).toEqual([]);
      expect(await ids({ search: searchFor("paid") })).toEqual(["tsk_3"]);
      expect(await ids({ search: searchFor("tsk"), status: ["failed"] })).toEqual([]);
      expect(await ids({ search: searchFor("tsk"), status: ["completed"] })).toContain("tsk_3");
    });

    it("a search pages by key, so that runs that arrive or change meanwhile shift nothing", async () => {
      const search = searchFor("inv*");
      expect(await ids({ search }, { limit: 2 })).toEqual(["tsk_4", "tsk_3"]);
      await accept(
        aRun({ run_id: "tsk_5", received_at: 5, prompt: "invoice" }),
        aRun({ run_id: "tsk_4", received_at: 4, prompt: "invoice, paid", channel: "billing" }),
      );
      expect(await ids({ search }, { limit: 2, after: { at: 3, id: "tsk_3" } })).toEqual(["wr_2"]);
      expect(await ids({ search }, { limit: 2 })).toEqual(["tsk_5", "tsk_4"]);
    });

    it.each([3, 30])("a search of a word that %i runs hold gives the newest first, page by page", async (many) => {
      const runs = Array.from({ length: many }, (_none, i) =>
        aRun({ run_id: `tsk_1${i}`, received_at: 10 + i, prompt: "a fortnight, a bill" }),
      );
      await accept(...runs);
      const [last, next, third] = runs.toReversed();
      for (const search of [searchFor("fortnight"), searchFor("bill fortnight"), searchFor('"fortnight a"')]) {
        expect(await ids({ search }, { limit: 2 })).toEqual([last?.run_id, next?.run_id]);
        const after = { at: 10 + many - 2, id: next?.run_id ?? "" };
        expect(await ids({ search }, { limit: 1, after })).toEqual([third?.run_id]);
        expect(await ids({ search, until: 11 }, { limit: 9 })).toEqual(["tsk_10"]);
      }
    });

    it("a search finds a phrase anywhere in a long text, however often its words stand there", async () => {
      const page = "それはページの中の文です。";
      await accept(aRun({ run_id: "tsk_long", received_at: 9, summary: `${page.repeat(1_000)}これの印だ the end` }));
      for (const typed of ["の印", "これの", '"の印だ the end"', "中の文", '"the end"'])
        expect(await ids({ search: searchFor(typed) })).toEqual(["tsk_long"]);
      for (const typed of ["のの", "印の", '"end the"']) expect(await ids({ search: searchFor(typed) })).toEqual([]);
    });

    it("a search goes on by the time when the run that a page ended with is gone", async () => {
      const after = { at: 3, id: "tsk_30" };
      expect(await ids({ search: searchFor("inv*") }, { limit: 9, after })).toEqual(["tsk_3", "wr_2"]);
    });

    it("a search finds what arrived while the clock was set back, also within a time", async () => {
      await accept(aRun({ run_id: "tsk_late", received_at: 10 * DAY, prompt: "invoice" }));
      await accept(aRun({ run_id: "tsk_back", received_at: 5 * DAY, prompt: "invoice" }));
      const search = searchFor("invoice");
      expect(await ids({ search, since: 4 * DAY, until: 6 * DAY })).toEqual(["tsk_back"]);
      expect(await ids({ search, since: 9 * DAY })).toEqual(["tsk_late"]);
      expect(await ids({ search, since: 20 * DAY })).toEqual([]);
      expect(await ids({ search, until: 1 })).toEqual([]);
    });

    it("every filter of a search finds what a check of each run finds", async () => {
      const values = <T extends string>(...all: T[]) =>
        fc.option(fc.uniqueArray(fc.constantFrom(...all), { minLength: 1 }), { nil: undefined });
      const filters = fc.record({
        status: values("completed", "failed", "other"),
        channel: values("billing", "other"),
        workflow: values("wpid_2", "Invoice Downloader", "other"),
        source: values("webhook", "backfill"),
        run_type: values("task_v1", "task_v2"),
        since: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
        until: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
      });
      const all = (await store.runs({}, { limit: 100 })).runs.map(({ state }) => state.run);
      const has = (list: string[] | undefined, ...found: (string | null | undefined)[]) =>
        list === undefined || found.some((value) => list.includes(value ?? ""));
      await fc.assert(
        fc.asyncProperty(filters, async ({ since, until, ...lists }) => {
          const fits = (run: Run) =>
            has(lists.status, run.status) &&
            has(lists.channel, run.channel) &&
            has(lists.workflow, run.workflow?.permanent_id, run.title) &&
            has(lists.source, run.source) &&
            has(lists.run_type, run.run_type) &&
            run.received_at >= (since ?? 0) &&
            run.received_at < (until ?? 99);
          const given = Object.entries({ since, until, ...lists }).filter(([, value]) => value !== undefined);
          expect(await ids(Object.fromEntries(given))).toEqual(all.filter(fits).map(({ run_id }) => run_id));
        }),
      );
    });
  });

  describe("statistics", () => {
    it("statistics count runs by the hour and day of their first receipt and by their settled status", async () => {
      await accept(
        aRun({ run_id: "a", received_at: DAY + 1 }),
        aRun({ run_id: "b", received_at: DAY + HOUR - 1, status: "failed" }),
        aRun({ run_id: "c", received_at: DAY + HOUR, status: "failed" }),
        aRun({ run_id: "d", received_at: 2 * DAY }),
      );
      expect((await store.statistics("hour", DAY, DAY + 2 * HOUR)).runs).toEqual([
        { start: DAY, status: "completed", count: 1 },
        { start: DAY, status: "failed", count: 1 },
        { start: DAY + HOUR, status: "failed", count: 1 },
      ]);
      const days = [
        { start: DAY, status: "completed", count: 1 },
        { start: DAY, status: "failed", count: 2 },
      ];
      expect((await store.statistics("day", 0, 2 * DAY)).runs).toEqual(days);
      expect(await store.runCounts("day", 0, 2 * DAY)).toEqual(days);
    });

    it("statistics count a corrected run under its new status, and no run twice", async () => {
      await accept(aRun({ received_at: DAY, status: "running" }));
      await accept(aRun({ received_at: DAY, status: "failed" }));
      await accept(
        aRun({ received_at: DAY, status: "completed" }),
        aRun({ received_at: DAY, status: "completed", title: "x" }),
      );
      expect((await store.statistics("day", 0, 9 * DAY)).runs).toEqual([{ start: DAY, status: "completed", count: 1 }]);
    });

    it("statistics count how long deliveries took that arrived, and no other attempts", async () => {
      await store.accept([
        anArrival(aRun({ received_at: DAY }), {
          decision: { deliveries: [aDelivery("dlv_1"), aDelivery("dlv_2", "crm"), aDelivery("dlv_3", "crm")] },
        }),
      ]);
      await claim(DAY);
      await store.record(finished("dlv_1", { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: DAY + 5 }));
      await claim(DAY + 5);
      await store.record(finished("dlv_1", { n: 2, finishedAt: DAY + 700 }));
      await claim(DAY, "crm");
      await store.record(finished("dlv_2", { sink: "crm", outcome: { kind: "dead", reason: "gone" } }));
      const { times } = await store.statistics("hour", DAY, DAY + HOUR);
      expect(times).toEqual([{ sink: "ops", bucket: bucketOf(700), count: 1 }]);
      expect((await store.statistics("day", DAY, 2 * DAY)).times).toEqual(times);
      expect((await store.statistics("hour", DAY + HOUR, DAY + 2 * HOUR)).times).toEqual([]);
      const byHour = await store.deliveryTimes("hour", 0, 9 * DAY);
      expect(byHour).toEqual([{ start: DAY, sink: "ops", bucket: bucketOf(700), count: 1 }]);
      expect(await store.deliveryTimes("day", DAY + 1, 9 * DAY)).toEqual([]);
    });

    it("statistics agree with the rows, whatever happens to deliveries", async () => {
      const sinks = ["ops", "crm"];
      const act = fc.oneof(
        fc.record({ kind: fc.constant("accept" as const), run: fc.integer({ min: 0, max: 3 }), cancel: fc.boolean() }),
        fc.record({ kind: fc.constantFrom("delivered", "retry", "dead") }),
        fc.record({ kind: fc.constantFrom("expire", "orphans", "redeliver", "again", "test") }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
          const fresh = await open();
          let n = 0;
          let now = DAY;
          const make = (sink: string) => aDelivery(`dlv_${String(++n).padStart(5, "0")}`, sink);
          for (const one of acts) {
            now += 1_000;
            if (one.kind === "accept" && "run" in one) {
              const { run } = anArrival(aRun({ run_id: `tsk_${one.run}`, received_at: now }), {
                decision: { deliveries: sinks.map(make) },
              });
              if (run === null) throw new Error("no run");
              const { receipt } = anArrival(aRun({ received_at: now }), { hash: `h${n}` });
              const decide: typeof run.decide = (known) => ({
                ...run.decide(known),
                cancel: one.cancel ? (known?.deliveries ?? []).map(({ id }) => id) : [],
              });
              await fresh.accept([{ receipt, run: { id: run.id, decide } }]);
            } else if (one.kind === "expire") await fresh.expire("ops", now - 5_000, "old");
            else if (one.kind === "orphans") await fresh.deadLetterOrphans(["ops"], "gone");
            else if (one.kind === "redeliver") await fresh.redeliver("tsk_0", [make("crm")], now);
            else if (one.kind === "again")
              await fresh.redeliverAll(
                { state: ["dead"] },
                Array.from({ length: 9 }, () => make("ops").id),
                now,
              );
            else if (one.kind === "test") {
              const test = { runId: "test_1", sink: "ops", kind: "http", startedAt: now, finishedAt: now };
              await fresh.saveTest({ ...test, deliveryId: make("ops").id, outcome: { kind: "dead", reason: "x" } });
            } else {
              const queue = { sink: sinks[n % 2] ?? "ops", holdMs: null };
              const [claimed] = await fresh.claimDue(queue, { now, leaseMs: 9e9, limit: 1, except: [] });
              const outcome =
                one.kind === "delivered"
                  ? { kind: "delivered" as const, receipt: {} }
                  : { kind: one.kind as "retry" | "dead", reason: "x" };
              if (claimed)
                await fresh.record(
                  finished(claimed.delivery.id, {
                    n: claimed.delivery.attempts,
                    sink: queue.sink,
                    finishedAt: now,
                    revision: claimed.state.revision,
                    outcome,
                    nextAttemptAt: one.kind === "retry" ? now : null,
                  }),
                );
            }
          }
          const rows = (await fresh.deliveries({}, { limit: 1_000 })).filter(({ cause }) => cause !== "test");
          const counted = Map.groupBy(rows, ({ sink, state }) => `${sink} ${state}`);
          const counts = (await fresh.counts()).deliveries;
          expect(Object.fromEntries(counts.map(({ sink, state, count }) => [`${sink} ${state}`, count]))).toEqual(
            Object.fromEntries([...counted].map(([name, all]) => [name, all.length])),
          );
          const waiting = rows.filter(({ state }) => state === "pending" || state === "sending");
          const expected = [...Map.groupBy(waiting, ({ sink }) => sink)].map(([sink, all]) => ({
            sink,
            size: all.length,
            oldest: Math.min(...all.map(({ created_at }) => created_at)),
          }));
          expect(await fresh.backlog()).toEqual(expected.toSorted((a, b) => (a.sink < b.sink ? -1 : 1)));
          const delivered = rows.filter(({ state }) => state === "delivered").length;
          const { times } = await fresh.statistics("day", 0, 9 * DAY);
          expect(times.reduce((sum, { count }) => sum + count, 0)).toBe(delivered);
          await fresh.close();
        }),
        { numRuns: name === "sqlite" ? 40 : 15 },
      );
    });

    it("the coverage in statistics, of whole days and of a span, equals a count run by run", async () => {
      const listed_runs = Array.from({ length: 8 }, (_none, i) => ({
        runId: `tsk_${i}`,
        createdAt: (i % 3) * DAY + i,
        seenAt: DAY,
        targetsThisRelay: i !== 7,
      }));
      const seen = new Map<string, (typeof listed_runs)[number]>();
      const recordListedRuns = async (rows: typeof listed_runs) => {
        await store.recordListedRuns(rows);
        for (const row of rows) if (row.targetsThisRelay || !seen.has(row.runId)) seen.set(row.runId, row);
      };
      const agree = async () => {
        const open = await store.unrelayed({ since: 0, seenBefore: 9 * DAY, limit: 99 });
        const byDay = (since: number, until: number) => {
          const mine = [...seen.values()].filter(
            (row) => row.targetsThisRelay && row.createdAt >= since && row.createdAt < until,
          );
          const days = Map.groupBy(mine, ({ createdAt }) => Math.floor(createdAt / DAY) * DAY);
          return [...days]
            .map(([day, rows]) => ({
              day,
              seen: rows.length,
              relayed: rows.filter(({ runId }) => !open.includes(runId)).length,
            }))
            .toSorted((a, b) => a.day - b.day);
        };
        const whole = await store.dailyCoverage(0, 9 * DAY);
        expect(whole).toEqual(byDay(0, 9 * DAY));
        expect(await store.dailyCoverage(DAY, 2 * DAY)).toEqual(byDay(DAY, 2 * DAY));
        expect(await store.coverage(2, DAY + 5)).toEqual(byDay(2, DAY + 5));
        return whole;
      };
      await accept(aRun({ run_id: "tsk_0" }), aRun({ run_id: "tsk_1", status: "running" }));
      await recordListedRuns(listed_runs.slice(0, 5));
      expect(await agree()).toEqual([
        { day: 0, seen: 2, relayed: 1 },
        { day: DAY, seen: 2, relayed: 0 },
        { day: 2 * DAY, seen: 1, relayed: 0 },
      ]);
      await recordListedRuns(listed_runs);
      await recordListedRuns([{ ...(listed_runs[7] as (typeof listed_runs)[number]), targetsThisRelay: true }]);
      await store.accept([
        anArrival(aRun({ run_id: "tsk_2", received_at: DAY }), { decision: { deliveries: [aDelivery("dlv_1")] } }),
        anArrival(aRun({ run_id: "tsk_3", received_at: DAY }), { decision: { deliveries: [aDelivery("dlv_2")] } }),
        anArrival(aRun({ run_id: "tsk_1", received_at: DAY })),
      ]);
      await agree();
      await recordListedRuns(listed_runs);
      await claim(DAY);
      await store.record(finished("dlv_1", { outcome: { kind: "dead", reason: "gone" } }));
      await store.record(finished("dlv_2"));
      await agree();
      await store.redeliver("tsk_2", [aDelivery("dlv_3", "ops", { cause: "redelivery" })], DAY);
      await agree();
      await claim(DAY);
      await store.record(finished("dlv_3"));
      expect((await agree()).reduce((sum, { relayed }) => sum + relayed, 0)).toBe(4);
    });
  });

  describe("changes", () => {
    let begin = "";
    beforeEach(() => {
      begin = store.lastChange();
    });
    const all = (after = begin) => store.changes({ after, limit: 1_000 }).changes;
    const shown = ({ change }: ChangesPage["changes"][number]) =>
      change.kind === "run" ? `run ${change.id}` : `delivery ${change.id} ${change.delivery?.state}`;

    it("changes are delivered once each, in the order in which they were made", async () => {
      await store.accept([
        anArrival(aRun({ received_at: 1_000 }), {
          decision: { deliveries: [aDelivery("dlv_1"), aDelivery("dlv_2", "crm")] },
        }),
      ]);
      await claim(1_000);
      await store.record(finished("dlv_1", { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 2_000 }));
      await claim(2_000);
      await store.record(finished("dlv_1", { n: 2 }));
      await store.deadLetterOrphans(["ops"], "gone");
      await store.saveArtifacts("tsk_1", { artifacts: [], status: "complete" }, null);
      await store.redeliver("tsk_1", [aDelivery("dlv_3")], 3_000);
      const changes = all();
      expect(changes.map(shown)).toEqual([
        "run tsk_1",
        "delivery dlv_1 pending",
        "delivery dlv_2 pending",
        "delivery dlv_1 pending",
        "delivery dlv_1 delivered",
        "delivery dlv_2 dead",
        "run tsk_1",
        "delivery dlv_3 pending",
      ]);
      expect(new Set(changes.map(({ at }) => at)).size).toBe(8);
      expect(changes.at(-1)?.at).toBe(store.lastChange());
    });

    it("a change holds a delivery as it was then", async () => {
      await store.accept([anArrival(aRun(), { decision: { deliveries: [aDelivery("dlv_1")] } })]);
      const [before] = await store.deliveries({}, { limit: 1 });
      await claim(1_000);
      await store.record(finished("dlv_1"));
      const [, made, told] = all();
      expect(made?.change).toEqual({ kind: "delivery", id: "dlv_1", delivery: before });
      expect(told?.change).toEqual({ kind: "delivery", id: "dlv_1", delivery: await store.delivery("dlv_1") });
    });

    it("a write that changed nothing makes no change", async () => {
      await accept(aRun());
      const last = store.lastChange();
      await store.accept([anArrival(aRun(), { hash: `body ${bodies}` })]);
      await store.accept([anArrival(aRun({ received_at: 2 }), { decision: { verdict: "duplicate" } })]);
      await store.saveArtifacts("tsk_1", { artifacts: [], status: "pending" }, null);
      await store.ping(9);
      expect(all(last)).toEqual([]);
      expect(store.lastChange()).toBe(last);
    });

    it("a batch that failed makes no changes, counts nowhere and is not found by a search", async () => {
      await accept(aRun({ run_id: "a" }));
      const bad = anArrival(aRun({ run_id: "b" }), {
        decision: { deliveries: [aDelivery("dlv_1"), aDelivery("dlv_1")] },
      });
      await expect(store.accept([anArrival(aRun({ run_id: "c", received_at: 2 })), bad])).rejects.toThrow(
        /UNIQUE|duplicate key/,
      );
      await accept(aRun({ run_id: "d", received_at: 3 }));
      expect(all().map(shown)).toEqual(["run a", "run d"]);
      expect((await store.statistics("day", 0, DAY)).runs).toEqual([{ start: 0, status: "completed", count: 2 }]);
      expect(await ids({ search: searchFor("a") })).toEqual(["a"]);
      expect(await ids({ search: searchFor("c") })).toEqual([]);
    });

    it("changes come in pages, with the id to go on after", async () => {
      await accept(...["a", "b", "c"].map((run_id, i) => aRun({ run_id, received_at: i })));
      const first = store.changes({ after: begin, limit: 2 });
      expect([first.changes.map(shown), first.isKnown]).toEqual([["run a", "run b"], true]);
      const rest = store.changes({ after: first.last, limit: 2 });
      expect([rest.changes.map(shown), rest.last]).toEqual([["run c"], store.lastChange()]);
      expect(store.changes({ after: rest.last, limit: 2 })).toEqual({ changes: [], last: rest.last, isKnown: true });
    });

    it("changes of another store are not known, and the answer says where to go on", async () => {
      const other = await open();
      await other.accept([anArrival(aRun())]);
      const { last } = other.changes({ after: other.lastChange(), limit: 1 });
      await other.close();
      await accept(aRun());
      expect(store.changes({ after: last, limit: 9 })).toEqual({
        changes: [],
        last: store.lastChange(),
        isKnown: false,
      });
    });
  });

  it("a test of a sink is a finished delivery that counts for no run", async () => {
    const test = { runId: "test_1", sink: "ops", kind: "slack", startedAt: 5, finishedAt: 9 };
    await store.saveTest({ ...test, deliveryId: "dlv_1", outcome: { kind: "delivered", receipt: { ts: "1" } } });
    await store.saveTest({ ...test, deliveryId: "dlv_2", outcome: { kind: "retry", reason: "no answer" } });
    expect(await store.deliveries({ sink: ["ops"] }, { limit: 9 })).toMatchObject([
      { id: "dlv_2", cause: "test", state: "canceled", last_error: "no answer", attempts: 1, run_id: "test_1" },
      { id: "dlv_1", cause: "test", state: "delivered", receipt: { ts: "1" }, delivered_at: 9 },
    ]);
    expect(await store.attempts(["dlv_2"])).toMatchObject([{ n: 1, outcome: "retry", reason: "no answer" }]);
    expect(await store.counts()).toEqual({ deliveries: [], unrecognized: 0 });
    expect(await store.backlog()).toEqual([]);
    expect((await store.runs({}, { limit: 9 })).runs).toEqual([]);
    expect((await store.runs({ sink: ["ops"] }, { limit: 9 })).runs).toEqual([]);
    expect(await store.redeliverAll({ state: ["delivered", "canceled"] }, ["dlv_3"], 10)).toBe(0);
  });

  it("the store says what Skyvern's list said of a run", async () => {
    await store.recordListedRuns([{ runId: "tsk_1", createdAt: 1, seenAt: 2, targetsThisRelay: true }]);
    expect(await store.listedRun("tsk_1")).toEqual({ createdAt: 1, seenAt: 2, targetsThisRelay: true });
    expect(await store.listedRun("tsk_2")).toBeNull();
  });
});
