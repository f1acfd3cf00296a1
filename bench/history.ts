/**
 * What looking back costs with 1,000,000 stored runs against 10,000: both databases are made through the relay's own
 * parts, a relay is started on each, and every question is asked of both in turn over HTTP on loopback, in the other
 * order on odd rounds. Prints p50 and p99 of both and the median of the rounds' ratios; writes them as JSON.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadConfig } from "../src/config/config.ts";
import { schemaSql } from "../src/store/schema/schema.ts";
import { GOALS, questionsOf, WORST_P99_MS, type Question } from "./history-data/questions.ts";
import { make, type Size } from "./history-data/size.ts";

const HELP = `Usage: bench/history [options]

  --small N      runs in the smaller database (10000)
  --large N      runs in the larger database (1000000; about 10 GB)
  --rounds N     rounds (20), each asks every question --each times (10) of both
  --each N
  --only TEXT    questions whose name contains it
  --keep FOLDER  keeps the databases there and uses those of the same schema; else they are removed at the end
  --json FILE    where the figures go (history.json in the folder of the databases, when it is kept)
  --fill-only    makes the databases and ends
`;

const { values: given } = parseArgs({
  options: {
    small: { type: "string", default: "10000" },
    large: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "20" },
    each: { type: "string", default: "10" },
    only: { type: "string" },
    keep: { type: "string" },
    json: { type: "string" },
    "fill-only": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const TOKEN = "a-token-of-the-benchmark";
const ENVIRONMENT = {
  SKYVERN_API_KEY: `x.${Buffer.from('{"sub":"o_512846093377601280"}').toString("base64url")}.x`,
  // Skyvern is not asked and nothing is delivered, because nothing is due.
  SKYVERN_BASE_URL: "http://127.0.0.1:9",
  HOST: "127.0.0.1",
  PORT: "0",
  PUBLIC_URL: "http://127.0.0.1",
  RELAY_TOKEN: TOKEN,
  LOG_LEVEL: "info",
};
const RELAY_YAML = `
skyvern: { reconcile: false }
sinks:
  ops: { kind: slack, token: xoxb-bench, channel: C0123ABCD }
  crm: { kind: http, url: https://crm.example.com/hook }
routes:
  - { name: failures, when: { status: ["!completed"] }, to: [ops, crm] }
  - { name: rest, when: { run_type: ["task_v2", "workflow_run"] }, to: [crm] }
  - { name: other, when: { run_type: task_v1, status: completed }, to: [ops] }
`;

/** Of the newest run: the same in both, and at every start. */
async function database(folder: string, runs: number): Promise<{ path: string; until: number }> {
  const path = join(folder, `history-${runs}.db`);
  const note = `${path}.json`;
  if (existsSync(note)) {
    const made = JSON.parse(readFileSync(note, "utf8")) as Size & { schema: string };
    if (made.schema === schemaSql("sqlite")) return { path, until: made.until };
  }
  const loaded = loadConfig({ env: ENVIRONMENT, readFile: readYaml });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults));
  const { config } = loaded;
  for (const ending of ["", "-wal", "-shm", ".lock", ".json", ".building"]) rmSync(`${path}${ending}`, { force: true });
  const from = performance.now();
  const until = Math.floor(Date.now() / 3_600_000) * 3_600_000 - 1;
  let said = 0;
  const building = `${path}.building`;
  const progress = (done: number): void => {
    if (done < said + 50_000) return;
    said = done;
    print(`${done} of ${runs} runs, ${Math.round(done / ((performance.now() - from) / 1000))} a second`);
  };
  await make(building, { runs, until }, { config, progress });
  renameSync(building, path);
  writeFileSync(note, JSON.stringify({ runs, until, schema: schemaSql("sqlite") }));
  const bytes = statSync(path).size;
  const seconds = (performance.now() - from) / 1000;
  print(
    `${runs} runs made in ${seconds.toFixed(0)} s: ${(bytes / 1e6).toFixed(0)} MB, ${Math.round(bytes / runs)} bytes a run`,
  );
  return { path, until };
}

