import { execFileSync, spawn } from "node:child_process";
import { createHmac, createSecretKey } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { withKeyTable } from "../../scripts/key-table.ts";
import { loadConfig, relaySchema } from "../../src/config/config.ts";
import { KINDS } from "../../src/sinks/kinds.ts";
import { SECRET_VARIABLES, EnvironmentSchema } from "../../src/config/environment.ts";
import { sign } from "../../src/sinks/http/message.ts";
import { aFolder, TOKEN } from "../support/app.ts";
import { atSkyvern } from "../support/at-skyvern.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { FIXTURE_KEY, fixtureBytes } from "../support/fixtures.ts";
import { serve } from "../support/process.ts";
import { WHSEC } from "../config/source.ts";
import { until } from "../support/until.ts";
import { blocks, blocksOf, DOCUMENTS, nameOf, read, ROOT, type Block } from "./documents.ts";

describe("what documents tell to run", () => {
  const runnable = blocks("sh").filter(({ notRun }) => notRun === null);

  it("every command of the documents is run here, or says before it why not", () => {
    expect(runnable.length).toBeGreaterThan(4);
    // What is left out with … cannot be run as it stands.
    expect(
      runnable.filter(({ text }) => text.includes("…")).map(nameOf),
      "put <!-- not run: why --> before it",
    ).toEqual([]);
  });

  it.each([...new Set(runnable.map(({ document }) => document))])(
    "the commands of %s work as they stand",
    async (document) => {
      const folder = aFolder();
      const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
      const sink = await startHttpSink();
      try {
        skyvern.addRun(atSkyvern({ id: "tsk_1", endedAt: Date.now() - 3_600_000 }));
        const database = `sqlite:${join(folder, "data/relay.db")}`;
        const env = {
          DATABASE_URL: database,
          SKYVERN_BASE_URL: skyvern.url,
          SKYVERN_API_KEY: FIXTURE_KEY,
          SINK_URL: sink.url,
          ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
        };
        mkdirSync(join(folder, "data"));
        const relay = await serve(env);
        expect((await relay.webhook(fixtureBytes("task_v2.completed"))).status).toBe(200);
        await until("the sink was told", () => sink.requests.length > 0);
        mkdirSync(join(folder, "bin"));
        symlinkSync(join(ROOT, "bin/skyvern-relay"), join(folder, "bin/skyvern-relay"));
        const PATH = `${join(folder, "bin")}:${dirname(process.execPath)}:${process.env["PATH"]}`;
        for (const block of runnable.filter((one) => one.document === document)) {
          const script = block.text.replaceAll("http://localhost:8080", relay.url);
          const said = await bash(script, { cwd: folder, env: { ...env, PATH, RELAY_TOKEN: TOKEN } });
          expect(said, nameOf(block)).toMatchObject({ code: 0 });
          // curl is content with any answer.
          expect(said.stdout, nameOf(block)).not.toMatch(/"status":\s*[45]\d\d/);
        }
      } finally {
        await Promise.all([skyvern.close(), sink.close()]);
      }
    },
  );
});

function bash(script: string, options: { cwd: string; env: Record<string, string> }) {
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn("bash", ["-euc", script], { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => void (stdout += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString("utf8")));
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

describe("configuration in documents", () => {
  const files = blocks("yaml").filter(({ notRelay }) => notRelay === null);

  it.each(files.map((block): [string, Block] => [nameOf(block), block]))(
    "the configuration in %s loads as a relay.yaml",
    (_name, { text }) => {
      const names = [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name = ""]) => name);
      const valueOf = (name: string) =>
        name.endsWith("_URL") && name.startsWith("SMTP")
          ? "smtp://mail.example.com"
          : name.endsWith("_URL")
            ? "https://hooks.slack.com/services/T0/B0/x"
            : name.includes("BOT")
              ? "xoxb-1"
              : name.includes("SECRET") && !name.startsWith("AWS")
                ? WHSEC
                : "k1";
      const env = {
        SKYVERN_API_KEY: "k1",
        RELAY_CONFIG: "it.yaml",
        ...Object.fromEntries(names.map((name) => [name, valueOf(name)])),
      };
      const loaded = loadConfig({ env, readFile: () => text, cwd: "/" });
      expect(loaded.ok ? [] : loaded.faults).toEqual([]);
    },
  );

  it("the other YAML and JSON in the documents can be parsed", () => {
    for (const { text } of blocks("yaml")) parse(text);
    for (const { text } of blocks("json")) JSON.parse(text);
  });

  it("docs/configuration.md has every key of relay.yaml, as the schema has it: run scripts/schema", () => {
    const document = read("docs/configuration.md");
    expect(document).toBe(withKeyTable(document, JSON.parse(JSON.stringify(relaySchema())) as object));
    expect(document).toContain("| `delivery.timeout` | `15s` |");
  });

  it("docs/configuration.md says of every key of relay.yaml what it means", () => {
    expect(
      [...read("docs/configuration.md").matchAll(/^\| (`[^|]+`) \| [^|]* \| *\|$/gm)].map(([, key]) => key),
    ).toEqual([]);
  });

  it("docs/configuration.md has every variable, and none that the relay does not know", () => {
    const section = /## Variables\n([\s\S]*?)\n## /.exec(read("docs/configuration.md"))?.[1] ?? "";
    const known = [
      ...new Set([
        ...Object.keys(EnvironmentSchema.shape),
        ...SECRET_VARIABLES,
        ...KINDS.flatMap(({ shortcut, api }) => [
          ...Object.keys(shortcut?.variables ?? {}),
          ...(api ? [api.variable] : []),
        ]),
        "RELAY_CONFIG",
      ]),
    ];
    const said = new Set([...section.matchAll(/`([A-Z][A-Z_]+[A-Z])`/g)].map(([, name]) => name));
    expect(known.filter((name) => !said.has(name))).toEqual([]);
    expect([...said].filter((name) => !known.includes(name ?? "")).toSorted()).toEqual(["NAME_FILE", "NO_COLOR"]);
  });
});

