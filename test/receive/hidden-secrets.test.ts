/**
 * P6, the whole way: 10,000 secrets that a generator hides come by webhook, confirm, reconcile and backfill. None is in
 * the database file, its WAL, a backup, the log, the API, a page, an export, a message or a trace.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { backfillCommand } from "../../src/cli/backfill.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { aFolder, anApp, bytesIn, TOKEN, type TestApp } from "../support/app.ts";
import { atSkyvern } from "../support/at-skyvern.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, mutated } from "../support/fixtures.ts";
import { Hider, SECRET_MARK, spellOut } from "../support/hidden-secrets.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const HOUR = 3_600_000;
const SETTINGS = "skyvern: { confirm: true }\nredact: { keys: [iban] }";

it("none of 10,000 hidden secrets is stored, logged, shown or sent", async () => {
  const folder = aFolder();
  mkdirSync(join(folder, "db"));
  const runtime = aRuntime();
  const collector = await aCollector();
  const env = { DATABASE_URL: `sqlite:${join(folder, "db/relay.db")}`, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
  const relay = await anApp(env, { file: SETTINGS, standIns: ["http", "slack", "smtp"], runtime });
  const secrets = new Secrets(20_261_129);
  // The first attempts fail, so that reasons are written too.
  relay.standIns.http.answers.push({ status: 500, body: "no" });

  for (let n = 0; n < 80; n += 1) await accepted(relay, mutated("workflow_run.completed", workflow(secrets, n)));
  for (let n = 0; n < 400; n += 1) await accepted(relay, secrets.body(`tsk_place_${n}`));
  for (let n = 0; n < 20; n += 1) {
    relay.standIns.skyvern.addRun(aTask(secrets, `tsk_confirmed_${n}`, NOW - HOUR));
    const lie = JSON.stringify({ run_id: `tsk_confirmed_${n}`, status: "failed", failure_reason: secrets.text() });
    const answer = await relay.webhook(lie, { signature: null });
    expect(answer.status, answer.text).toBe(200);
    runtime.advance(10_000);
  }
  for (let n = 0; n < 40; n += 1) relay.standIns.skyvern.addRun(aTask(secrets, `tsk_listed_${n}`, NOW - 2 * HOUR));
  while ((await relay.app.reconcile()).found > 0);
  for (let n = 0; n < 40; n += 1) relay.standIns.skyvern.addRun(aTask(secrets, `tsk_filled_${n}`, NOW - 200 * HOUR));
  const stopped = new AbortController().signal;
  let said = "";
  const shell = {
    env: {},
    stdout: (text: string) => void (said += text),
    stderr: (text: string) => void (said += text),
    stopped,
    terminal: false,
  };
  await backfillCommand({ since: "30d", scope: "all", deliver: true }, { config: relay.config, runtime, shell });
  for (let n = 0; n < 5; n += 1) {
    await relay.deliver();
    runtime.advance(HOUR);
  }

  const { answers, ids } = await everyAnswer(relay);
  for (const name of ["tsk_confirmed_19", "tsk_listed_39", "tsk_filled_39", "wr_hidden_79"])
    expect(ids).toContain(name);
  const pages = await everyPage(relay, ids);
  const command = { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL: env.DATABASE_URL };
  const exported = await Promise.all(
    ["ndjson", "csv"].map((format) => runCommand(["export", "--format", format], command)),
  );
  const backup = await runCommand(["backup", "--to", join(folder, "backups")], command);
  expect(backup.code, backup.stderr).toBe(0);
  expect(readdirSync(join(folder, "db"))).toContain("relay.db-wal");
  const { http, slack, smtp } = relay.standIns;
  const found = {
    "database and WAL": bytesIn(join(folder, "db")),
    backup: bytesIn(join(folder, "backups")),
    api: answers,
    pages,
    export: exported.map(({ stdout }) => stdout).join("\n"),
    metrics: (await relay.get("/metrics")).text,
    log: relay.log(),
    commands: said + backup.stdout,
    http: JSON.stringify(http.requests),
    slack: JSON.stringify(slack.calls),
    email: smtp.messages.map(({ raw }) => readable(raw)).join("\n"),
    traces: await relay.stop().then(() => collector.received()),
  };
  expect(secrets.count).toBeGreaterThanOrEqual(10_000);
  // Each place holds something of the runs, or nothing could be found there.
  for (const [where, text] of Object.entries(found))
    expect({ where, length: text.length > 500 }).toEqual({ where, length: where !== "commands" });
  for (const where of ["api", "pages", "export", "http", "slack", "email"] as const)
    expect({ where, isMasked: found[where].includes("[redacted]") }).toEqual({ where, isMasked: true });
  const leaked = Object.entries(found).map(([where, text]) => ({ where, leaked: secrets.leakedIn(text) }));
  expect(leaked.filter((one) => one.leaked.length > 0)).toEqual([]);
}, 600_000);

/** Hands out texts that hold a secret each, and finds these again. */
class Secrets {
  readonly #hider: Hider;
  /** The last eight characters of each, in lower case: a search index stores no beginnings and no capitals. */
  readonly #ends = new Set<string>();

  constructor(seed: number) {
    this.#hider = new Hider(seed);
  }

  get count(): number {
    return this.#ends.size;
  }

  text(): string {
    const { secret, text } = this.#hider.hide();
    this.#ends.add(secret.slice(-8).toLowerCase());
    return text;
  }

  texts(count: number): string[] {
    return Array.from({ length: count }, () => this.text());
  }

