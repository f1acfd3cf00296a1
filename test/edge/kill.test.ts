/** P1 inside workerd: what was answered with 200 outlives the process, and is delivered by the next one. */
import { afterAll, expect, it, onTestFinished } from "vitest";
import { bundleEdge } from "../../scripts/edge/bundle.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { startWorkerd, type Workerd } from "../../scripts/edge/workerd.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { TOKEN } from "../support/app.ts";
import { FIXTURE_KEY, signatureOf } from "../support/fixtures.ts";
import { until } from "../support/until.ts";
import { aFolderUntil } from "./support.ts";

/** 50 in the long form. */
const ROUNDS = process.env["RELAY_FAULTS"] === "long" ? 50 : 5;
const worker = await bundleEdge();
const folder = aFolderUntil(afterAll);

async function surroundings() {
  const sink = await startHttpSink();
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
  onTestFinished(() => sink.close());
  onTestFinished(() => skyvern.close());
  const env = {
    SKYVERN_API_KEY: FIXTURE_KEY,
    SKYVERN_BASE_URL: skyvern.url,
    PUBLIC_URL: "https://relay.example.com",
    RELAY_TOKEN: TOKEN,
    SINK_URL: sink.url,
    ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    RELAY_YAML: "delivery: { schedule: [100ms, 100ms, 100ms, 100ms, 100ms, 1s, 1s], timeout: 2s }",
  };
  const start = async (): Promise<Workerd> => {
    const relay = await startWorkerd({ folder, worker, env });
    onTestFinished(() => relay.kill());
    return relay;
  };
  return { sink, start };
}

async function send(relay: Workerd, runId: string): Promise<JsonObject> {
  const body = JSON.stringify({ run_id: runId, status: "completed", output: {} });
  const headers = { "content-type": "application/json", "x-skyvern-signature": signatureOf(body) };
  const answer = await fetch(`${relay.url}/webhook`, { method: "POST", headers, body });
  expect(answer.status).toBe(200);
  return (await answer.json()) as JsonObject;
}

async function read(relay: Workerd, path: string): Promise<{ data: JsonObject[] }> {
  const answer = await fetch(relay.url + path, { headers: { authorization: `Bearer ${TOKEN}` } });
  expect(answer.status).toBe(200);
  return (await answer.json()) as { data: JsonObject[] };
}

it(
  `a relay that is killed between answer and delivery, ${ROUNDS} times, delivers each run after the restart, by itself, under one id`,
  async () => {
    const { sink, start } = await surroundings();
    let relay = await start();
    for (let round = 0; round < ROUNDS; round += 1) {
      const runId = `tsk_${round}`;
      // By turns: the sink has not been asked yet, it hangs, it breaks off, it is away.
      const fault = [null, { hang: true }, { reset: true }, { status: 503 }][round % 4];
      if (fault) sink.answers.push(fault);
      const asked = sink.requests.length;
      expect(await send(relay, runId)).toEqual({ run_id: runId, result: "accepted" });
      if (fault) await until("the sink was asked", () => sink.requests.length > asked);
      await relay.kill();
      const told = () =>
        sink.requests.filter(({ body }) => (JSON.parse(body) as { data: JsonObject }).data["run_id"] === runId);
      const before = fault ? told().length : 0;

      relay = await start();

      // Nobody asks the relay anything: its alarm is what wakes it.
      await until(`round ${round} is delivered`, () => told().length > before);
      expect(new Set(told().map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    }
    await until("every delivery is recorded", async () => {
      const { data } = await read(relay, "/v1/deliveries?state=delivered&limit=200");
      return data.length === ROUNDS;
    });
    expect(await send(relay, "tsk_0")).toEqual({ run_id: "tsk_0", result: "duplicate" });
  },
  30_000 + ROUNDS * 20_000,
);