describe("the verifiers in docs/sinks.md", () => {
  const code = (language: string) => blocksOf("docs/sinks.md").find((block) => block.language === language)?.text ?? "";
  const body = '{"type":"run.completed","data":{"title":"Rechnung über 3 €"}}';
  const headersOf = (timestamp: number, signed = body) => ({
    "webhook-id": "dlv_1",
    "webhook-timestamp": `${timestamp}`,
    "webhook-signature": `v1,${createHmac("sha256", "another").update("x").digest("base64")} ${sign({ id: "dlv_1", timestamp, body: signed }, [createSecretKey(WHSEC.slice(6), "base64")])}`,
  });
  const now = Math.floor(Date.now() / 1000);
  const CASES = [
    { headers: headersOf(now), genuine: true },
    { headers: headersOf(now, `${body} `), genuine: false },
    { headers: headersOf(now - 3600), genuine: false },
    { headers: { ...headersOf(now), "webhook-id": "dlv_2" }, genuine: false },
    { headers: { ...headersOf(now), "webhook-signature": "v1,x" }, genuine: false },
    { headers: {}, genuine: false },
  ];
  const input = () => JSON.stringify({ body, secret: WHSEC, cases: CASES.map(({ headers }) => headers) });
  const expected = CASES.map(({ genuine }) => genuine);

  it("the verifier in JavaScript in docs/sinks.md takes what the relay signs, and nothing else", () => {
    const file = join(aFolder(), "it.mjs");
    writeFileSync(
      file,
      `${code("js")}
const { body, secret, cases } = JSON.parse(process.argv[2]);
console.log(JSON.stringify(cases.map((headers) => isGenuine(headers, body, secret))));`,
    );
    expect(JSON.parse(execFileSync(process.execPath, [file, input()], { encoding: "utf8" }))).toEqual(expected);
  });

  it("the verifier in Python in docs/sinks.md takes what the relay signs, and nothing else", () => {
    const program = `${code("python")}
import json, sys
given = json.loads(sys.argv[1])
print(json.dumps([is_genuine(headers, given["body"].encode(), given["secret"]) for headers in given["cases"]]))`;
    expect(JSON.parse(execFileSync("python3", ["-c", program, input()], { encoding: "utf8" }))).toEqual(expected);
  });
});

it("every link in the documents leads to a file and a heading that exist", () => {
  const dead = DOCUMENTS.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)/g)].flatMap(([link, target = "", anchor]) => {
      const path = target === "" ? join(ROOT, document) : join(ROOT, dirname(document), target);
      const found = existsSync(path) && (anchor === undefined || anchorsOf(path).includes(anchor));
      return found ? [] : [`${document}: ${link.slice(2, -1)}`];
    }),
  );
  expect(dead).toEqual([]);
});

/** Of a Markdown file's headings, as GitHub makes them. */
const anchorsOf = (path: string): string[] =>
  [...readFileSync(path, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

it("every document is found from the README", () => {
  const linked = new Set([...read("README.md").matchAll(/\]\((docs\/[^)#]+)/g)].map(([, path]) => path));
  expect(DOCUMENTS.filter((document) => document !== "README.md" && !linked.has(document))).toEqual([]);
});

it.each(["docs/performance.md", "docs/scale.md"])("%s has a place for what `bench/run --write` writes", (document) => {
  const [from, to] = ["<!-- figures: written by", "<!-- end of figures -->"].map((mark) =>
    read(document).indexOf(mark),
  );
  expect(from).toBeGreaterThan(0);
  expect(to).toBeGreaterThan(from ?? 0);
});
