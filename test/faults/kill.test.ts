/** P1: what was answered with 200 outlives the process, whatever ends it. */
import { join } from "node:path";
import { onTestFinished, describe, expect, it } from "vitest";
import { startHttpSink, type HttpSinkStandIn } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { aFolder } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes } from "../support/fixtures.ts";
import { kill9, runProgram, serve } from "../support/process.ts";
import { until } from "../support/until.ts";

const aRun = (n: number): string => JSON.stringify({ run_id: `tsk_${n}`, status: "completed", output: { n } });
const FAST = "delivery: { schedule: [100ms, 100ms, 100ms, 100ms, 100ms], timeout: 2s }";

/** A database, a sink and a Skyvern that outlive every relay of the test. */
async function surroundings(): Promise<{ env: Record<string, string>; sink: HttpSinkStandIn }> {
  const sink = await startHttpSink();
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
  onTestFinished(() => sink.close());
  onTestFinished(() => skyvern.close());
  const env = {
    DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`,
    SINK_URL: sink.url,
    SKYVERN_BASE_URL: skyvern.url,
  };
  return { env, sink };
}

const runIdOf = (body: string): unknown => (JSON.parse(body) as { data: JsonObject }).data["run_id"];

describe("kill -9", () => {
  it.each([
    ["the sink hangs", { hang: true }],
    ["the sink resets the connection", { reset: true }],
    ["the sink is away", { status: 503 }],
  ])(
    "kill -9 between the 200 and the delivery, while %s, leaves a delivery that comes after a restart, under the same id",
    async (_what, fault) => {
      const { env, sink } = await surroundings();
      sink.answers.push(fault);
      const first = await serve(env, FAST);
      expect((await first.webhook(fixtureBytes("task_v2.completed"))).json["result"]).toBe("accepted");
      await until("the sink was asked", () => sink.requests.length >= 1);
      await kill9(first);
      const before = sink.requests.length;

      const second = await serve(env, FAST);

      await until("the run is delivered", async () => {
        const { data } = await second.read<{ data: JsonObject[] }>("/v1/deliveries?state=delivered");
        return data.length === 1;
      });
      expect(sink.requests.length).toBeGreaterThan(before - 1);
      expect(new Set(sink.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
      expect((await second.webhook(fixtureBytes("task_v2.completed"))).json["result"]).toBe("duplicate");
    },
  );

  it("kill -9 right after the answer does not lose the delivery", async () => {
    const { env, sink } = await surroundings();
    const first = await serve(env, FAST);
    await first.webhook(aRun(1));
    await kill9(first);

    await serve(env, FAST);

    await until("the sink has it", () => sink.requests.some(({ body }) => runIdOf(body) === "tsk_1"));
  });

  it("kill -9 between the answer and the search index leaves a run that a search finds after a restart", async () => {
    const { env } = await surroundings();
    const first = await serve(env, FAST);
    await first.webhook(JSON.stringify({ run_id: "tsk_1", status: "completed", output: { note: "a pelican" } }));
    await kill9(first);

    const second = await serve(env, FAST);

    const { data } = await second.read<{ data: JsonObject[] }>("/v1/runs?q=pelican");
    expect(data.map(({ run_id: id }) => id)).toEqual(["tsk_1"]);
  });

  it("kill -9 while 50 webhooks come in leaves each that was answered 200 stored and delivered, and none stored in half", async () => {
    const { env, sink } = await surroundings();
    const first = await serve(env, FAST);
    const answered: string[] = [];
    const killed = Promise.withResolvers<void>();
    let killing = false;
    await Promise.allSettled(
      Array.from({ length: 50 }, async (_, n) => {
        // A few at a time, so that some come before the kill and some after.
        if (n >= 10) await until("a turn", () => answered.length > n - 10 || killing);
        const { status, json } = await first.webhook(aRun(n));
        if (status === 200) answered.push(String(json["run_id"]));
        if (answered.length < 20 || killing) return;
        killing = true;
        killed.resolve(kill9(first));
      }),
    );
    await killed.promise;
    expect(answered.length).toBeGreaterThanOrEqual(20);
    expect(answered.length).toBeLessThan(50);

    const second = await serve(env, FAST);

    const { data } = await second.read<{ data: JsonObject[] }>("/v1/runs?limit=200");
    const there = data.map(({ run_id: id }) => id);
    expect(there).toEqual(expect.arrayContaining(answered));
    await until("every run that is there is delivered", () => {
      const told = new Set(sink.requests.map(({ body }) => runIdOf(body)));
      return there.every((id) => told.has(id));
    });
    for (const id of there) {
      expect(await second.read(`/v1/runs/${String(id)}`)).toMatchObject({
        deliveries: [{}],
        receipts: [{ verdict: "accepted" }],
      });
    }
    // Skyvern comes again with those it got no answer for.
    for (let n = 0; n < 50; n++) {
      const { status, json } = await second.webhook(aRun(n));
      expect([status, json["result"]]).toEqual([200, there.includes(`tsk_${n}`) ? "duplicate" : "accepted"]);
    }
  });
});

it("a second process on the same database ends with 1 and says why, and the first goes on", async () => {
  const { env } = await surroundings();
  const first = await serve(env);

  const second = runProgram(["serve"], { ...env, SKYVERN_API_KEY: FIXTURE_KEY, HOST: "127.0.0.1", PORT: "0" });

  const { code, stderr } = await second.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/another skyvern-relay process runs on this database/);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect((await first.webhook(aRun(1))).status).toBe(200);
});
