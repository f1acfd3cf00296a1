import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { untilAborted } from "../platform/abortable.ts";
import { createRelay } from "../app/relay.ts";
import type { Shell } from "../cli/command.ts";
import { formatFaults, loadConfig } from "../config/config.ts";
import { sleep, systemRuntime } from "../platform/runtime.ts";
import { createLog } from "../platform/log/stdout-log.ts";
import { sampleRuns, type Sample } from "./samples.ts";
import { SINK_STAND_INS, type SinkStandIn } from "../stand-ins/sinks.ts";
import { startSkyvern, type StandInSkyvern } from "../stand-ins/skyvern.ts";

export interface DemoOptions {
  once: boolean;
  port: number;
  shell: Pick<Shell, "stdout" | "stopped">;
  /** Builds the relay, with the environment that leads to the stand-ins. Default: one in this process. */
  openRelay?: (env: Record<string, string>, folder: string, port: number) => Promise<DemoRelay>;
}

const SKYVERN_KEY = "demo-skyvern-key";
const TOKEN = "demo-token-of-this-machine";
const GIVE_UP_MS = 60_000;
const LOOK_AGAIN_MS = 100;

interface StandIns {
  skyvern: StandInSkyvern;
  /** By the kind of sink. */
  sinks: ReadonlyMap<string, SinkStandIn>;
}

/**
 * The real relay on SQLite, with a stand-in Skyvern and one of each kind of sink beside it on loopback. Sends signed
 * samples through it and says what arrived where. Resolves with 0 when every sample was delivered to every sink, else
 * 1; without `once` only after Ctrl-C.
 */
