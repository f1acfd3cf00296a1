/** What every Store promises. One suite, every implementation. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { parseJson } from "../../src/platform/json.ts";
import type { Claim, FinishedAttempt, Queue } from "../../src/store/contract/outbox.ts";
import type { Store } from "../../src/store/store.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";
import { storesAsOpened } from "./stores.ts";

const MINUTE = 60_000;

describe.each(Object.entries(storesAsOpened))("%s", (_name, open) => {
  let store: Store;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const OPS = { sink: "ops", holdMs: null };
  const claim = (now: number, values: Partial<Claim> = {}, queue: Queue = OPS) =>
    store.claimDue(queue, { now, leaseMs: MINUTE, limit: 10, except: [], ...values });
  const finished = (deliveryId: string, values: Partial<FinishedAttempt> = {}): FinishedAttempt => ({
    deliveryId,
    n: 1,
    startedAt: 1_000,
    finishedAt: 1_100,
    outcome: { kind: "delivered", receipt: { ts: "1.1" } },
    nextAttemptAt: null,
    sink: "ops",
    revision: 1,
    circuit: CLOSED,
    ...values,
  });
  /** One run with one waiting delivery. */
  const withDelivery = (id = "dlv_1", run = aRun()) =>
    store.accept([anArrival(run, { decision: { deliveries: [aDelivery(id)] } })]);

  describe("accept", () => {
    it("the store writes run, receipt, body and deliveries, and says what it decided", async () => {
      const run = aRun({ title: "Invoices", channel: "erp" });
      const arrival = anArrival(run, { body: "the bytes", decision: { deliveries: [aDelivery("dlv_1")] } });
      const answers = await store.accept([arrival]);
      const about = { receiptId: arrival.receipt.id, reportedStatus: run.reported_status, bytes: 9 };
      const matchedRoutes = null;
      const decided = { verdict: "accepted", runId: "tsk_1", note: null, revision: 1, deliveries: 1, matchedRoutes };
      expect(answers).toEqual([{ ...about, ...decided }]);
      expect(await store.run("tsk_1")).toMatchObject({ state: { run, revision: 1 }, status: "pending", artifacts: [] });
      const [receipt] = await store.receipts("tsk_1");
      expect(receipt).toMatchObject({
        run_id: "tsk_1",
        verdict: "accepted",
        key_name: "key",
        copies: 1,
        body_bytes: 9,
      });
      expect(Buffer.from((await store.body(receipt?.id ?? "")) ?? []).toString()).toBe("the bytes");
      expect(await store.deliveries({ runId: "tsk_1" }, { limit: 10 })).toMatchObject([
        { id: "dlv_1", sink: "ops", state: "pending", attempts: 0, revision: 1, created_at: 1_000 },
      ]);
    });

    it("the store counts the same bytes again instead of deciding again", async () => {
      const first = anArrival(aRun(), { hash: "h" });
      const again = anArrival(aRun({ received_at: 5_000 }), { hash: "h" });
      await store.accept([first]);
      again.run = { id: "tsk_1", decide: () => expect.unreachable("was asked to decide on a copy") };
      expect(await store.accept([again])).toMatchObject([{ verdict: "duplicate", runId: "tsk_1" }]);
      expect(await store.receipts("tsk_1")).toMatchObject([{ copies: 2, received_at: 1_000, last_received_at: 5_000 }]);
    });

    it("the store lets each arrival of a batch see what those before it wrote", async () => {
      const seen: (number | null)[] = [];
      const items = [1, 2, 3].map((i) => {
        const arrival = anArrival(aRun({ received_at: 1_000 + i }));
        const { run } = arrival;
        if (run === null) throw new Error("no run");
        return {
          ...arrival,
          run: {
            id: run.id,
            decide: (known: Parameters<typeof run.decide>[0]) => {
              seen.push(known?.state.revision ?? null);
              return run.decide(known);
            },
          },
        };
      });
      await store.accept(items);
      expect(seen).toEqual([null, 1, 2]);
    });

    it("the store gives a decision the run's known deliveries, and cancels those it names that are still pending", async () => {
      await store.accept([
        anArrival(aRun(), { decision: { deliveries: [aDelivery("dlv_1"), aDelivery("dlv_2", "mail")] } }),
      ]);
      await claim(2_000);
      const later = anArrival(aRun({ received_at: 3_000 }), { decision: { cancel: ["dlv_1", "dlv_2"] } });
      let known: unknown;
      const { run } = later;
      if (run) later.run = { id: run.id, decide: (seen) => ((known = seen?.deliveries), run.decide(seen)) };
      await store.accept([later]);
      expect(known).toEqual([
        {
          id: "dlv_1",
          subject: "run",
          revision: 1,
          sink: "ops",
          kind: "slack",
          state: "sending",
          attempts: 1,
          maybe_sent: 0,
        },
        {
          id: "dlv_2",
          subject: "run",
          revision: 1,
          sink: "mail",
          kind: "slack",
          state: "pending",
          attempts: 0,
          maybe_sent: 0,
        },
      ]);
      const states = (await store.deliveries({ runId: "tsk_1" }, { limit: 10 })).map(({ id, state }) => [id, state]);
      expect(Object.fromEntries(states)).toEqual({ dlv_1: "sending", dlv_2: "canceled" });
    });

    it("the store keeps deliveries about a run attempt apart from those about the run", async () => {
      const deliveries = [aDelivery("dlv_1", "ops", { runAttempt: 2 }), aDelivery("dlv_2")];
      await store.accept([anArrival(aRun(), { decision: { deliveries } })]);
      const update = aDelivery("dlv_3", "ops", { cause: "update" });
      await store.accept([anArrival(aRun({ received_at: 2_000 }), { decision: { deliveries: [update] } })]);
      const subjects = async () =>
        (await store.deliveries({ runId: "tsk_1" }, { limit: 10 }))
          .toSorted((a, b) => (a.id < b.id ? -1 : 1))
          .map(({ subject, revision, state }) => [subject, revision, state]);
      const [event] = await claim(3_000);
      expect(event).toMatchObject({ delivery: { id: "dlv_1", subject: "attempt", revision: 2 }, previous: null });
      // Its number is no revision that the update would be a repetition of.
      await store.record(finished("dlv_1", { revision: 2, outcome: { kind: "dead", reason: "404" } }));
      expect(await subjects()).toEqual([
        ["attempt", 2, "dead"],
        ["run", 1, "pending"],
        ["run", 2, "pending"],
      ]);
      expect(await store.redeliverAll({ state: ["dead"] }, ["dlv_4", "dlv_5"], 4_000)).toBe(1);
      expect((await subjects()).at(-1)).toEqual(["attempt", 2, "pending"]);
      expect(await store.redeliverable({ state: ["dead"] }, 10)).toBe(0);
    });

    it("the store keeps an unrecognized receipt, and finds it again", async () => {
      const arrival = anArrival(aRun(), { hash: "odd", body: "[1]" });
      await store.accept([{ receipt: { ...arrival.receipt, note: "the body is not a JSON object" }, run: null }]);
      expect(await store.unrecognizedReceipts({ limit: 10 })).toMatchObject([
        { run_id: null, verdict: "unrecognized", note: "the body is not a JSON object" },
      ]);
      expect((await store.counts()).unrecognized).toBe(1);
      expect(await store.receipt(arrival.receipt.id)).toMatchObject({ run_id: null, verdict: "unrecognized" });
      expect(await store.receipt("rcp_other")).toBeNull();
    });

    it("the store adopts an unrecognized receipt once it is recognized, and only once", async () => {
      const arrival = anArrival(aRun(), { hash: "odd", decision: { deliveries: [aDelivery("dlv_1")] } });
      const run = arrival.run ?? expect.unreachable();
      await store.accept([{ receipt: arrival.receipt, run: null }]);
      expect(await store.adopt(arrival.receipt.id, "completed", run, 9_000)).toBe(true);
      expect(await store.adopt(arrival.receipt.id, "completed", run, 9_000)).toBe(false);
      expect(await store.unrecognizedReceipts({ limit: 10 })).toEqual([]);
      expect(await store.receipts("tsk_1")).toMatchObject([{ verdict: "accepted", reported_status: "completed" }]);
      expect(await claim(9_000)).toHaveLength(1);
    });

    it("the store writes a batch whole or not at all: one in which an arrival cannot be decided leaves no trace", async () => {
      const broken = anArrival(aRun({ run_id: "tsk_2" }));
      broken.run = {
        id: "tsk_2",
        decide: () => {
          throw new Error("a bug in deciding");
        },
      };
      await expect(store.accept([anArrival(aRun()), broken])).rejects.toMatchObject({
        name: "DecisionCrashed",
        cause: new Error("a bug in deciding"),
      });
      expect(await store.run("tsk_1")).toBeNull();
      expect(await store.receipts("tsk_1")).toEqual([]);
      expect(await store.accept([anArrival(aRun())])).toMatchObject([{ verdict: "accepted" }]);
    });

    it("the store keeps every digit of numbers in outputs", async () => {
      const output = parseJson('{"a":12345678901234567890,"b":1e-07,"c":128.0}');
      await store.accept([anArrival(aRun({ output }))]);
      expect(JSON.stringify((await store.run("tsk_1"))?.state.run.output)).toBe(
        '{"a":12345678901234567890,"b":1e-07,"c":128.0}',
      );
    });
  });

  describe("the outbox", () => {
    it("the outbox leases what is due, once, and counts the attempt at the claim", async () => {
      await withDelivery();
      expect(await claim(999)).toEqual([]);
      expect(await claim(1_000)).toMatchObject([
        { delivery: { id: "dlv_1", state: "sending", attempts: 1 }, maybeSent: false, previous: null },
      ]);
      expect(await claim(1_000)).toEqual([]);
    });

    it("the outbox claims for one sink only, oldest due first, no more than the limit", async () => {
      await store.accept([
        anArrival(aRun(), { decision: { deliveries: [aDelivery("dlv_1", "mail")] } }),
        ...[2, 3, 4].map((i) =>
          anArrival(aRun({ run_id: `tsk_${i}`, received_at: 1_000 + i }), {
            decision: { deliveries: [aDelivery(`dlv_${i}`)] },
          }),
        ),
      ]);
      expect((await claim(9_000, { limit: 2 })).map(({ delivery }) => delivery.id)).toEqual(["dlv_2", "dlv_3"]);
      expect((await claim(9_000, { limit: 2 })).map(({ delivery }) => delivery.id)).toEqual(["dlv_4"]);
    });

    it("the outbox hands a delivery out again when its lease ran out, and says that it may have been sent", async () => {
      await withDelivery();
      await claim(1_000);
      expect(await claim(1_000 + MINUTE - 1)).toEqual([]);
      expect(await claim(1_000 + MINUTE)).toMatchObject([{ delivery: { attempts: 2 }, maybeSent: true }]);
    });

    it("the outbox reclaims the leases of a process that died, remembering that its attempts were cut short", async () => {
      await withDelivery();
      await claim(1_000);
      expect(await store.reclaimLeases(2_000)).toBe(1);
      expect(await claim(2_000)).toMatchObject([{ delivery: { attempts: 2 }, maybeSent: true }]);
    });

    it("the outbox counts attempts that were cut short, and lets their deliveries wait as configured, never longer than before", async () => {
      await withDelivery();
      await claim(1_000);
      await store.reclaimLeases(2_000, [500, 1_000]);
      expect(await claim(2_499)).toEqual([]);
      expect(await claim(2_500)).toMatchObject([{ delivery: { attempts: 2 }, cutShort: 1, firstTriedAt: null }]);
      await store.reclaimLeases(3_000, [500, 1_000]);
      await store.reclaimLeases(3_900, [500, 1_000]);
      expect(await claim(4_000)).toMatchObject([{ delivery: { attempts: 3 }, cutShort: 2 }]);
      const retry = { kind: "retry", reason: "later" } as const;
      await store.record(finished("dlv_1", { n: 3, startedAt: 4_000, outcome: retry, nextAttemptAt: 5_000 }));
      expect(await claim(5_000)).toMatchObject([{ delivery: { attempts: 4 }, cutShort: 2, firstTriedAt: 4_000 }]);
    });

    it("the outbox records a delivery with its receipt, and never hands it out again", async () => {
      await withDelivery();
      await claim(1_000);
      expect(await store.record(finished("dlv_1"))).toBe(true);
      expect(await claim(9e12)).toEqual([]);
      expect(await store.deliveries({ runId: "tsk_1" }, { limit: 1 })).toMatchObject([
        { state: "delivered", delivered_at: 1_100, receipt: { ts: "1.1" }, last_error: null, next_attempt_at: null },
      ]);
      expect(await store.attempts(["dlv_1"])).toEqual([
        { delivery_id: "dlv_1", n: 1, started_at: 1_000, finished_at: 1_100, outcome: "delivered", reason: null },
      ]);
    });

    it("the outbox records a retry with the time it is due, and whether the message may have arrived", async () => {
      await withDelivery();
      await claim(1_000);
      await store.record(
        finished("dlv_1", { outcome: { kind: "retry", reason: "no answer", unknown: true }, nextAttemptAt: 6_000 }),
      );
      expect(await store.nextDue(OPS, 2_000)).toBe(6_000);
      expect(await claim(5_999)).toEqual([]);
      expect(await claim(6_000)).toMatchObject([
        { delivery: { attempts: 2, last_error: "no answer" }, maybeSent: true },
      ]);
    });

    it("the outbox records a death with its reason", async () => {
      await withDelivery();
      await claim(1_000);
      await store.record(finished("dlv_1", { outcome: { kind: "dead", reason: "no such channel" } }));
      expect(await store.deliveries({ state: ["dead"] }, { limit: 1 })).toMatchObject([
        { last_error: "no such channel" },
      ]);
      expect(await store.nextDue(OPS, 2_000)).toBeNull();
    });

    it("the outbox writes nothing for an attempt whose lease went to another", async () => {
      await withDelivery();
      await claim(1_000);
      await claim(1_000 + MINUTE);
      expect(await store.record(finished("dlv_1", { n: 1 }))).toBe(false);
      expect(await store.attempts(["dlv_1"])).toEqual([]);
      expect(await store.record(finished("dlv_1", { n: 2 }))).toBe(true);
    });

    it("the outbox holds a correction back until what it corrects is done, and hands it the first message's receipt", async () => {
      await withDelivery("dlv_1");
      const correction = aDelivery("dlv_2", "ops", { cause: "correction" });
      await store.accept([anArrival(aRun({ received_at: 2_000 }), { decision: { deliveries: [correction] } })]);
      expect((await claim(3_000)).map(({ delivery }) => delivery.id)).toEqual(["dlv_1"]);
      expect(await claim(3_000)).toEqual([]);
      await store.record(finished("dlv_1"));
      expect(await claim(3_000)).toMatchObject([
        { delivery: { id: "dlv_2", cause: "correction", revision: 2 }, previous: { ts: "1.1" } },
      ]);
    });

    it("the outbox shows pending deliveries to a removed sink as dead", async () => {
      await withDelivery();
      expect(await store.deadLetterOrphans(["ops"], "gone")).toBe(0);
      expect(await store.deadLetterOrphans(["other"], "gone")).toBe(1);
      expect(await store.deliveries({ state: ["dead"] }, { limit: 1 })).toMatchObject([{ last_error: "gone" }]);
    });

    it("the outbox redelivers as a new delivery of the current revision", async () => {
      await withDelivery();
      await claim(1_000);
      await store.record(finished("dlv_1"));
      const made = await store.redeliver("tsk_1", [aDelivery("dlv_2", "ops", { cause: "redelivery" })], 5_000);
      expect(made).toMatchObject([
        { id: "dlv_2", cause: "redelivery", state: "pending", revision: 1, created_at: 5_000 },
      ]);
      expect(await claim(5_000)).toHaveLength(1);
      expect(await store.redeliver("tsk_unknown", [], 5_000)).toBeNull();
    });

    it("the outbox does not count a throttled attempt, but remembers it", async () => {
      await withDelivery();
      await claim(1_000);
      await store.record(
        finished("dlv_1", { outcome: { kind: "retry", reason: "slow down", throttled: true }, nextAttemptAt: 2_000 }),
      );
      expect(await claim(2_000)).toMatchObject([{ delivery: { attempts: 2 }, throttled: 1, maybeSent: false }]);
    });

    it("a delivery that is released before it was attempted is as if it had never been claimed", async () => {
      await withDelivery("dlv_1");
      await withDelivery("dlv_2", aRun({ run_id: "tsk_2" }));
      await claim(1_000);
      await store.release(["dlv_1"], 1_500);
      expect(await claim(1_499)).toEqual([]);
      expect(await claim(1_500)).toMatchObject([
        { delivery: { id: "dlv_1", attempts: 1 }, maybeSent: false, cutShort: 0 },
      ]);
    });

    it("the outbox does not hand out what this process still works on, even when its lease has run out", async () => {
      await withDelivery();
      await claim(1_000);
      expect(await claim(1_000 + MINUTE, { except: ["dlv_1"] })).toEqual([]);
    });

    it("the outbox holds a later delivery of the same run back, and says when that can be had", async () => {
      await withDelivery("dlv_1");
      await store.redeliver("tsk_1", [aDelivery("dlv_2", "ops", { cause: "redelivery" })], 1_500);
      await claim(2_000);
      await store.record(finished("dlv_1", { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 9_000 }));
      expect(await claim(3_000)).toEqual([]);
      expect(await store.nextDue(OPS, 3_000)).toBe(9_000);
    });

    describe("of an ordered sink", () => {
      const ORDERED = { sink: "ops", holdMs: 60_000 };
      const claimId = async (now: number) => (await claim(now, {}, ORDERED)).map(({ delivery }) => delivery.id);
      beforeEach(async () => {
        for (const i of [1, 2, 3]) await withDelivery(`dlv_${i}`, aRun({ run_id: `tsk_${i}`, received_at: 1_000 }));
      });

      it("a delivery of an ordered sink goes out alone, in the order of arrival", async () => {
        expect(await claimId(2_000)).toEqual(["dlv_1"]);
        expect(await claimId(2_000)).toEqual([]);
        await store.record(finished("dlv_1"));
        expect(await claimId(2_000)).toEqual(["dlv_2"]);
      });

      it("a delivery of an ordered sink is held up by an earlier one that is to be tried again soon", async () => {
        await claimId(2_000);
        await store.record(finished("dlv_1", { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 7_000 }));
        expect(await claimId(2_000)).toEqual([]);
        expect(await store.nextDue(ORDERED, 2_000)).toBe(7_000);
        expect(await claimId(7_000)).toEqual(["dlv_1"]);
      });

      it("a delivery of an ordered sink is not held up by an earlier one that waits longer", async () => {
        await claimId(2_000);
        await store.record(finished("dlv_1", { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 600_000 }));
        expect(await claimId(2_000)).toEqual(["dlv_2"]);
        await store.record(finished("dlv_2"));
        expect(await claimId(2_000)).toEqual(["dlv_3"]);
        await store.record(finished("dlv_3"));
        expect(await store.nextDue(ORDERED, 2_000)).toBe(600_000);
        expect(await claimId(600_000)).toEqual(["dlv_1"]);
      });
    });

    it("a delivery expires only when it is too old and was attempted", async () => {
      const RETRIED = { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 90_000 } as const;
      await withDelivery("dlv_1");
      await withDelivery("dlv_2", aRun({ run_id: "tsk_2", received_at: 5_000 }));
      await claim(6_000);
      await store.record(finished("dlv_1", RETRIED));
      await store.record(finished("dlv_2", RETRIED));
      await withDelivery("dlv_3", aRun({ run_id: "tsk_3" }));
      expect(await store.expire("ops", 5_000, "too old")).toEqual(["dlv_1"]);
      expect(await store.deliveries({ state: ["dead"] }, { limit: 9 })).toMatchObject([
        { id: "dlv_1", last_error: "too old" },
      ]);
    });

    it("the outbox brings due times forward when the clock was set back", async () => {
      await withDelivery();
      await claim(1_000);
      await store.record(finished("dlv_1", { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 90_000 }));
      await store.shiftDue(80_000);
      expect(await store.nextDue(OPS, 0)).toBe(10_000);
    });

    it("the outbox keeps the circuit of each sink with its attempts", async () => {
      await withDelivery();
      await claim(1_000);
      const circuit = { ...CLOSED, state: "open", failures: 5, until: 9_000, reason: "no answer" } as const;
      await store.record(
        finished("dlv_1", { outcome: { kind: "retry", reason: "no answer" }, nextAttemptAt: 2_000, circuit }),
      );
      expect(await store.circuits()).toEqual(new Map([["ops", circuit]]));
      await store.saveCircuit("ops", CLOSED);
      expect(await store.circuits()).toEqual(new Map([["ops", CLOSED]]));
    });

    it("the outbox redelivers in bulk what fits a filter, once for each run and sink, and nothing that is pending already", async () => {
      for (const i of [1, 2, 3]) {
        await withDelivery(`dlv_${i}`, aRun({ run_id: `tsk_${i}`, received_at: 1_000 + i }));
        await claim(2_000);
        await store.record(finished(`dlv_${i}`, { outcome: { kind: "dead", reason: "gone" } }));
      }
      await store.redeliver("tsk_3", [aDelivery("dlv_4", "ops", { cause: "redelivery" })], 3_000);
      const ids = ["dlv_5", "dlv_6", "dlv_7"];
      expect(await store.redeliverable({ state: ["dead"] }, 100)).toBe(2);
      expect(await store.redeliverable({ state: ["dead"] }, 1)).toBe(1);
      expect(await store.redeliverAll({ state: ["dead"] }, ids, 4_000)).toBe(2);
      expect(await store.redeliverAll({ state: ["dead"] }, ids, 4_000)).toBe(0);
      const waiting = await store.deliveries({ state: ["pending"] }, { limit: 9 });
      expect(waiting.map(({ id, run_id, cause }) => [id, run_id, cause])).toEqual([
        ["dlv_6", "tsk_2", "redelivery"],
        ["dlv_5", "tsk_1", "redelivery"],
        ["dlv_4", "tsk_3", "redelivery"],
      ]);
    });

    it("the outbox reports the backlog of each sink and counts by state", async () => {
      await withDelivery();
      await withDelivery("dlv_2", aRun({ run_id: "tsk_2", received_at: 2_000 }));
      await claim(1_500);
      expect(await store.backlog()).toEqual([{ sink: "ops", size: 2, oldest: 1_000 }]);
      expect((await store.counts()).deliveries).toEqual([
        { sink: "ops", state: "pending", count: 1 },
        { sink: "ops", state: "sending", count: 1 },
      ]);
    });
  });

  describe("artifacts", () => {
    it("artifacts of a run that was pruned while they were asked for are not saved", async () => {
      const artifacts = [{ artifact_id: "a_1", type: "har", created_at: 1 }];
      const last = store.lastChange();
      await store.saveArtifacts("tsk_gone", { artifacts, status: "complete" }, 5);
      expect(await store.artifacts("tsk_gone")).toEqual({ artifacts: [], status: "pending" });
      expect(store.lastChange()).toBe(last);
    });

    it("artifacts are saved with their status, replaced as a whole, in order", async () => {
      await withDelivery();
      const one = { artifact_id: "a_1", type: "recording", created_at: 5 };
      const two = { artifact_id: "a_2", type: "screenshot_final", created_at: null };
      await store.saveArtifacts("tsk_1", { artifacts: [one], status: "partial" }, null);
      await store.saveArtifacts("tsk_1", { artifacts: [two, one], status: "complete" }, null);
      expect(await store.artifacts("tsk_1")).toEqual({ artifacts: [two, one], status: "complete" });
      expect(await store.run("tsk_1")).toMatchObject({ artifacts: [two, one], status: "complete" });
    });

    it("artifacts are saved with the attempt that found them, and known to the claims after it", async () => {
      await withDelivery();
      await withDelivery("dlv_2", aRun({ run_id: "tsk_2" }));
      expect((await claim(1_000)).map(({ artifactsStatus }) => artifactsStatus)).toEqual(["pending", "pending"]);
      const artifacts = [{ artifact_id: "a_1", type: "recording", created_at: 5 }];
      const retry = { outcome: { kind: "retry", reason: "busy" }, nextAttemptAt: 2_000 } as const;
      const [first, last] = await Promise.all([
        store.record(
          finished("dlv_1", {
            ...retry,
            found: { runId: "tsk_1", known: { artifacts, status: "complete" }, followUpAt: null },
          }),
        ),
        store.record(
          finished("dlv_2", {
            ...retry,
            found: { runId: "tsk_2", known: { artifacts: [], status: "unavailable" }, followUpAt: 3_000 },
          }),
        ),
      ]);
      expect([first, last]).toEqual([true, true]);
      expect(await store.artifacts("tsk_1")).toEqual({ artifacts, status: "complete" });
      expect(await store.nextFollowUpAt()).toBe(3_000);
      expect((await claim(2_000)).map(({ artifactsStatus }) => artifactsStatus)).toEqual(["complete", "unavailable"]);
    });

    it("artifacts are saved also when the attempt had lost its lease", async () => {
      await withDelivery();
      const artifacts = [{ artifact_id: "a_1", type: "recording", created_at: 5 }];
      const found = { runId: "tsk_1", known: { artifacts, status: "complete" }, followUpAt: null } as const;
      expect(await store.record(finished("dlv_1", { found }))).toBe(false);
      expect(await store.artifacts("tsk_1")).toEqual({ artifacts, status: "complete" });
    });

    it("a follow-up that a dispute planned during the attempt is not replaced", async () => {
      await withDelivery();
      await store.setFollowUp("tsk_1", { at: 1_000, failures: 0, since: 0 });
      const run = aRun({ run_id: "tsk_1", received_at: 2_000 });
      await store.accept([anArrival(run, { decision: { verdict: "disputed", followUpAt: 2_000, deliveries: [] } })]);
      await store.setFollowUp("tsk_1", { at: null, failures: 3, since: 1_500 });
      expect(await store.nextFollowUpAt()).toBe(2_000);
      await store.setFollowUp("tsk_1", { at: null, failures: 0, since: 2_500 });
      expect(await store.nextFollowUpAt()).toBeNull();
    });

    it("a run may have a thousand artifacts", async () => {
      await withDelivery();
      const artifacts = Array.from({ length: 1_200 }, (_x, i) => ({
        artifact_id: `a_${i}`,
        type: "har",
        created_at: i,
      }));
      await store.saveArtifacts("tsk_1", { artifacts, status: "complete" }, null);
      expect((await store.artifacts("tsk_1")).artifacts).toEqual(artifacts);
    });
  });

  describe("history", () => {
    const runs = [
      aRun({ run_id: "a", received_at: 1, status: "completed", run_type: "task_v1", channel: "x" }),
      aRun({
        run_id: "b",
        received_at: 2,
        status: "failed",
        run_type: "task_v2",
        organization_id: "o_1",
        source: "reconciled",
      }),
      aRun({
        run_id: "c",
        received_at: 2,
        status: "failed",
        title: "Invoices",
        workflow: { run_id: "wr_1", permanent_id: "wpid_1", id: null, title: "Invoices" },
      }),
      aRun({ run_id: "d", received_at: 4, status: "timed_out" }),
    ];
    beforeEach(async () => {
      await store.accept(
        runs.map((run) => anArrival(run, { decision: run.run_id === "d" ? { deliveries: [aDelivery("dlv_d")] } : {} })),
      );
    });
    const ids = async (filter: Parameters<Store["runs"]>[0], page = { limit: 10 }) =>
      (await store.runs(filter, page)).runs.map(({ state }) => state.run.run_id);

    it.each([
      ["everything, newest first", {}, ["d", "c", "b", "a"]],
      ["a status", { status: ["failed"] }, ["c", "b"]],
      ["several statuses", { status: ["failed", "timed_out"] }, ["d", "c", "b"]],
      ["a run type", { run_type: ["task_v2"] }, ["b"]],
      ["a workflow's id", { workflow: ["wpid_1"] }, ["c"]],
      ["a workflow's title", { workflow: ["Invoices"] }, ["c"]],
      ["an organization", { organization: ["o_1"] }, ["b"]],
      ["a channel", { channel: ["x"] }, ["a"]],
      ["a source", { source: ["reconciled"] }, ["b"]],
      ["since, inclusive", { since: 2 }, ["d", "c", "b"]],
      ["until, exclusive", { until: 2 }, ["a"]],
      ["a sink", { sink: ["ops"] }, ["d"]],
      ["a state of delivery", { delivery: ["pending"] }, ["d"]],
      ["a sink and a state it is not in", { sink: ["ops"], delivery: ["dead"] }, []],
      ["several filters at once", { status: ["failed"], since: 2, workflow: ["wpid_1"] }, ["c"]],
    ])("the history filters runs by %s", async (_name, filter, expected) => {
      expect(await ids(filter)).toEqual(expected);
    });

    it("the list items of runs have the newest delivery of every sink", async () => {
      const long = "long ".repeat(300_000);
      await store.redeliver("a", [aDelivery("dlv_e", "mail"), aDelivery("dlv_f", "ops")], 9);
      await store.redeliver("a", [aDelivery("dlv_g", "ops")], 10);
      await store.accept([
        anArrival(
          aRun({
            run_id: "e",
            received_at: 9,
            status: "failed",
            channel: "x",
            prompt: long,
            summary: long,
            output: long,
            url: "https://user:pass@portal.example:8443/a?b=c",
            failure: { reason: long, codes: [], categories: [], errors: [] },
            started_at: 1_000,
            finished_at: 4_500,
          }),
        ),
      ]);
      const [e, d, c, , a] = await store.listItems({}, { limit: 10 });
      expect(e).toEqual({
        run_id: "e",
        status: "failed",
        run_type: "task_v1",
        title: long.slice(0, 240),
        channel: "x",
        workflow: null,
        site: "portal.example",
        reason: long.slice(0, 240),
        duration_ms: 3_500,
        received_at: 9,
        deliveries: [],
      });
      expect(d?.deliveries).toEqual([{ sink: "ops", state: "pending" }]);
      expect(c).toMatchObject({ title: "Invoices", workflow: "wpid_1" });
      expect(a?.deliveries).toEqual([
        { sink: "mail", state: "pending" },
        { sink: "ops", state: "pending" },
      ]);
      const only = await store.listItems({ status: ["failed"] }, { limit: 1, after: { at: 9, id: "e" } });
      expect(only.map(({ run_id }) => run_id)).toEqual(["c"]);
      expect(await store.listItems({ delivery: ["dead"] }, { limit: 1 })).toEqual([]);
    });

    it("the list item of a run follows the run as its outcome changes", async () => {
      await store.accept([anArrival(aRun({ run_id: "a", received_at: 1, status: "failed" }), { hash: "again" })]);
      expect((await store.listItems({}, { limit: 10 })).at(-1)).toMatchObject({ run_id: "a", status: "failed" });
    });

    const pageAfterC = { limit: 2, after: { at: 2, id: "c" } };
    it("the history pages by key, so that runs that arrive meanwhile shift nothing", async () => {
      expect(await ids({}, { limit: 2 })).toEqual(["d", "c"]);
      await store.accept([anArrival(aRun({ run_id: "e", received_at: 9 }))]);
      expect(await ids({}, pageAfterC)).toEqual(["b", "a"]);
    });

    it("the history lists deliveries newest first, by sink, state and time, in pages", async () => {
      await store.redeliver("a", [aDelivery("dlv_e", "mail"), aDelivery("dlv_f", "ops")], 9);
      const list = async (filter: Parameters<Store["deliveries"]>[0], page: Parameters<Store["deliveries"]>[1]) =>
        (await store.deliveries(filter, page)).map(({ id }) => id);
      expect(await list({}, { limit: 10 })).toEqual(["dlv_f", "dlv_e", "dlv_d"]);
      expect(await list({}, { limit: 10, after: { at: 9, id: "dlv_f" } })).toEqual(["dlv_e", "dlv_d"]);
      expect(await list({ sink: ["ops"], since: 4, until: 9 }, { limit: 10 })).toEqual(["dlv_d"]);
      expect(await list({ state: ["delivered"] }, { limit: 10 })).toEqual([]);
    });
  });

  it("the store keeps the first value of a setting", async () => {
    expect(await store.setting("link_key", "one")).toBe("one");
    expect(await store.setting("link_key", "two")).toBe("one");
  });

  it("the store answers a ping with a write", async () => {
    await store.ping(5);
    expect(await store.setting("last_ping", "none")).toBe("5");
  });
});
