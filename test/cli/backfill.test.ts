/** `skyvern-relay backfill`: runs of the past, filled in beside a running relay. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { backfillCommand, type BackfillOptions } from "../../src/cli/backfill.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { aFolder, anApp, PUBLIC_URL, type AppOptions, type TestApp } from "../support/app.ts";
import { aCountingGate, atSkyvern, type AtSkyvern } from "../support/at-skyvern.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const idOf = (n: number): string => `tsk_${String(n).padStart(4, "0")}`;

const pathOf = ({ database }: TestApp["config"]): string =>
  database.kind === "sqlite" ? database.path : expect.unreachable();

/** A relay that runs on a database of its own, and the command beside it. */
async function aRelay(options: AppOptions = {}) {
  const runtime = aRuntime();
  const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
  const relay = await anApp(env, { runtime, standIns: ["http"], ...options });
  const command = async (
    given: BackfillOptions,
    terminal = false,
    stopped: AbortSignal = new AbortController().signal,
  ) => {
    const out = { stdout: "", stderr: "" };
    const shell = {
      env: {},
      stdout: (text: string) => void (out.stdout += text),
      stderr: (text: string) => void (out.stderr += text),
      stopped,
      terminal,
    };
    const code = await backfillCommand(given, { config: relay.config, runtime, shell });
    return { code, ...out };
  };
  const json = async (given: BackfillOptions) => {
    const { code, stdout } = await command({ ...given, json: true });
    return { code, ...(JSON.parse(stdout) as JsonObject) };
  };
  const { skyvern } = relay.standIns;
  return { relay, runtime, skyvern, command, json };
}

const add = ({ standIns }: TestApp, run: AtSkyvern) => standIns.skyvern.addRun(atSkyvern(run));
/** So many runs, one an hour, the newest an hour ago. */
const addMany = (relay: TestApp, count: number) => {
  for (let i = 0; i < count; i += 1) add(relay, { id: idOf(i), endedAt: NOW - (count - i) * HOUR });
};
const reads = ({ standIns }: TestApp): string[] =>
  standIns.skyvern.calls.flatMap(({ path }) => /^\/v1\/runs\/(.+)$/.exec(path)?.[1] ?? []);
const told = ({ standIns }: TestApp): string[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);
const runs = async (relay: TestApp): Promise<string[]> =>
  (await relay.read<{ data: { run_id: string }[] }>("/v1/runs?limit=200")).data.map(({ run_id }) => run_id).toSorted();

it("backfill fills in unknown runs, oldest first, and delivers nothing", async () => {
  const { relay, command } = await aRelay();
  addMany(relay, 5);
  await relay.webhook(JSON.stringify(atSkyvern({ id: idOf(2), endedAt: NOW - 3 * HOUR }).payload));
  await relay.deliver();
  // What the first message asked for.
  relay.standIns.skyvern.calls.splice(0);

  expect(await command({ since: "7d" })).toEqual({
    code: 0,
    stdout: "4 runs were filled in, and nothing is delivered.\n1 run known already.\n",
    stderr: "",
  });
  await relay.deliver();
  expect(told(relay)).toEqual([idOf(2)]);
  expect(reads(relay).filter((id) => !id.includes("/"))).toEqual([0, 1, 3, 4].map(idOf));
  expect(await relay.read(`/v1/runs/${idOf(0)}`)).toMatchObject({
    source: "backfill",
    prompt: `Do ${idOf(0)}`,
    deliveries: [],
    receipts: [{ verdict: "accepted", note: "backfilled: not delivered to any sink", routing: null }],
  });
  // The relay's own rounds find nothing left to tell.
  expect(await relay.app.reconcile()).toMatchObject({ read: 0, found: 0 });
});

it("backfill --deliver routes each run as if it had just ended, and the running relay sends it", async () => {
  const { relay, command } = await aRelay({
    file: "routes: [{ name: failures, when: { status: failed }, to: [http] }]",
  });
  add(relay, { id: "tsk_good", endedAt: NOW - 2 * HOUR });
  add(relay, { id: "tsk_bad", endedAt: NOW - HOUR, status: "failed" });
  expect(await command({ since: "1d", deliver: true })).toMatchObject({
    code: 0,
    stdout: "2 runs were filled in, and the relay delivers them.\n",
  });
  expect(told(relay)).toEqual([]);
  await relay.deliver();
  expect(told(relay)).toEqual(["tsk_bad"]);
  expect(await relay.read("/v1/runs/tsk_bad")).toMatchObject({
    source: "backfill",
    deliveries: [{ cause: "result", state: "delivered" }],
    receipts: [{ note: null, routing: expect.anything() as unknown }],
  });
});