export async function runDemo({ once, port, shell, openRelay = relayHere }: DemoOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-demo-"));
  const standIns: StandIns = {
    skyvern: await startSkyvern({ keys: [SKYVERN_KEY] }),
    sinks: new Map(
      await Promise.all(Object.entries(SINK_STAND_INS).map(async ([kind, start]) => [kind, await start()] as const)),
    ),
  };
  const app = await openRelay(environmentOf(standIns), folder, port);
  try {
    const { port: relayPort } = await app.start();
    const url = `http://localhost:${relayPort}`;
    shell.stdout(`The relay listens at ${url}; its database is in ${folder}.\n\n`);
    const samples = sampleRuns(systemRuntime());
    const answers = await send(samples, standIns.skyvern, `http://127.0.0.1:${relayPort}/webhook/demo`);
    shell.stdout(`${samples.length} runs were sent. One sink takes one message a second, so this takes a moment.\n\n`);
    const arrived = await awaitArrivals(samples, standIns, shell.stopped);
    shell.stdout(table(samples, answers, arrived));
    saveMessages(standIns, folder);
    shell.stdout(`\n${verdict(samples, arrived)}\n`);
    if (!once) {
      shell.stdout(closing(url, folder, standIns));
      await untilAborted(shell.stopped);
    }
    return isComplete(samples, arrived) ? 0 : 1;
  } finally {
    await app.stop();
    await Promise.all([standIns.skyvern, ...standIns.sinks.values()].map((standIn) => standIn.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the demo needs of a relay, wherever it runs. */
export interface DemoRelay {
  start(): Promise<{ port: number }>;
  stop(): Promise<void>;
}

const environmentOf = (standIns: StandIns): Record<string, string> => ({
  SKYVERN_API_KEY: SKYVERN_KEY,
  SKYVERN_BASE_URL: standIns.skyvern.url,
  RELAY_TOKEN: TOKEN,
  ...Object.assign({}, ...[...standIns.sinks.values()].map(({ environment }) => environment)),
  ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
});

function relayHere(given: Record<string, string>, folder: string, port: number): Promise<DemoRelay> {
  const env = {
    ...given,
    DATABASE_URL: `sqlite:${join(folder, "relay.db")}`,
    HOST: "127.0.0.1",
    PORT: String(port),
  };
  const loaded = loadConfig({ env });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  return createRelay(loaded.config, systemRuntime(), createLog("error"));
}

/** Sends every webhook as Skyvern would. The relay's last answer per run. */
async function send(samples: readonly Sample[], skyvern: StandInSkyvern, url: string): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  for (const { runId, payloads } of samples) {
    const results: string[] = [];
    for (const payload of payloads) {
      skyvern.addRun({ payload });
      const { status, body } = await skyvern.sendWebhook(runId, { url, key: SKYVERN_KEY });
      results.push(status === 200 ? (JSON.parse(body) as { result: string }).result : String(status));
    }
    answers.set(runId, results.join(", "));
  }
  return answers;
}

/** Run ids seen by each stand-in, once for each message. */
type Arrivals = Record<string, string[]>;

const arrivals = ({ sinks }: StandIns): Arrivals =>
  Object.fromEntries([...sinks].map(([kind, standIn]) => [kind, standIn.arrivals()]));

async function awaitArrivals(samples: readonly Sample[], standIns: StandIns, stopped: AbortSignal): Promise<Arrivals> {
  const giveUpAt = Date.now() + GIVE_UP_MS;
  while (!isComplete(samples, arrivals(standIns)) && Date.now() < giveUpAt && !stopped.aborted) {
    await sleep(LOOK_AGAIN_MS, stopped);
  }
  return arrivals(standIns);
}

/** Every sample once in every sink: not missing, not doubled. */
const isComplete = (samples: readonly Sample[], arrived: Arrivals): boolean =>
  Object.values(arrived).every((ids) => samples.every(({ runId }) => ids.filter((id) => id === runId).length === 1));

function table(samples: readonly Sample[], answers: Map<string, string>, arrived: Arrivals): string {
  const head = ["run", "type", "status", "what", "answer", ...Object.keys(arrived)];
  const rows = samples.map(({ name, runId, status, payloads }) => [
    runId,
    String(payloads[0]?.["run_type"]),
    status,
    name,
    answers.get(runId) ?? "–",
    ...Object.values(arrived).map((ids) => mark(ids.filter((id) => id === runId).length)),
  ]);
  const widths = head.map((_title, i) => Math.max(...[head, ...rows].map((row) => row[i]?.length ?? 0)));
  const line = (row: string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd();
  return `${[line(head), line(widths.map((width) => "─".repeat(width))), ...rows.map(line)].join("\n")}\n`;
}

const mark = (count: number): string => (count === 1 ? "✓" : count === 0 ? "missing" : `${count} times`);

function verdict(samples: readonly Sample[], arrived: Arrivals): string {
  const sinks = Object.keys(arrived).length;
  return isComplete(samples, arrived)
    ? `Every one of ${samples.length} runs arrived once in each of ${sinks} sinks.`
    : "Not every run arrived once in every sink.";
}

/** What the stand-ins got, as files to look at. */
function saveMessages({ sinks }: StandIns, folder: string): void {
  for (const [kind, standIn] of sinks) {
    mkdirSync(join(folder, kind));
    for (const { name, content } of standIn.files()) writeFileSync(join(folder, kind, name), content);
  }
}

/** As variables, so that a relay of one's own can be pointed at the stand-ins. */
const addresses = (standIns: StandIns): string[] =>
  Object.entries(environmentOf(standIns)).flatMap(([name, value]) => (URL.canParse(value) ? [`${name}=${value}`] : []));

const closing = (url: string, folder: string, standIns: StandIns): string => `
Dashboard  ${url}/   (token: ${TOKEN})
History    curl -H 'authorization: Bearer ${TOKEN}' '${url}/v1/runs?limit=5'
Messages   ${[...standIns.sinks.keys()].map((kind) => `${folder}/${kind}`).join("  ")}
Stand-ins  ${addresses(standIns).join("\n           ")}

Ctrl-C ends it and removes its files.
`;