function readYaml(path: string): string {
  if (path === "relay.yaml") return RELAY_YAML;
  throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
}

interface Relay {
  process: ChildProcess;
  questions: Question[];
  ask(path: string): Promise<number>;
}

async function startRelay(folder: string, runs: number): Promise<Relay> {
  const { path, until } = await database(folder, runs);
  const home = mkdtempSync(join(folder, "home-"));
  writeFileSync(join(home, "relay.yaml"), RELAY_YAML);
  const relay = spawn(process.execPath, [fileURLToPath(new URL("../src/main.ts", import.meta.url)), "serve"], {
    cwd: home,
    env: { PATH: process.env["PATH"], ...ENVIRONMENT, DATABASE_URL: `sqlite:${path}` },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await new Promise<number>((found, failed) => {
    let log = "";
    relay.stdout.on("data", (chunk: Buffer) => {
      if (log.length < 1e6) log += chunk.toString();
      const port = /"relay\.started".*?"port":(\d+)|"port":(\d+).*?"relay\.started"/.exec(log);
      if (port) found(Number(port[1] ?? port[2]));
    });
    relay.once("close", () => failed(new Error(`the relay ended\n${log}`)));
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const cookie = await logIn(port, agent);
  return {
    process: relay,
    questions: questionsOf({ runs, until }),
    ask: async (address) => {
      const from = performance.now();
      const { status, bytes } = await get(port, agent, address, cookie);
      const ms = performance.now() - from;
      if (status !== 200 || bytes === 0) throw new Error(`${address} answered ${status}`);
      return ms;
    },
  };
}

const get = (port: number, agent: Agent, path: string, cookie: string): Promise<{ status: number; bytes: number }> =>
  new Promise((done, failed) => {
    const isPage = !path.startsWith("/v1") && path !== "/metrics";
    const headers = isPage ? { cookie } : { authorization: `Bearer ${TOKEN}` };
    const asked = request({ host: "127.0.0.1", port, path, agent, headers }, (answer) => {
      let bytes = 0;
      answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
      answer.on("end", () => done({ status: answer.statusCode ?? 0, bytes }));
      answer.on("error", failed);
    });
    asked.on("error", failed);
    asked.end();
  });

const logIn = (port: number, agent: Agent): Promise<string> =>
  new Promise((done, failed) => {
    const origin = `http://127.0.0.1:${port}`;
    const headers = { "content-type": "application/x-www-form-urlencoded", origin, host: `127.0.0.1:${port}` };
    const asked = request({ host: "127.0.0.1", port, path: "/login", method: "POST", agent, headers }, (answer) => {
      answer.resume();
      const cookies = (answer.headers["set-cookie"] ?? []).map((cookie) => cookie.split(";")[0]).join("; ");
      if (cookies === "") failed(new Error(`logging in was answered ${answer.statusCode}`));
      else done(cookies);
    });
    asked.on("error", failed);
    asked.end(`token=${TOKEN}`);
  });

const percentile = (values: readonly number[], p: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;
};

interface Figures {
  question: string;
  group: Question["group"];
  small: { p50: number; p99: number };
  large: { p50: number; p99: number };
  /** Median of the rounds' ratios of medians. */
  ratio: number;
  goal: number;
}

async function measure(small: Relay, large: Relay, rounds: number, each: number): Promise<Figures[]> {
  const names = small.questions
    .map(({ name }) => name)
    .filter((name) => given.only === undefined || name.includes(given.only));
  const taken = new Map(
    names.map((name) => [name, { small: [] as number[], large: [] as number[], ratios: [] as number[] }]),
  );
  // The first round warms both up and does not count.
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, figures] of taken) {
      const medians = { small: 0, large: 0 };
      for (const size of round % 2 === 0 ? (["small", "large"] as const) : (["large", "small"] as const)) {
        const relay = size === "small" ? small : large;
        const question = relay.questions.find((one) => one.name === name) as Question;
        const ms: number[] = [];
        for (let i = 0; i < each; i += 1) ms.push(await relay.ask(question.path((round + 1) * each + i)));
        medians[size] = percentile(ms, 0.5);
        if (round >= 0) figures[size].push(...ms);
      }
      if (round >= 0) figures.ratios.push(medians.large / medians.small);
    }
  }
  return [...taken].map(([question, { small: few, large: many, ratios }]) => {
    const group = small.questions.find(({ name }) => name === question)?.group ?? "other";
    const of = (ms: number[]) => ({ p50: percentile(ms, 0.5), p99: percentile(ms, 0.99) });
    return { question, group, small: of(few), large: of(many), ratio: percentile(ratios, 0.5), goal: GOALS[group] };
  });
}

function report(figures: readonly Figures[], sizes: { small: number; large: number }): object {
  const column = (text: string, width: number) => text.padStart(width);
  print(
    `\n${"question".padEnd(46)}${column(`${sizes.small} p50`, 14)}${column("p99", 9)}${column(`${sizes.large} p50`, 14)}${column("p99", 9)}${column("ratio", 8)}${column("goal", 7)}`,
  );
  for (const { question, small, large, ratio, goal } of figures) {
    const number = (value: number, width: number) => column(value.toFixed(2), width);
    const missed = `${ratio > goal ? "  MISSED" : ""}${large.p99 > WORST_P99_MS ? "  SLOW" : ""}`;
    print(
      `${question.padEnd(46)}${number(small.p50, 14)}${number(small.p99, 9)}${number(large.p50, 14)}${number(large.p99, 9)}${number(ratio, 8)}${number(goal, 7)}${missed}`,
    );
  }
  const worst = figures.toSorted((a, b) => b.large.p99 - a.large.p99)[0];
  const goals = {
    "within 3x": figures.every(({ ratio }) => ratio <= 3),
    B11: figures.every(({ ratio, goal }) => ratio <= goal),
    B12: (worst?.large.p99 ?? 0) <= WORST_P99_MS,
  };
  print(
    `\nmilliseconds. Worst p99 with ${sizes.large} runs: ${worst?.question}, ${worst?.large.p99.toFixed(1)} (goal ${WORST_P99_MS}).`,
  );
  for (const [goal, isMet] of Object.entries(goals)) print(`${goal.padEnd(10)} ${isMet ? "met" : "missed"}`);
  return {
    benchmark: "history",
    at: new Date().toISOString(),
    cpus: cpus().length,
    node: process.version,
    sizes,
    goals,
    figures,
  };
}

if (given.help) print(HELP);
else {
  const sizes = { small: Number(given.small), large: Number(given.large) };
  const folder = given.keep === undefined ? mkdtempSync(join(tmpdir(), "skyvern-relay-bench-")) : resolve(given.keep);
  mkdirSync(folder, { recursive: true });
  const relays: Relay[] = [];
  try {
    if (given["fill-only"]) for (const runs of [sizes.small, sizes.large]) await database(folder, runs);
    else {
      for (const runs of [sizes.small, sizes.large]) relays.push(await startRelay(folder, runs));
      const [small, large] = relays as [Relay, Relay];
      const figures = await measure(small, large, Number(given.rounds), Number(given.each));
      const json = report(figures, sizes);
      const file = given.json ?? (given.keep === undefined ? null : join(folder, "history.json"));
      if (file !== null) writeFileSync(file, `${JSON.stringify(json, null, 2)}\n`);
    }
  } finally {
    for (const { process: relay } of relays) {
      relay.kill("SIGTERM");
      await new Promise((over) => relay.once("close", over));
    }
    if (given.keep === undefined) rmSync(folder, { recursive: true, force: true });
  }
}
