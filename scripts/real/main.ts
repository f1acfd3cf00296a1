/**
 * Runs every kind of run on a real Skyvern with the relay beside it, and checks the relay's word against Skyvern's own.
 */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { startHttpSink } from "../../src/stand-ins/http-sink.ts";
import { startSlack } from "../../src/stand-ins/slack.ts";
import { startSmtp } from "../../test/support/smtp.ts";
import { CASES, type Case, type KnownRun, type World } from "./cases.ts";
import { timeFirstMinutes } from "./first-minutes.ts";
import { startModel } from "./model.ts";
import { startPortal } from "./portal.ts";
import { aRelay, aSkyvern } from "./processes.ts";
import { checkRegister } from "./register.ts";
import { skyvernApi, type Row } from "./skyvern-api.ts";

const TOKEN = "a-token-for-this-machine-only";
const RUN_MS = 240_000;
const LANES = 4;
/** After a run's end: its webhook, the round that would find it, and the deliveries. */
const TOLD_MS = 30_000;
const FINAL = new Set(["completed", "failed", "terminated", "timed_out", "canceled"]);
/** Of artifacts that are compared. */
const TYPES = ["recording", "screenshot_final", "screenshot_action", "download", "pdf"];
/** A v2 task's recording is final after its webhook: the relay looks again a minute later. */
const ARTIFACTS_MS = 80_000;

const [dir = ""] = process.argv.slice(2);
const only = process.env["ONLY"]?.split(",");
rmSync(join(dir, "relay.db"), { force: true });

const [model, portal, http, slack, mails, pausing] = await Promise.all([
  startModel(),
  startPortal(),
  startHttpSink({}),
  startSlack(),
  startSmtp(),
  // Skyvern's own mails: it insists on TLS and a login.
  startSmtp({ startTls: true, auth: { user: "skyvern", pass: "skyvern" } }),
]);
const smtp = { port: Number(new URL(pausing.url).port), user: "skyvern", password: "skyvern" };
const server = await aSkyvern({ dir, modelUrl: model.url, smtp });
say("starts Skyvern");
await server.start();
const relay = await aRelay(dir, {
  SKYVERN_API_KEY: server.key(),
  SKYVERN_BASE_URL: server.url,
  DATABASE_URL: `sqlite:${join(dir, "relay.db")}`,
  RELAY_TOKEN: TOKEN,
  RELAY_CONFIG: "/dev/null",
  ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
  SINK_URL: http.url,
  SLACK_BOT_TOKEN: slack.token,
  SLACK_CHANNEL: "C0123ABCD",
  SLACK_API_URL: slack.url,
  SMTP_URL: mails.url,
  EMAIL_FROM: "relay@example.com",
  EMAIL_TO: "ops@example.com",
});
say("starts the relay");
await relay.start();
const skyvern = skyvernApi(server.url, server.key, `${relay.url}/webhook`);

interface Line {
  name: string;
  runId: string;
  /** What Skyvern says, and what the relay told. */
  said: string;
  told: string;
  faults: string[];
}
const lines: Line[] = [];
const run = promisify(execFile);

const world: World = { skyvern, portalUrl: portal.url, until, known: (runId) => ask<KnownRun>(`/v1/runs/${runId}`) };

try {
  const wanted = CASES.filter(({ name }) => only === undefined || only.some((part) => name.includes(part)));
  const browsers = wanted.filter(({ browser }) => browser);
  const plain = wanted.filter(({ browser }) => !browser);
  const inTurn = async () => {
    for (const one of browsers) await check(one);
  };
  const inLane = async () => {
    for (let one = plain.shift(); one !== undefined; one = plain.shift()) await check(one);
  };
  // On SQLite the server cannot take many at one time.
  await Promise.all([...Array.from({ length: LANES }, inLane), inTurn()]);
  if (only === undefined || only.includes("stops")) await checkStops();
  if (only === undefined || only.includes("register")) {
    const faults = await checkRegister(skyvern, relay.env);
    lines.push({ name: "register and --undo", runId: "", said: "the same but for the address", told: "", faults });
  }
  if (only === undefined || only.includes("first-minutes")) {
    const { said, faults } = await timeFirstMinutes(skyvern, { url: server.url, key: server.key() });
    lines.push({ name: "the first minutes", runId: "", said, told: "", faults });
  }
  if (only === undefined || only.includes("doctor")) await checkDoctor();
} finally {
  await Promise.all([relay.stop(), server.stop()]);
  await Promise.all([http, slack, mails, pausing].map((standIn) => standIn.close()));
  model.close();
  portal.close();
}

console.log("\n| run | what Skyvern says | what the relay told | |\n| --- | --- | --- | --- |");
for (const { name, said, told, faults } of lines)
  console.log(`| ${name} | ${said} | ${told} | ${faults.length === 0 ? "ok" : faults.join("; ")} |`);
const faulty = lines.filter(({ faults }) => faults.length > 0);
console.log(
  `\n${lines.length} runs, ${faulty.length === 0 ? "all as Skyvern has them" : `${faulty.length} not as they should be`}`,
);
process.exit(faulty.length === 0 ? 0 : 1);

