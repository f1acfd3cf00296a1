/** `register`: the addresses of Skyvern's workflows, and back. */
import { describe, expect, it, onTestFinished } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { parseChoice } from "../../src/cli/register/choose.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { openDatabase } from "../../src/store/open.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { type StandInCall } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern, type StandInSkyvernOptions, type StandInSkyvern } from "../support/skyvern.ts";
import { aFolder } from "../support/app.ts";
import { skyvernWorkflows, type SkyvernWorkflowsOptions } from "../support/skyvern-workflows.ts";

const KEY = "the-key-of-the-tests";
const HERE = "https://relay.example.com/webhook";
const ELSEWHERE = "https://hooks.example.com/secret-path?token=secret-query";

const ROWS: JsonObject = {
  parameter_type: "workflow",
  key: "rows",
  workflow_parameter_type: "json",
  workflow_parameter_id: "wp_1",
};
const OUTPUT: JsonObject = {
  parameter_type: "output",
  key: "go_output",
  output_parameter_id: "op_1",
  created_at: "2026",
};

const DEFINITION: JsonObject = {
  version: 1,
  parameters: [OUTPUT, ROWS],
  blocks: [
    {
      block_type: "code",
      label: "go",
      code: "x = 1",
      data_schema: { big: JSON.rawJSON("12345678901234567890"), id: "kept" },
      parameters: [ROWS],
      output_parameter: OUTPUT,
    },
  ],
};

const workflow = (i: number, url: string | null, more: JsonObject = {}): JsonObject => ({
  workflow_permanent_id: `wpid_${i}`,
  workflow_id: `w_${i}`,
  title: `W ${i}`,
  version: 1,
  webhook_callback_url: url,
  workflow_definition: DEFINITION,
  cdp_connect_headers: { "x-api-key": "***" },
  extra_http_headers: null,
  ...more,
});

interface Setting {
  skyvern: StandInSkyvern;
  /** The newest version of each. */
  workflows: () => readonly JsonObject[];
  env: Record<string, string>;
}

async function aSetting(
  given: JsonObject[],
  { blockedHosts, forgets, ...options }: Partial<StandInSkyvernOptions> & SkyvernWorkflowsOptions = {},
): Promise<Setting> {
  const { more, all: workflows } = skyvernWorkflows(given, { blockedHosts, forgets });
  const skyvern = await startSkyvern({ keys: [KEY], more, ...options });
  onTestFinished(() => skyvern.close());
  const path = `${aFolder()}/relay.db`;
  const DATABASE_URL = `sqlite:${path}`;
  const database = await openDatabase({ kind: "sqlite", path }, "relay");
  await migrate(database);
  await database.close();
  const PUBLIC_URL = "https://relay.example.com";
  return { skyvern, workflows, env: { SKYVERN_API_KEY: KEY, SKYVERN_BASE_URL: skyvern.url, PUBLIC_URL, DATABASE_URL } };
}

