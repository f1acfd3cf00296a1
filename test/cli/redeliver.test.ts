import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { FIXTURE_KEY, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW, type TestRuntime } from "../support/runtime.ts";

let relay: TestApp;
let database: string;
let runtime: TestRuntime;

/** A relay on a file, and two results that its HTTP sink refused for good. */
beforeEach(async () => {
  database = `sqlite:${join(aFolder(), "relay.db")}`;
  runtime = aRuntime();
  relay = await anApp({ DATABASE_URL: database }, { standIns: ["http"], runtime });
  for (const runId of ["tsk_1", "tsk_2"]) {
    await relay.webhook(mutated("task_v1.completed", { run_id: runId, task_id: runId }));
  }
  relay.standIns.http.answers.push({ status: 400 }, { status: 400 });
  await relay.deliver();
});

async function redeliver(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  const code = await runCli(["redeliver", ...args], {
    env: {
      RELAY_CONFIG: "",
      SKYVERN_API_KEY: FIXTURE_KEY,
      DATABASE_URL: database,
      SINK_URL: relay.standIns.http.url,
      ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped: new AbortController().signal,
  });
  return { code, stdout, stderr };
}

const states = async (): Promise<string[]> => {
  const { data } = await relay.read<{ data: { run_id: string; cause: string; state: string }[] }>("/v1/deliveries");
  return data.map(({ run_id, cause, state }) => `${run_id} ${cause} ${state}`).toSorted();
};
const DEAD = ["tsk_1 result dead", "tsk_2 result dead"];

describe("redeliver <run_id>", () => {
  it("redeliver makes a new delivery beside a relay that has the database, which sends it", async () => {
    const { code, stdout, stderr } = await redeliver("tsk_1");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^tsk_1 → http \(dlv_\w+\)\nA running relay sends them within half a minute/);
    expect(await states()).toEqual(["tsk_1 redelivery pending", ...DEAD]);
    runtime.advance(Date.now() - NOW);
    await relay.deliver();
    expect(await states()).toEqual(["tsk_1 redelivery delivered", "tsk_1 result canceled", "tsk_2 result dead"]);
    expect(relay.standIns.http.requests.at(-1)?.headers["webhook-id"]).toBe(/dlv_\w+/.exec(stdout)?.[0]);
  });

  it("redeliver --json prints the deliveries made", async () => {
    const { stdout } = await redeliver("tsk_1", "--sink", "http", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ data: [{ run_id: "tsk_1", sink: "http", cause: "redelivery" }] });
  });

  it("redeliver fails with 1 and says why for an unknown run and for one that is not final", async () => {
    expect(await redeliver("tsk_9")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("tsk_9") });
    await relay.webhook(mutated("task_v1.running-nonterminal", { run_id: "tsk_3" }));
    expect(await redeliver("tsk_3")).toMatchObject({ code: 1, stderr: expect.stringContaining("not final") });
    expect(await states()).toEqual(DEAD);
  });
});

describe("redeliver --state", () => {
  it("redeliver --state makes a delivery for each that fits, and a second call finds nothing left", async () => {
    expect(await redeliver("--state", "dead")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^2 deliveries were created\. A running relay/),
    });
    expect(await redeliver("--state", "dead", "--json")).toMatchObject({
      code: 0,
      stdout: '{"count":0,"dry_run":false}\n',
    });
    expect(await states()).toEqual([
      "tsk_1 redelivery pending",
      "tsk_1 result dead",
      "tsk_2 redelivery pending",
      "tsk_2 result dead",
    ]);
  });

  it("redeliver --state --dry-run counts the deliveries it would make, and makes none", async () => {
    expect(await redeliver("--state", "dead", "--dry-run")).toMatchObject({
      code: 0,
      stdout: "2 deliveries would be created.\n",
    });
    expect(await states()).toEqual(DEAD);
  });

  it("redeliver --state takes --since and --until as bounds of when deliveries were made, and --sink as whose they are", async () => {
    const count = async (...args: string[]) =>
      JSON.parse((await redeliver("--state", "dead", "--dry-run", "--json", ...args)).stdout) as unknown;
    const now = new Date(NOW).toISOString();
    expect(await count("--since", now)).toMatchObject({ count: 2 });
    expect(await count("--until", now)).toMatchObject({ count: 0 });
    expect(await count("--since", "2026-08-24")).toMatchObject({ count: 0 });
    expect(await count("--since", "9999d")).toMatchObject({ count: 2 });
    expect(await count("--sink", "http")).toMatchObject({ count: 2 });
  });
});

describe("wrong usage", () => {
  it.each([
    ["nothing to go by", [], "name a run"],
    ["an unknown sink", ["tsk_1", "--sink", "crm"], 'there is no sink "crm"; there are http'],
    ["an unknown state", ["--state", "lost"], "--state must be one of pending"],
    ["a time that is none", ["--state", "dead", "--since", "yesterday"], "--since must be an ISO 8601 time"],
    ["a span that ends before it begins", ["--state", "dead", "--since", "1d", "--until", "2d"], "before --until"],
    ["a run and a filter", ["tsk_1", "--state", "dead"], "--state goes with no run id"],
    ["a run and --dry-run", ["tsk_1", "--dry-run"], "--dry-run goes with no run id"],
    ["an option that is none", ["--all"], "unknown option"],
  ])("redeliver ends with exit code 2 and makes nothing when it is given %s", async (_what, args, message) => {
    expect(await redeliver(...args)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(message) });
    expect(await states()).toEqual(DEAD);
  });

  it("redeliver does not make a database that is not there, and ends with exit code 1", async () => {
    database = "sqlite:/nowhere/relay.db";
    expect(await redeliver("tsk_1")).toMatchObject({ code: 1, stderr: expect.stringContaining("/nowhere/relay.db") });
  });
});