it("a second backfill finds nothing to do", async () => {
  const { relay, json } = await aRelay();
  addMany(relay, 3);
  expect(await json({ since: "7d", deliver: true })).toMatchObject({ code: 0, added: 3, known: 0 });
  relay.standIns.skyvern.calls.splice(0);
  expect(await json({ since: "7d", deliver: true })).toMatchObject({ code: 0, added: 0, known: 3 });
  expect(reads(relay)).toEqual([]);
  await relay.deliver();
  expect(told(relay)).toHaveLength(3);
});

it("backfill --dry-run says how many runs it would fill in, and writes nothing", async () => {
  const { relay, command, json } = await aRelay();
  addMany(relay, 2);
  add(relay, { id: "tsk_other", endedAt: NOW - HOUR, webhookUrl: null });
  expect(await command({ since: "7d", dryRun: true, deliver: true })).toEqual({
    code: 0,
    stdout: `2 runs would be filled in.\n1 run whose webhook does not lead to ${PUBLIC_URL}: --scope all takes them too.\n`,
    stderr: "",
  });
  relay.standIns.skyvern.calls.splice(0);
  expect(await json({ since: "7d", dryRun: true, scope: "all" })).toMatchObject({ added: 3, dry_run: true });
  expect(reads(relay)).toEqual([]);
  expect(await runs(relay)).toEqual([]);
  expect(await relay.app.store.coverage(0, NOW)).toEqual([]);
});

it("backfill takes the runs that were created between --since and --until, of the workflows that are named", async () => {
  const { relay, json } = await aRelay();
  const workflow = (id: string, wpid: string, createdAt: number): AtSkyvern => ({
    id,
    fixture: "workflow_run.completed",
    endedAt: createdAt + 60_000,
    createdAt,
    payload: { workflow_permanent_id: wpid },
  });
  const noon = Date.parse("2026-08-20T12:00:00Z");
  add(relay, workflow("wr_before", "wpid_1", noon - 1));
  add(relay, workflow("wr_first", "wpid_1", noon));
  add(relay, workflow("wr_last", "wpid_1", noon + DAY - 1));
  add(relay, workflow("wr_after", "wpid_1", noon + DAY));
  add(relay, workflow("wr_other", "wpid_2", noon + HOUR));
  const range = { since: "2026-08-20T12:00:00", until: "2026-08-21T14:00:00+02:00" };
  expect(await json({ ...range, workflow: ["wpid_1"], dryRun: true })).toMatchObject({
    added: 2,
    since: "2026-08-20T12:00:00.000Z",
  });
  expect(await json({ ...range, workflow: ["wpid_1", "wpid_2"] })).toMatchObject({ listed: 3, added: 3 });
  expect(await runs(relay)).toEqual(["wr_first", "wr_last", "wr_other"]);
  expect(await json({ since: "2026-08-20" })).toMatchObject({ added: 2, known: 3 });
});

it("backfill takes final runs only, and those whose webhook leads elsewhere only with --scope all", async () => {
  const { relay, json } = await aRelay();
  add(relay, { id: "tsk_running", status: "running", endedAt: null, createdAt: NOW - HOUR });
  add(relay, { id: "tsk_mine", endedAt: NOW - HOUR, webhookUrl: "https://relay.example.com/webhook/billing" });
  add(relay, { id: "tsk_other", endedAt: NOW - HOUR, webhookUrl: null });
  expect(await json({ since: "1d" })).toMatchObject({ listed: 2, added: 1, elsewhere: 1 });
  expect(await runs(relay)).toEqual(["tsk_mine"]);
  expect(await json({ since: "1d", scope: "all" })).toMatchObject({ added: 1, known: 1, elsewhere: 0 });
  expect(await relay.read("/v1/runs/tsk_mine")).toMatchObject({ channel: "billing" });
});