async function register(env: Setting["env"], args: string[], answers?: (string | null)[]) {
  let stdout = "";
  let stderr = "";
  const code = await runCli(["register", ...args], {
    env: { RELAY_CONFIG: "", ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8", ...env },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped: new AbortController().signal,
    ...(answers ? { ask: () => Promise.resolve(answers.shift() ?? null) } : {}),
  });
  return { code, stdout, stderr };
}

const addresses = ({ workflows }: Setting): Record<string, unknown> =>
  Object.fromEntries(
    workflows()
      .map((one): [string, unknown] => [String(one["workflow_permanent_id"]), one["webhook_callback_url"]])
      .toSorted(),
  );

const posts = ({ skyvern }: Setting): number => skyvern.calls.filter(({ method }) => method === "POST").length;

describe("register", () => {
  it("register --dry-run shows what it would change and where addresses lead, without their secrets, and changes nothing", async () => {
    const setting = await aSetting([workflow(1, null), workflow(2, ELSEWHERE), workflow(3, `${HERE}/invoices`)]);
    const { code, stdout, stderr } = await register(setting.env, ["--dry-run"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(
      [
        "Of 3 workflows, webhooks of 1 lead here, 1 elsewhere, 1 nowhere.",
        "",
        "   WORKFLOW  ADDRESS NOW                  THEN                         TITLE",
        "1  wpid_1    none                         https://relay.example.com/…  W 1",
        "2  wpid_2    https://hooks.example.com/…  https://relay.example.com/…  W 2",
        "",
        "",
      ].join("\n"),
    );
    const { stdout: json } = await register(setting.env, ["--dry-run", "--json"]);
    expect(JSON.parse(json)).toMatchObject({ workflows: [{ workflow: "wpid_1", from: null }, { workflow: "wpid_2" }] });
    expect(json).not.toContain("secret");
    expect(posts(setting)).toBe(0);
  });

  it("register gives an address to workflows that have none, leaves no copy behind, and --undo takes it back", async () => {
    const setting = await aSetting([workflow(1, null), workflow(2, ELSEWHERE)]);
    const before = [...setting.workflows()];
    const done = await register(setting.env, ["--yes"]);
    expect(done).toMatchObject({ code: 0, stderr: "" });
    expect(done.stdout).toContain("wpid_1  W 1: changed (version 2)\n");
    expect(done.stdout).toContain("1 workflow with another address: left alone. --workflow names those to change.");
    expect(addresses(setting)).toEqual({ wpid_1: HERE, wpid_2: ELSEWHERE });
    const undone = await register(setting.env, ["--undo", "--yes"]);
    expect(undone.stdout).toContain("wpid_1  W 1: has no address any more (version 3)\n");
    expect(addresses(setting)).toEqual({ wpid_1: null, wpid_2: ELSEWHERE });
    const last = setting.workflows().find(({ workflow_permanent_id: id }) => id === "wpid_1");
    const first = before.find(({ workflow_permanent_id: id }) => id === "wpid_1");
    const names = (one: JsonObject | undefined) => Object.keys(one ?? {}).filter((name) => name !== "created_at");
    expect(names(last)).toEqual(names(first));
    expect(JSON.stringify(last)).toContain('"data_schema":{"big":12345678901234567890,"id":"kept"}');
    expect(last).toMatchObject({ cdp_connect_headers: { "x-api-key": "***" }, extra_http_headers: null });
    expect((await register(setting.env, ["--undo", "--yes"])).stdout).toBe("There is nothing to undo.\n");
  });

  it("register takes another's address only where the workflow is named, and gives it back whole", async () => {
    const setting = await aSetting([workflow(1, null), workflow(2, ELSEWHERE)]);
    await register(setting.env, ["--yes", "--workflow", "wpid_2"]);
    expect(addresses(setting)).toEqual({ wpid_1: null, wpid_2: HERE });
    // The relay moves. The first address is the one to go back to.
    const moved = { ...setting.env, PUBLIC_URL: "https://new.example.com" };
    await register(moved, ["--yes", "--workflow", "wpid_2"]);
    expect(addresses(setting)["wpid_2"]).toBe("https://new.example.com/webhook");
    await register(moved, ["--undo", "--yes"]);
    expect(addresses(setting)["wpid_2"]).toBe(ELSEWHERE);
  });

  it("register asks at a terminal which workflows, asks again after an answer that is none, and ends when it is closed", async () => {
    const setting = await aSetting([workflow(1, null), workflow(2, ELSEWHERE), workflow(3, null)]);
    expect(await register(setting.env, [], [null])).toMatchObject({ code: 1 });
    expect((await register(setting.env, [], [""])).code).toBe(0);
    expect(posts(setting)).toBe(0);
    const { code, stdout } = await register(setting.env, [], ["7", "2-3"]);
    expect(code).toBe(0);
    expect(stdout).toContain("That is no choice out of 1 to 3.");
    expect(addresses(setting)).toEqual({ wpid_1: null, wpid_2: HERE, wpid_3: HERE });
  });

  it("register needs an address, a database, and --yes or --dry-run where it can ask no person", async () => {
    const { env } = await aSetting([workflow(1, null)]);
    expect(await register(env, [])).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") as string });
    const homeless = await register({ ...env, PUBLIC_URL: "" }, ["--yes"]);
    expect(homeless).toMatchObject({ code: 2, stderr: expect.stringContaining("set PUBLIC_URL") as string });
    const hosted = { ...env, SKYVERN_BASE_URL: "https://api.skyvern.com", PUBLIC_URL: "http://10.0.0.1" };
    expect(await register(hosted, ["--yes"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/refuses http:\/\/10\.0\.0\.1 .*set PUBLIC_URL/) as string,
    });
    const none = await register({ ...env, DATABASE_URL: `sqlite:${aFolder()}/none.db` }, ["--yes"]);
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("there is no database") as string });
  });

  it("register says in one line that the key is wrong or that Skyvern does not answer", async () => {
    const { env, skyvern } = await aSetting([workflow(1, null)]);
    const wrong = await register({ ...env, SKYVERN_API_KEY: "another" }, ["--yes"]);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringMatching(/refuses the key: .*settings/) as string });
    await skyvern.close();
    const gone = await register(env, ["--yes"]);
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringContaining("does not answer") as string });
    expect([wrong, gone].map(({ stderr }) => stderr.trimEnd().split("\n").length)).toEqual([1, 1]);
  });
});