function say(words: string): void {
  console.error(`real-skyvern: ${words}`);
}

async function rowOf(runId: string): Promise<Row | undefined> {
  const rows = await skyvern.get<Row[]>("/v1/runs?page_size=100").catch(() => []);
  return rows.find(({ run_id }) => run_id === runId);
}

async function until(runId: string, fits: (row: Row) => boolean): Promise<Row> {
  const deadline = Date.now() + RUN_MS;
  for (;;) {
    const row = await rowOf(runId);
    if (row && fits(row)) return row;
    if (Date.now() > deadline) throw new Error(`${runId} is still ${row?.status ?? "not listed"}`);
    await sleep(500);
  }
}

async function check(one: Case): Promise<void> {
  const line: Line = { name: one.name, runId: "", said: "", told: "", faults: [] };
  lines.push(line);
  try {
    const [runId = "", ...others] = await one.start(world);
    line.runId = runId;
    const meanwhile = one.meanwhile?.(world, runId);
    for (const id of [runId, ...others]) await watch(Object.assign(line, { runId: id }), one.expected);
    await meanwhile;
    line.faults.push(...((await one.faultsOf?.(await world.known(runId), world, runId)) ?? []));
  } catch (error) {
    line.faults.push(String(error instanceof Error ? error.message : error).slice(0, 300));
  }
  say(`${line.name}: ${line.said}; ${line.told}${line.faults.length === 0 ? "" : ` — ${line.faults.join("; ")}`}`);
}

/** Watches a run until its end at Skyvern and at the relay, and compares the two. */
async function watch(line: Line, expected: Case["expected"]): Promise<void> {
  const { runId, faults } = line;
  const row = await until(runId, ({ status, retry_pending }) => {
    if (toldOf(runId).http.length > 0 && !FINAL.has(status)) faults.push(`was told while Skyvern said ${status}`);
    return FINAL.has(status) && retry_pending !== true;
  });
  const attempts = row.attempt ?? 1;
  line.said = `${row.status}${attempts > 1 ? `, attempt ${attempts}` : ""}`;
  if (row.status !== expected.status) faults.push(`expected ${expected.status} of Skyvern`);
  if (attempts !== (expected.attempts ?? 1)) faults.push(`expected attempt ${expected.attempts ?? 1} of Skyvern`);
  const deadline = Date.now() + TOLD_MS;
  while (!isTold(runId) && Date.now() < deadline) await sleep(300);
  // A second message would come now.
  await sleep(3_000);
  const told = toldOf(runId);
  line.told = told.http.length === 0 ? "nothing" : `${told.http.join(", ")} “${told.headline}”`;
  if (told.http.join() !== `run.${row.status}`) faults.push(`the HTTP sink got ${told.http.join(", ") || "nothing"}`);
  if (told.slack !== 1) faults.push(`${told.slack} Slack messages`);
  if (told.mails !== 1) faults.push(`${told.mails} mails`);
  await compare(line, row);
}

async function compare({ runId, faults }: Line, row: Row): Promise<void> {
  const known = await ask<RelayRun>(`/v1/runs/${runId}`);
  if (known.status !== row.status) faults.push(`the relay has ${known.status}`);
  if (known.attempt !== (row.attempt ?? 1)) faults.push(`the relay has attempt ${known.attempt}`);
  const answer = await skyvern.get<{ attempts?: { status: string }[]; output?: unknown }>(`/v1/runs/${runId}`);
  const statuses = (list: readonly { status: string }[]) => list.map(({ status }) => status).join(", ");
  const expected = (answer.attempts ?? []).length > 1 ? (answer.attempts ?? []) : known.attempts;
  if (statuses(known.attempts) !== statuses(expected)) faults.push(`attempts ${statuses(known.attempts)}`);
  // The relay masks the headers in it, so that only its form is the same.
  if (formOf(answer.output) !== formOf(known.output)) faults.push("another output");
  const missing = await missingArtifacts(runId, known.workflow?.run_id ?? runId);
  if (missing.length > 0) faults.push(`artifacts are missing: ${missing.join(", ")}`);
  if (known.receipts.length === 0) faults.push("no receipt");
}

/** What Skyvern lists with bytes and the relay does not have. */
async function missingArtifacts(runId: string, workflowRun: string): Promise<string[]> {
  const query = TYPES.map((type) => `artifact_type=${type}`).join("&");
  const deadline = Date.now() + ARTIFACTS_MS;
  for (;;) {
    const [known, listed] = await Promise.all([
      ask<RelayRun>(`/v1/runs/${runId}`),
      skyvern.get<ArtifactRow[]>(`/v1/runs/${workflowRun}/artifacts?${query}`),
    ]);
    const there = new Set(known.artifacts.map(({ artifact_id }) => artifact_id));
    const missing = listed.filter(({ artifact_id, file_size }) => file_size !== 0 && !there.has(artifact_id));
    if (missing.length === 0 || Date.now() > deadline) return missing.map(({ artifact_type }) => artifact_type);
    await sleep(2_000);
  }
}

