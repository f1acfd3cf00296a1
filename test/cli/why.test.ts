import { statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { openSqlite } from "../../src/store/database.ts";
import { saveSetting } from "../../src/store/key-values.ts";
import type { Why } from "../../src/history/why.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes, mutated } from "../support/fixtures.ts";
import { aRuntime, type TestRuntime } from "../support/runtime.ts";

const V2 = "tsk_v2_565346328529285494";

let folder: string;
let relay: TestApp;
let runtime: TestRuntime;
const path = () => join(folder, "relay.db");

/** A relay on a file that tried twice to tell of a run. */
beforeEach(async () => {
  folder = aFolder();
  runtime = aRuntime();
  relay = await anApp({ DATABASE_URL: `sqlite:${path()}` }, { standIns: ["slack", "http"], runtime });
  relay.standIns.http.answers.push({ status: 503, body: "busy" });
  await relay.webhook(fixtureBytes("task_v2.completed"), { path: "/webhook/billing" });
  await relay.deliver();
  runtime.advance(60_000);
  await relay.deliver();
});

async function why(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  const code = await runCli(["why", ...args], {
    env: {
      RELAY_CONFIG: "",
      SKYVERN_API_KEY: FIXTURE_KEY,
      DATABASE_URL: `sqlite:${path()}`,
      PUBLIC_URL: "https://relay.example.com",
    },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped: new AbortController().signal,
  });
  return { code, stdout, stderr };
}

describe("why <run_id>", () => {
  it("why shows a person, beside a running relay, where a run was delivered, key, verdict, routes, attempts and proofs", async () => {
    const { code, stdout, stderr } = await why(V2);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [first, ...lines] = stdout.split("\n");
    expect(first).toContain(V2);
    expect(first).toMatch(/: completed$/);
    expect(lines[0]).toMatch(/^ {2}Delivered to slack at 2026-08-23T/);
    expect(stdout).toMatch(/^ {2}\+ default matched: no routes are configured/m);
    expect(stdout).toMatch(/^ {2}slack \(slack\), result: delivered {2}https?:\/\/\S+ {2}\[dlv_/m);
    expect(stdout).toMatch(/^ {2}http \(http\), result: delivered {2}HTTP 200 {2}\[dlv_/m);
    expect(stdout).toContain("signed with key “SKYVERN_API_KEY[1]”");
    expect(stdout).toContain("channel “billing”");
    expect(stdout).toMatch(/^ {2}\S+Z {2}Sink {5}Pending: not delivered to http yet \(attempt 1/m);
    expect(stdout).toMatch(/503/);
    expect(stdout).toMatch(/^ {2}\S+Z {2}Sink {5}Delivered to http \(attempt 2/m);
  });

  it("why --json prints what the history API answers", async () => {
    const { code, stdout } = await why(V2, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout) as Why).toEqual(await relay.read(`/v1/runs/${V2}/why`));
  });

  it("why of an unknown run ends with 1, and says where to look", async () => {
    const { code, stdout, stderr } = await why("tsk_0");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("does not know the run tsk_0");
    expect(stderr).toContain("https://relay.example.com/webhook");
    expect(stderr).toContain("Coverage (GET /v1/stats)");
    // The command does nothing without it.
    expect(stderr.match(/skyvern-relay backfill(?! --since)/g)).toBeNull();
  });

  it("why --json of an unknown run is JSON all the same", async () => {
    const { code, stdout, stderr } = await why("tsk_0", "--json");
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      run_id: "tsk_0",
      known: false,
      hints: expect.arrayContaining([
        expect.stringContaining("started with the webhook address") as string,
      ]) as string[],
    });
  });

  it("why writes nothing, and works on a database whose relay is stopped", async () => {
    await relay.stop();
    const before = statSync(path());
    expect((await why(V2)).code).toBe(0);
    const after = statSync(path());
    expect([after.size, after.mtimeMs]).toEqual([before.size, before.mtimeMs]);
  });

  it("why spells out the characters of a page's text that would control a terminal", async () => {
    const hostile = "\u001b[2J\u001b]0;owned\u0007 \u202egnp.exe\r\nDone";
    await relay.webhook(mutated("workflow_run.failed", { failure_reason: hostile, workflow_title: hostile }));
    const { data } = await relay.read<{ data: { run_id: string }[] }>("/v1/runs?limit=1");
    const { stdout } = await why(data[0]?.run_id ?? "");
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    expect(stdout).toContain("[U+001B]");
  });
});

describe("why refuses", () => {
  it("why refuses a database that is not there, and makes none", async () => {
    await relay.stop();
    folder = aFolder();
    const { code, stderr } = await why(V2);
    expect(code).toBe(1);
    expect(stderr).toContain("there is no database at");
    expect(() => statSync(path())).toThrow(/ENOENT/);
  });

  it("why refuses a database of another schema", async () => {
    await relay.stop();
    const database = openSqlite(path(), { exclusive: false });
    await database.transaction((tx) => saveSetting(tx, "schema_version", "99"));
    await database.close();
    const { code, stderr } = await why(V2);
    expect(code).toBe(1);
    expect(stderr).toContain("schema version 99");
  });

  it.each([[[]], [["a", "b"]], [["a", "--yaml"]]])("why refuses %j as wrong usage", async (args) => {
    expect((await why(...args)).code).toBe(2);
  });
});