it("backfill follows skyvern.reconcile.scope by default", async () => {
  const { relay, json } = await aRelay({ file: "skyvern: { reconcile: { scope: all } }" });
  add(relay, { id: "tsk_other", endedAt: NOW - HOUR, webhookUrl: null });
  expect(await json({ since: "1d", scope: "mine" })).toMatchObject({ added: 0 });
  expect(await json({ since: "1d" })).toMatchObject({ added: 1 });
});

it("backfill leaves runs that ended just now to the running relay, as they would never be delivered if filled in", async () => {
  const { relay, command, json } = await aRelay();
  add(relay, { id: "tsk_now", endedAt: NOW - 10_000 });
  add(relay, { id: "tsk_fresh", endedAt: NOW - 9 * 60_000 });
  expect(await command({ since: "1d" })).toMatchObject({
    stdout:
      "0 runs were filled in, and nothing is delivered.\n2 runs ended too recently and are left to the running relay.\n",
  });
  // Its webhook comes after all, and is told.
  await relay.webhook(JSON.stringify(atSkyvern({ id: "tsk_now", endedAt: NOW - 10_000 }).payload));
  await relay.deliver();
  expect(told(relay)).toEqual(["tsk_now"]);
  expect(await json({ since: "1d", deliver: true })).toMatchObject({ added: 1, recent: 1, known: 0 });
});

describe("when Skyvern fails", () => {
  it("backfill waits and goes on while Skyvern fails", async () => {
    const { relay, json, runtime } = await aRelay();
    addMany(relay, 3);
    relay.standIns.skyvern.faults.push(
      { on: /runs$/, status: 429, headers: { "retry-after": "40" } },
      { on: new RegExp(`${idOf(1)}$`), status: 500, times: 3 },
      { on: new RegExp(`${idOf(2)}$`), instead: "reset" },
    );
    expect(await json({ since: "7d" })).toMatchObject({ code: 0, added: 3, faults: [] });
    expect(runtime.now() - NOW).toBeGreaterThanOrEqual(40_000 + 1_000 + 5_000 + 15_000 + 1_000);
  });

  it("backfill gives up with exit code 1 after Skyvern failed for minutes, says how far it came, and goes on there next time", async () => {
    const { relay, runtime, command, json } = await aRelay();
    addMany(relay, 6);
    relay.standIns.skyvern.faults.push({ on: new RegExp(`${idOf(3)}$`), status: 503, times: 7 });
    expect(await command({ since: "7d" })).toEqual({
      code: 1,
      stdout: "3 runs were filled in, and nothing is delivered.\n",
      stderr:
        "skyvern-relay backfill: it stopped before the end: Skyvern answered the run with 503: Service Unavailable. " +
        "It got as far as runs that ended at 2026-08-23T06:00:00.000Z; run it again to continue.\n",
    });
    expect(runtime.now() - NOW).toBe(201_000);
    relay.standIns.skyvern.calls.splice(0);
    expect(await json({ since: "7d" })).toMatchObject({ code: 0, added: 3, known: 3 });
    expect(reads(relay)).toEqual([3, 4, 5].map(idOf));
  });

  it("backfill says so when Skyvern's list cannot be read, or the key is refused", async () => {
    const { command, json, relay } = await aRelay();
    addMany(relay, 1);
    relay.standIns.skyvern.faults.push({ status: 500, times: 7 });
    expect(await command({ since: "7d" })).toMatchObject({ code: 1, stderr: expect.stringContaining("500") as string });
    relay.standIns.skyvern.faults.push({ status: 403 });
    const refused = await command({ since: "7d" });
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("SKYVERN_API_KEY[1]") as string });
    expect(refused.stderr).not.toContain(FIXTURE_KEY);
    expect(await json({ since: "7d" })).toMatchObject({ code: 0, added: 1 });
  });

  it("backfill counts a run that Skyvern lists and does not find, and goes on", async () => {
    const { relay, json } = await aRelay();
    addMany(relay, 2);
    relay.standIns.skyvern.faults.push({ on: new RegExp(`${idOf(0)}$`), status: 404 });
    expect(await json({ since: "7d" })).toMatchObject({ code: 0, added: 1, unreadable: 1 });
  });
});