  /** One somewhere in a body, of a run where that is JSON and has room for it. */
  body(id: string): string {
    const body = this.#hider.place(this.text());
    try {
      const parsed = JSON.parse(body) as object;
      return JSON.stringify({ task_id: id, status: "completed", ...parsed, run_id: id });
    } catch {
      return body;
    }
  }

  /** What of them a text holds, with a little around it. */
  leakedIn(text: string): string[] {
    const found: string[] = [];
    // The relay's own signatures are random, and may spell the mark.
    const foreign = text
      .replaceAll(/\/artifacts\/[^/\s"?]+\/[^/\s"?]+\?exp=\d+&(?:amp;)?sig=[\w-]{43}/g, "")
      .replaceAll(/"webhook-signature":"v1,[\w+/]{43}="/g, "");
    for (const spelling of [foreign, spellOut(foreign)]) {
      const lower = spelling.toLowerCase();
      for (let at = spelling.indexOf(SECRET_MARK); at >= 0; at = spelling.indexOf(SECRET_MARK, at + 1))
        found.push(spelling.slice(Math.max(0, at - 80), at + 30));
      for (let at = 0; at + 8 <= lower.length; at += 1)
        if (this.#ends.has(lower.slice(at, at + 8))) found.push(spelling.slice(Math.max(0, at - 80), at + 12));
    }
    return found.slice(0, 5);
  }
}

const workflow = (secrets: Secrets, n: number): Record<string, unknown> => ({
  run_id: `wr_hidden_${n}`,
  workflow_run_id: `wr_hidden_${n}`,
  status: n % 2 === 0 ? "completed" : "failed",
  workflow_title: secrets.text(),
  failure_reason: n % 2 === 0 ? null : secrets.texts(3).join("\n"),
  output: { rows: secrets.texts(30).map((text) => ({ text })), [secrets.text()]: 1 },
  outputs: null,
  parameters: { notes: secrets.texts(10), config: JSON.stringify({ notes: secrets.texts(5) }) },
  errors: secrets.texts(3).map((reasoning) => ({ error_code: "E", reasoning })),
});

const aTask = (secrets: Secrets, id: string, endedAt: number) =>
  atSkyvern({
    id,
    endedAt,
    status: "completed",
    payload: {
      output: { rows: secrets.texts(45), text: secrets.texts(5).join("\nand\n") },
      failure_reason: secrets.text(),
      extracted_information: { list: secrets.texts(4) },
      screenshot_urls: null,
      action_screenshot_urls: null,
      recording_url: null,
    } as JsonObject,
  });

async function accepted(relay: TestApp, body: string): Promise<void> {
  const answer = await relay.webhook(body);
  expect(answer.status, answer.text).toBeLessThan(300);
}

/** A collector of traces. */
async function aCollector() {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      bodies.push(Buffer.concat(chunks).toString());
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received: () => bodies.join("\n") };
}

/** Every item of a list of the API. */
async function everyItem<T>(relay: TestApp, path: string): Promise<T[]> {
  const all: T[] = [];
  for (let cursor: string | null = null; ;) {
    const page: { data: T[]; next_cursor?: string | null } = await relay.read(
      `${path}?limit=200${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    all.push(...page.data);
    if (page.next_cursor === null || page.next_cursor === undefined) return all;
    cursor = page.next_cursor;
  }
}

async function everyAnswer(relay: TestApp): Promise<{ answers: string; ids: string[] }> {
  const answers: string[] = [];
  const see = async (path: string) => void answers.push((await relay.get(path)).text);
  const runs = await everyItem<{ run_id: string }>(relay, "/v1/runs");
  answers.push(JSON.stringify(runs));
  for (const { run_id: id } of runs) {
    const run = await relay.read<{ receipts: { id: string }[] }>(`/v1/runs/${id}`);
    answers.push(JSON.stringify(run));
    for (const receipt of run.receipts) await see(`/v1/runs/${id}/receipts/${receipt.id}/raw`);
  }
  for (const { id } of await everyItem<{ id: string }>(relay, "/v1/receipts/unrecognized"))
    await see(`/v1/receipts/${id}/raw`);
  for (const path of ["/v1/deliveries", "/v1/sinks", "/v1/receipts/unrecognized"]) await see(path);
  return { answers: answers.join("\n"), ids: runs.map(({ run_id: id }) => id) };
}

async function everyPage(relay: TestApp, ids: readonly string[]): Promise<string> {
  const fetch = async (path: string, init: RequestInit = {}) =>
    relay.app.fetch(new Request(`http://relay.test${path}`, { redirect: "manual", ...init }));
  const own = { "sec-fetch-site": "same-origin", origin: "http://relay.test" };
  const login = await fetch("/login", { method: "POST", body: new URLSearchParams({ token: TOKEN }), headers: own });
  const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
  const texts: string[] = [];
  for (const path of ["/", "/deliveries", "/unrecognized", "/sinks", ...ids.map((id) => `/runs/${id}`)]) {
    const answer = await fetch(path, { headers: { cookie } });
    expect(answer.status, path).toBe(200);
    texts.push(await answer.text());
  }
  return texts.join("\n");
}

/** Quoted-printable and base64 parts as they read. */
const readable = (raw: string): string =>
  raw
    .replaceAll("=\r\n", "")
    .replaceAll("=3D", "=")
    .replace(/(?:^[A-Za-z0-9+/]{60,}={0,2}\r\n)+/gm, (part) => Buffer.from(part, "base64").toString("utf8"));