interface ArtifactRow {
  artifact_id: string;
  artifact_type: string;
  file_size: number | null;
}

function formOf(output: unknown): string {
  return typeof output === "object" && output !== null ? Object.keys(output).join() : typeof output;
}

interface RelayRun {
  status: string;
  attempt: number;
  attempts: { status: string }[];
  output: unknown;
  workflow: { run_id: string | null } | null;
  artifacts: { artifact_id: string }[];
  receipts: unknown[];
}

async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(`${relay.url}${path}`, { headers: { authorization: `Bearer ${TOKEN}` } });
  if (!answer.ok) throw new Error(`the relay answered GET ${path} with ${answer.status}`);
  return (await answer.json()) as T;
}

function toldOf(runId: string): { http: string[]; slack: number; mails: number; headline: string } {
  const bodies = http.requests.map(({ body }) => JSON.parse(body) as { type: string; data: { run_id: string } });
  // What a message names as its run: a child's message names its parent too.
  const posts = slack
    .messages()
    .filter(({ thread_ts, metadata }) => thread_ts === null && metadata?.event_payload["run_id"] === runId);
  return {
    http: bodies.filter(({ data }) => data.run_id === runId).map(({ type }) => type),
    slack: posts.length,
    mails: mails.messages.filter(({ raw }) => new RegExp(`^X-Skyvern-Run-Id:\\s+${runId}\\r?$`, "im").test(raw)).length,
    headline: posts[0]?.text.split(" – ")[0] ?? "",
  };
}

function isTold(runId: string): boolean {
  const told = toldOf(runId);
  return told.http.length > 0 && told.slack > 0 && told.mails > 0;
}

/** What doctor says of the relay's address with Skyvern's checks off, on, and on with the relay's host allowed. */
async function checkDoctor(): Promise<void> {
  const settings: [string, Record<string, string>, RegExp][] = [
    ["off", { ENABLE_URL_VALIDATION: "false" }, /^ok Skyvern [\d.]+ reaches /],
    ["on", { ENABLE_URL_VALIDATION: "true", ALLOWED_HOSTS: "[]" }, /^fault .* set ALLOWED_HOSTS=\["127.0.0.1"\]/s],
    ["on, host allowed", { ENABLE_URL_VALIDATION: "true" }, /^ok Skyvern [\d.]+ reaches /],
  ];
  for (const [name, env, expected] of settings) {
    await server.stop();
    await server.start(env);
    const line: Line = {
      name: `doctor, validation ${name}`,
      runId: "",
      said: JSON.stringify(env),
      told: "",
      faults: [],
    };
    lines.push(line);
    const { stdout } = await run(process.execPath, ["src/main.ts", "doctor", "--json"], {
      env: { ...process.env, ...relay.env },
    }).catch((error: { stdout: string }) => error);
    const { checks } = JSON.parse(stdout) as { checks: { check: string; state: string; found: string; fix: string }[] };
    const found = checks.filter(({ check }) => check === "PUBLIC_URL" || check === "runs");
    line.told = found
      .map(({ state, found: words, fix }) => `${state} ${words}${fix === null ? "" : ` → ${fix}`}`)
      .join(" / ");
    if (!expected.test(line.told)) line.faults.push(`expected ${expected}`);
    say(`${line.name}: ${line.told}`);
  }
}

/** The relay, then Skyvern, is stopped between two attempts of a run, and started again. */
async function checkStops(): Promise<void> {
  const policy = {
    max_retries: 1,
    delay_seconds: 12,
    webhook_on_retry: "every_attempt",
    retry_on: [{ status: "failed" }],
  };
  const begin = async (name: string): Promise<Line> => {
    const blocks = [
      { block_type: "http_request", label: "rates", method: "GET", url: `${portal.url}/flaky/${Date.now()}` },
    ];
    const runId = await skyvern.run(await skyvern.workflow(name, blocks, { retry_policy: policy }));
    const line: Line = { name, runId, said: "", told: "", faults: [] };
    lines.push(line);
    await until(runId, ({ retry_pending }) => retry_pending === true);
    return line;
  };
  const expected = { status: "completed", attempts: 2 };
  const first = await begin("the relay is killed between two attempts");
  await sleep(2_000);
  await relay.stop("SIGKILL");
  await until(first.runId, ({ status, retry_pending }) => FINAL.has(status) && retry_pending !== true);
  // Skyvern gives its webhook up, and the run is old enough to be read from its list.
  await sleep(40_000);
  await relay.start();
  await watch(first, expected);
  say(`${first.name}: ${first.said}; ${first.told}; ${first.faults.join("; ")}`);
  const second = await begin("Skyvern is stopped between two attempts");
  await sleep(2_000);
  await server.stop();
  await sleep(3_000);
  await server.start();
  await watch(second, expected);
  say(`${second.name}: ${second.said}; ${second.told}; ${second.faults.join("; ")}`);
}