it("backfill stops with exit code 1 when it is asked to, and goes on there the next time", async () => {
  const { relay, command, json } = await aRelay();
  addMany(relay, 3);
  const stopping = new AbortController();
  const stop = { on: { test: (path: string) => path.endsWith(idOf(1)) && (stopping.abort(), false) } as RegExp };
  relay.standIns.skyvern.faults.push(stop);
  expect(await command({ since: "7d" }, false, stopping.signal)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("run it again to continue") as string,
  });
  expect(await json({ since: "7d" })).toMatchObject({ code: 0, added: 2, known: 1 });
});

it("backfill asks Skyvern for one thing at a time", async () => {
  const { relay, skyvern, runtime } = await aRelay();
  addMany(relay, 20);
  const gate = await aCountingGate(skyvern.url);
  const shell = { env: {}, stdout: () => {}, stderr: () => {}, stopped: new AbortController().signal };
  const config = { ...relay.config, baseUrl: gate.url, trustedOrigins: [gate.url] };
  expect(await backfillCommand({ since: "7d" }, { config, runtime, shell })).toBe(0);
  expect(await runs(relay)).toHaveLength(20);
  expect(gate.most()).toBe(1);
});

it("backfill shows how far it is on a terminal, and only there", async () => {
  const { relay, command } = await aRelay();
  addMany(relay, 2);
  const { stderr } = await command({ since: "7d" }, true);
  expect(stderr).toContain("Reading Skyvern's list");
  expect(stderr).toContain(`\r[${"-".repeat(30)}] 0 of 2 runs`);
  expect(stderr).toContain(`\r[${"#".repeat(30)}] 2 of 2 runs`);
  expect(stderr.endsWith("\r\u001B[K")).toBe(true);
  expect((await command({ since: "7d", deliver: true })).stderr).toBe("");
});

describe("usage", () => {
  it.each([
    [{ since: "yesterday" }, '"yesterday"'],
    [{ since: "7d", until: "soon" }, "--until must be"],
    [{ since: "2026-08-20", until: "2026-08-20" }, "before --until"],
    [{ since: "7d", workflow: ["Invoices"] }, "wpid_"],
    [{ since: "7d", scope: "ours" }, "mine or all"],
  ])("backfill refuses %j with exit code 2, and says what would be right", async (options, message) => {
    const { command } = await aRelay();
    const { code, stdout, stderr } = await command(options);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });

  it("backfill needs a database that a relay has run on, and makes none", async () => {
    const { relay } = await aRelay();
    const path = join(aFolder(), "data", "relay.db");
    const parts = {
      runtime: systemRuntime(),
      shell: { env: {}, stdout: () => {}, stderr: () => {}, stopped: new AbortController().signal },
    };
    const on = (database: string) =>
      backfillCommand(
        { since: "7d" },
        { ...parts, config: { ...relay.config, database: { kind: "sqlite", path: database } } },
      );
    expect(await on(path)).toBe(1);
    expect(existsSync(path)).toBe(false);
    expect(await on(":memory:")).toBe(2);
  });

  it("backfill runs as a command of the program, like the others", async () => {
    const { relay, skyvern } = await aRelay();
    const cli = async (...args: string[]) => {
      let out = "";
      const add = (text: string) => void (out += text);
      const env = {
        SKYVERN_API_KEY: FIXTURE_KEY,
        SKYVERN_BASE_URL: skyvern.url,
        DATABASE_URL: `sqlite:${pathOf(relay.config)}`,
        PUBLIC_URL,
        RELAY_CONFIG: "",
      };
      const code = await runCli(["backfill", ...args], {
        env,
        stdout: add,
        stderr: add,
        stopped: new AbortController().signal,
      });
      return { code, out };
    };
    expect(await cli("--help")).toMatchObject({ code: 0, out: expect.stringContaining("flood") as string });
    expect(await cli()).toMatchObject({ code: 2, out: expect.stringContaining("--since") as string });
    add(relay, { id: "tsk_1", endedAt: systemRuntime().now() - HOUR });
    expect(await cli("--since", "1d", "--no-deliver", "--json")).toMatchObject({
      code: 0,
      out: expect.stringContaining('"added":1') as string,
    });
    expect(
      await cli("--since", "1d", "--deliver", "--workflow", "wpid_1", "wpid_2", "--scope", "all", "--dry-run"),
    ).toMatchObject({ code: 0 });
  });
});
