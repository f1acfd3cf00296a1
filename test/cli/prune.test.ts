import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { FIXTURE_KEY, mutated } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";

const DAY = 86_400_000;
let relay: TestApp;
let database: string;

/** A relay on a file that took one run a hundred days ago and one today, by the clock on the wall. */
beforeEach(async () => {
  database = `sqlite:${join(aFolder(), "relay.db")}`;
  const runtime = aRuntime(Date.now() - 100 * DAY);
  relay = await anApp({ DATABASE_URL: database }, { runtime });
  await relay.webhook(mutated("task_v1.completed", { run_id: "tsk_old", task_id: "tsk_old" }));
  runtime.advance(100 * DAY);
  await relay.webhook(mutated("task_v1.completed", { run_id: "tsk_new", task_id: "tsk_new" }));
});

async function prune(yaml: string, args: string[] = [], env: Record<string, string> = {}) {
  let stdout = "";
  let stderr = "";
  const file = join(aFolder(), "relay.yaml");
  writeFileSync(file, yaml);
  const code = await runCli(["prune", ...args], {
    env: { RELAY_CONFIG: file, SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL: database, ...env },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped: new AbortController().signal,
  });
  return { code, stdout, stderr };
}
const status = async (id: string): Promise<number> => (await relay.get(`/v1/runs/${id}`)).status;

describe("prune", () => {
  it("prune removes what is due, beside a relay that has the database", async () => {
    const { code, stdout, stderr } = await prune("retention: { runs: 90d, raw: false }");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^Removed, as runs are kept for 90d and raw bodies for ever:\n +1 runs, /);
    expect([await status("tsk_old"), await status("tsk_new")]).toEqual([404, 200]);
    // The relay goes on receiving.
    expect((await relay.webhook(mutated("task_v1.completed", { run_id: "tsk_3", task_id: "tsk_3" }))).status).toBe(200);
  });

  it("prune --dry-run removes nothing and says how much it would, in JSON with --json", async () => {
    const { stdout } = await prune("retention: { runs: 90d, raw: 30d }", ["--dry-run", "--json"]);
    expect(JSON.parse(stdout)).toEqual({ runs: 1, raw: 1, unrecognized: 0, tests: 0, listed_runs: 0, dry_run: true });
    expect(await status("tsk_old")).toBe(200);
    expect((await prune("retention: { raw: 30d }", ["--dry-run"])).stdout).toMatch(/^Would be removed, .*\n +0 runs/);
  });

  it("prune keeps a run that is held", async () => {
    const { stdout } = await prune("retention: { runs: 90d, hold: [tsk_old] }");
    expect(stdout).toMatch(/, 1 run at any age:\n +0 runs/);
    expect(await status("tsk_old")).toBe(200);
  });

  it("prune without retention does nothing and says so", async () => {
    expect(await prune("retention: { runs: false, raw: false }")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("everything is kept") as string,
    });
    expect(await status("tsk_old")).toBe(200);
  });

  it.each([
    ["a database that is not there", { DATABASE_URL: "sqlite:/nowhere/relay.db" }, 1, /no database at/],
    ["a database in memory", { DATABASE_URL: "sqlite::memory:" }, 2, /in memory/],
  ])("prune fails on %s", async (_what, env, code, message) => {
    expect(await prune("retention: { runs: 90d }", [], env)).toMatchObject({
      code,
      stderr: expect.stringMatching(message) as string,
    });
  });
});