describe("register leaves a workflow alone", () => {
  const odd: [string, JsonObject | Partial<StandInSkyvernOptions>, RegExp][] = [
    [
      "whose copy is not the same",
      { forgets: ["data_schema"] },
      /a copy of it was not the same \(workflow_definition\.blocks\.0\.data_schema\)/,
    ],
    [
      "whose address Skyvern refuses",
      { blockedHosts: ["relay.example.com"] },
      /left alone: .*400: Invalid webhook_callback_url: blocked host/,
    ],
  ];
  it.each(odd)("register leaves a workflow alone and says why: one %s", async (_name, options, said) => {
    const setting = await aSetting([workflow(1, null)], options);
    const before = setting.workflows();
    const { code, stdout, stderr } = await register(setting.env, ["--yes"]);
    expect(stdout).toMatch(said);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "skyvern-relay register: 1 of 1 workflow failed\n" });
    expect(setting.workflows()).toEqual(before);
    expect((await register(setting.env, ["--undo", "--yes"])).stdout).toBe("There is nothing to undo.\n");
  });

  const unsendable: [string, JsonObject, string][] = [
    [
      "whose definition Skyvern refuses",
      {
        workflow_definition: {
          parameters: [],
          blocks: [{ block_type: "x", label: "a", parameters: [{ parameter_type: "workflow", key: "gone" }] }],
        },
      },
      "undefined parameter",
    ],
    [
      "with a masked secret",
      { workflow_definition: { parameters: [], blocks: [{ block_type: "x", label: "a", headers: { a: "****" } }] } },
      "Skyvern masks workflow_definition.blocks.0.headers.a",
    ],
    ["that is a template", { is_template: true }, "it is a template"],
    ["without a definition", { workflow_definition: null }, "its definition is not in Skyvern's answer"],
  ];
  it.each(unsendable)(
    "register leaves one workflow alone and goes on with the others: one %s",
    async (_name, more, said) => {
      const setting = await aSetting([workflow(1, null, more), workflow(2, null)]);
      const { code, stdout } = await register(setting.env, ["--yes"]);
      expect(stdout).toContain(said);
      expect({ code, addresses: addresses(setting) }).toEqual({ code: 1, addresses: { wpid_1: null, wpid_2: HERE } });
      expect(setting.workflows()).toHaveLength(2);
    },
  );

  it("register leaves a workflow alone that was changed meanwhile", async () => {
    const changing = workflow(1, null);
    const setting = await aSetting([changing]);
    const { workflows } = setting;
    const asked = (): Promise<string> => {
      const [one] = workflows();
      if (one) one["webhook_callback_url"] = ELSEWHERE;
      return Promise.resolve("all");
    };
    let stdout = "";
    const code = await runCli(["register"], {
      env: { RELAY_CONFIG: "", ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8", ...setting.env },
      stdout: (text) => void (stdout += text),
      stderr: () => {},
      stopped: new AbortController().signal,
      ask: asked,
    });
    expect(stdout).toContain("its address was changed meanwhile");
    expect({ code, posts: posts(setting) }).toEqual({ code: 1, posts: 0 });
  });

  it("register --undo leaves a workflow alone whose address was changed after register", async () => {
    const setting = await aSetting([workflow(1, null), workflow(2, null), workflow(3, null)]);
    await register(setting.env, ["--yes"]);
    const [first, second] = setting.workflows();
    if (first) first["webhook_callback_url"] = ELSEWHERE;
    if (second) second["webhook_callback_url"] = "";
    const { stdout } = await register(setting.env, ["--undo", "--yes"]);
    expect(stdout).toContain(`${String(first?.["workflow_permanent_id"])}: it was given another address since`);
    expect(stdout).toContain(`${String(second?.["workflow_permanent_id"])}: it has its old address already`);
    expect(Object.values(addresses(setting)).toSorted()).toEqual(["", ELSEWHERE, null].toSorted());
    expect((await register(setting.env, ["--undo", "--yes"])).stdout).toBe("There is nothing to undo.\n");
  });
});

