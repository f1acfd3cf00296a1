/** `skyvern-relay check --routes`: the routes, tried on the runs that are stored. */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { aFolder, anApp } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, fixtureBytes, mutated } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";

const FILE = `
sinks:
  ops: { kind: http, url: https://ops.example.com/ }
  finance: { kind: http, url: https://finance.example.com/ }
routes:
  - { name: failures, when: { status: failed }, to: ops, stop: true }
  - { name: bills, when: { channel: billing }, to: [finance] }
`;

/** Three runs within a week of one another, received by a relay with other routes. */
async function aHistory() {
  const folder = aFolder();
  const path = join(folder, "relay.db");
  const file = join(folder, "new.yaml");
  writeFileSync(file, FILE);
  const runtime = aRuntime();
  const relay = await anApp({ DATABASE_URL: `sqlite:${path}` }, { runtime });
  await relay.webhook(mutated("task_v1.failed", { run_id: "tsk_old", task_id: "tsk_old" }));
  runtime.advance(5 * 86_400_000);
  await relay.webhook(fixtureBytes("task_v1.failed"));
  await relay.webhook(fixtureBytes("task_v2.completed"), { path: "/webhook/billing" });
  await relay.webhook(fixtureBytes("task_v1.completed"));
  await relay.webhook(fixtureBytes("task_v1.running-nonterminal"));
  const env = { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL: `sqlite:${path}`, RELAY_CONFIG: file };
  const since = new Date(runtime.now() - 3_600_000).toISOString();
  return { relay, path, env, since, check: (...args: string[]) => runCommand(["check", ...args], env) };
}

it("check --routes counts the stored runs that each sink would have got by this configuration, beside a running relay", async () => {
  const { check, path } = await aHistory();
  const before = statSync(path);
  const { code, stdout, stderr } = await check("--routes");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("Of 4 runs");
  expect(stdout).toContain("2 of 4 to ops (http)");
  expect(stdout).toContain("1 of 4 to finance (http)");
  expect(stdout).toContain("1 of 4 to no sink, such as tsk_565008666790408272");
  expect(stdout).toContain("failures → ops (stop): 2, such as tsk_565047025143328900, tsk_old");
  expect(stdout).toContain("bills → finance: 1; 2 stopped at a route before it, such as tsk_v2_565346328529285494");
  expect(statSync(path).mtimeMs).toBe(before.mtimeMs);
});

it("check --routes takes --since to look at later runs only, and prints the same as JSON with --json", async () => {
  const { check, since } = await aHistory();
  const { code, stdout } = await check("--routes", "--since", since, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    since,
    until: expect.stringMatching(/Z$/) as string,
    runs: 3,
    routes: [
      {
        route: "failures",
        to: ["ops"],
        stop: true,
        matched: 1,
        not_looked_at: 0,
        examples: ["tsk_565047025143328900"],
      },
      {
        route: "bills",
        to: ["finance"],
        stop: false,
        matched: 1,
        not_looked_at: 1,
        examples: ["tsk_v2_565346328529285494"],
      },
    ],
    sinks: [
      { sink: "ops", kind: "http", runs: 1 },
      { sink: "finance", kind: "http", runs: 1 },
    ],
    nobody: { runs: 1, examples: ["tsk_565008666790408272"] },
  });
});

it("check --routes says when no run is of that time, and fails without a database or with a bad configuration", async () => {
  const { check, env } = await aHistory();
  const none = await check("--routes", "--until", "2001-01-01");
  expect(none).toMatchObject({ code: 0, stdout: "There is no final run: nothing to try the routes on.\n" });
  const gone = await runCommand(["check", "--routes"], { ...env, DATABASE_URL: "sqlite:./nowhere.db" });
  expect(gone).toMatchObject({ code: 1, stdout: "" });
  expect(gone.stderr).toContain("no relay has run on it yet");
  const bad = await runCommand(["check", "--routes"], { ...env, PORT: "no" });
  expect(bad).toMatchObject({ code: 2, stdout: "" });
});

it.each([
  [["--since", "7d"], "--since goes with --routes"],
  [["--until", "2026-01-01"], "--until goes with --routes"],
  [["--routes", "--since", "yesterday"], "--since must be an ISO 8601 time"],
  [["--routes", "--since", "2026-01-02", "--until", "2026-01-01"], "--since must be before --until"],
])("check refuses %j as wrong usage", async (args, reason) => {
  const { code, stdout, stderr } = await runCommand(["check", ...args], { SKYVERN_API_KEY: "k" });
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(reason);
});
