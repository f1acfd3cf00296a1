import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import type { Why } from "../../src/history/why.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { aRuntime } from "../support/runtime.ts";

const aRun = (id: string): string => JSON.stringify({ run_id: id, status: "completed" });
const why = (relay: TestApp, id: string) => relay.read<Why & JsonObject>(`/v1/runs/${encodeURIComponent(id)}/why`);
const sinkOf = async (relay: TestApp, name: string) =>
  (await relay.read<{ data: JsonObject[] }>("/v1/sinks")).data.find((sink) => sink["name"] === name);

describe("why of a run whose sink gets nothing now", () => {
  it("why says that the sink is failing, when it is tried, and how to try now", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { standIns: ["http"], runtime, file: "delivery: { schedule: [1h] }" });
    for (let i = 0; i < 6; i++) {
      relay.standIns.http.answers.push({ status: 500 });
      await relay.webhook(aRun(`tsk_${i}`));
    }
    await relay.deliver();
    const waiting = await why(relay, "tsk_5");
    const { retry_at } = (await sinkOf(relay, "http")) ?? {};
    expect(waiting.summary).toEqual([
      expect.stringMatching(
        /^Pending: not delivered to http yet: http is failing \(.* answered 500\)\. The relay tries one/,
      ),
    ]);
    expect(waiting.summary[0]).toContain(`at ${String(retry_at)} and sends the rest when it succeeds`);
    expect(waiting.summary[0]).toContain("POST /v1/sinks/http/resume");
    // What its own schedule says does not happen while the circuit is open.
    expect(JSON.stringify((await why(relay, "tsk_0")).timeline)).not.toContain("Next try");
  });

  it("why says that the sink was stopped by its 410, and what to do with the delivery that got it", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    relay.standIns.http.answers.push({ status: 410 });
    await relay.webhook(aRun("tsk_1"));
    await relay.deliver();
    await relay.webhook(aRun("tsk_2"));
    await relay.deliver();
    expect((await why(relay, "tsk_1")).summary[0]).toMatch(
      /410.*The relay stopped http: resume it .*, then: skyvern-relay redeliver tsk_1 --sink http$/,
    );
    expect((await why(relay, "tsk_2")).summary[0]).toMatch(
      /^Pending: not delivered to http yet: http asked for no more deliveries .*410.*Nothing is sent until you resume it: POST/,
    );
  });
});

describe("why of a run that no route matched", () => {
  const routes = "routes: [{ name: failures, when: { status: failed }, to: [http] }]";

  it("why says how to send a run that no route matched, and where later runs are decided", async () => {
    const relay = await anApp({}, { standIns: ["http", "slack"], file: routes });
    await relay.webhook(aRun("tsk_1"));
    const { summary } = await why(relay, "tsk_1");
    expect(summary[0]).toBe("Nothing was delivered: no route matched.");
    expect(summary[1]).toMatch(/^To send it anyway: skyvern-relay redeliver tsk_1 --sink \w+ \(there are /);
    expect(summary[1]).toContain("routes in relay.yaml");
    const refused = await relay.post("/v1/runs/tsk_1/redeliver", {});
    expect(refused.status).toBe(409);
    expect(refused.text).toMatch(/No route chose a sink for this run\. Say which: \w+ or \w+\./);
  });

  it("why says that a run arrived while no sink was configured", async () => {
    const relay = await anApp();
    await relay.webhook(aRun("tsk_1"));
    expect((await why(relay, "tsk_1")).summary).toEqual(["Nothing was delivered: no sink is configured."]);
  });

  it("why quotes an id that a shell would take for more than a word", async () => {
    const relay = await anApp({}, { standIns: ["http"], file: routes });
    const id = "tsk_1'; rm -rf ~";
    await relay.webhook(aRun(id));
    expect((await why(relay, id)).summary[1]).toContain("redeliver 'tsk_1'\\''; rm -rf ~' --sink http");
  });
});

it("a dead delivery that a later one made good is no longer counted or listed as dead", async () => {
  const runtime = aRuntime();
  const relay = await anApp({}, { standIns: ["http"], runtime });
  for (const id of ["tsk_1", "tsk_2"]) {
    relay.standIns.http.answers.push({ status: 404 });
    await relay.webhook(aRun(id));
    await relay.deliver();
  }
  const failed = await sinkOf(relay, "http");
  expect(failed).toMatchObject({ dead: 2, state: "closed" });
  expect(failed?.["last_failure_at"]).not.toBeNull();
  // The first resend is refused too: still one run to send, though two of its deliveries are dead.
  relay.standIns.http.answers.push({ status: 404 });
  await relay.post("/v1/runs/tsk_1/redeliver", {});
  await relay.deliver();
  await relay.post("/v1/runs/tsk_1/redeliver", {});
  runtime.advance(1_000);
  await relay.deliver();
  expect(await sinkOf(relay, "http")).toMatchObject({ dead: 1 });
  const dead = await relay.read<{ data: JsonObject[] }>("/v1/deliveries?state=dead");
  expect(dead.data.map((delivery) => delivery["run_id"])).toEqual(["tsk_2"]);
  expect((await relay.get("/metrics")).text).toMatch(/dead_deliveries\{sink="http"\} 1/);
  expect(JSON.stringify((await why(relay, "tsk_1")).timeline)).toContain("a later delivery to this sink arrived");
});

it("why of an unknown run does not ask for a webhook address where the relay reads Skyvern's list", async () => {
  const relay = await anApp({ PUBLIC_URL: undefined });
  const { status, text } = await relay.get("/v1/runs/tsk_0/why");
  expect(status).toBe(404);
  expect(text).toContain("The relay asks Skyvern for its runs every 10s, and this one was not among them.");
  expect(text).toContain("skyvern-relay doctor");
  expect(text).not.toContain("webhook address");
});

it("the history API says of a wrong token that it is wrong, and of a missing one how to send it", async () => {
  const relay = await anApp();
  const ask = async (headers: Record<string, string>) => {
    const answer = await relay.app.fetch(new Request("http://relay/v1/runs", { headers }));
    return `${answer.status} ${await answer.text()}`;
  };
  expect(await ask({})).toMatch(/^401 .*Send `Authorization: Bearer <RELAY_TOKEN>`/);
  expect(await ask({ authorization: "Bearer not-the-token-of-it" })).toMatch(/^401 .*This is not the relay's token/);
});