it("register changes nothing where Skyvern lists no workflow of a given name, and says which", async () => {
  const setting = await aSetting([workflow(1, null), workflow(2, HERE)]);
  const { code, stderr } = await register(setting.env, ["--yes", "--json", "--workflow", "wpid_1", "wpid_\u001B[2Jx"]);
  expect({ code, stderr, posts: posts(setting) }).toEqual({
    code: 1,
    stderr: "skyvern-relay register: Skyvern lists no workflow wpid_[U+001B][2Jx; nothing was changed\n",
    posts: 0,
  });
  expect((await register(setting.env, ["--yes", "--workflow", "wpid_2"])).code).toBe(0);
});

it("register remembers the address of a workflow that no key opens just now", async () => {
  const setting = await aSetting([workflow(1, ELSEWHERE)]);
  await register(setting.env, ["--yes", "--workflow", "wpid_1"]);
  setting.skyvern.faults.push({ on: /wpid_1$/, status: 404 });
  expect((await register(setting.env, ["--undo", "--yes"])).stdout).toContain(
    "no key here opens it, or it was deleted",
  );
  await register(setting.env, ["--undo", "--yes"]);
  expect(addresses(setting)).toEqual({ wpid_1: ELSEWHERE });
});

describe("register, interrupted", () => {
  it("register that is interrupted has remembered an address before it changes it, saves once, and does not go on", async () => {
    const cut = (call: StandInCall): void => {
      const isSave = call.method === "POST" && call.path === "/v1/workflows/wpid_1";
      if (isSave) setting.skyvern.faults.push({ on: /wpid_1$/, instead: "reset" });
    };
    const setting: Setting = await aSetting([workflow(1, ELSEWHERE), workflow(2, null)], { onCall: cut });
    const { code, stdout, stderr } = await register(setting.env, ["--yes", "--workflow", "wpid_1", "wpid_2"]);
    expect(stdout).toContain("wpid_1  W 1: it may have changed: Skyvern did not answer");
    expect(stderr).toContain("1 of 2 workflows failed, 1 not tried: run the same command again");
    expect({ code, posts: posts(setting) }).toEqual({ code: 1, posts: 3 });
    // Skyvern saved it, and its answer was lost.
    const saved = setting.workflows().find(({ workflow_permanent_id: id }) => id === "wpid_1");
    if (saved) saved["webhook_callback_url"] = HERE;
    setting.skyvern.faults.length = 0;
    const undo = await register(setting.env, ["--undo", "--dry-run"]);
    expect(undo.stdout).toContain("1  wpid_1    https://relay.example.com/…  https://hooks.example.com/…  W 1");
  });

  it("register changes nothing where a copy cannot be deleted", async () => {
    const setting = await aSetting([workflow(1, null)]);
    setting.skyvern.faults.push({ on: /delete$/, times: 2, status: 500 });
    const { code, stdout } = await register(setting.env, ["--yes"]);
    expect(stdout).toMatch(/left alone: its copy wpid_\d+ could not be deleted/);
    expect({ code, address: addresses(setting)["wpid_1"] }).toEqual({ code: 1, address: null });
  });
});

it.each([
  ["", []],
  ["all", [1, 2, 3, 4]],
  ["1,3-4", [1, 3, 4]],
  [" 2  2 ", [2]],
  ["0", null],
  ["5", null],
  ["3-1", null],
  ["1-", null],
  ["-1", null],
  ["1.5", null],
  ["wpid_1", null],
  ["99999", null],
])("register takes %j as a choice out of four workflows: %j", (text, chosen) => {
  expect(parseChoice(text.trim(), 4)).toEqual(chosen);
});
