/**
 * What archiving a large recording costs while webhooks come in: memory and how fast the relay answers, against the
 * same load without it. Run it with `bench/archive [MB] [rounds]`; it uses loopback and a temporary folder only. Linux.
 *
 * Each round starts a relay anew, once with a recording and once without, in turn first; both get the same webhooks for
 * the same time. The peak is the kernel's own (VmHWM), set back when the recording's webhook is sent, so that nothing
 * falls between two looks. What counts is the difference between the two of a round, in the middle of all rounds: the
 * webhooks alone let the memory rise by more than a recording may.
 */
import { spawn } from "node:child_process";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startSkyvern, TINY_WEBM } from "../src/stand-ins/skyvern.ts";

const MEGABYTES = Number(process.argv[2] ?? 500);
const ROUNDS = Number(process.argv[3] ?? 5);
/** So much more than without, at most: V8 collects what has passed when it is 64 MB. */
const MOST_MB = 80;
const KEY = "bench-key";
const WARM_UP_MS = 8_000;
/** What both get, or longer when a copy took longer. */
let phaseMs = 15_000;
const LONGEST_MS = 120_000;
/** At fixed times, so that both get as many however busy the machine is. */
const PER_SECOND = 40;
const LARGE = "wr_large";

const payloadOf = (id: string) => ({
  run_id: id,
  run_type: "workflow_run",
  status: "completed",
  workflow_run_id: id,
  workflow_title: "Bench",
  output: { rows: Array.from({ length: 20 }, (_, n) => ({ n, text: "x".repeat(100) })) },
});

/** Incompressible, and cheap to make. */
function recordingOf(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  const block = randomBytes(1 << 20);
  for (let at = 0; at < size; at += block.length) block.copy(bytes, at, 0, Math.min(block.length, size - at));
  Buffer.from(TINY_WEBM).copy(bytes);
  return bytes;
}

const middle = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;
const percentile = (sorted: number[], p: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;
const print = (line: string) => void process.stdout.write(`${line}\n`);

/** MB. */
const memoryOf = (pid: number, line: "VmHWM" | "VmRSS"): number =>
  Number(new RegExp(`^${line}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

const skyvern = await startSkyvern({ keys: [KEY] });
const recording = recordingOf(MEGABYTES * 1_000_000);
const sha256 = createHash("sha256").update(recording).digest("hex");
const large = { ...payloadOf(LARGE), recording_url: `${skyvern.url}/v1/artifacts/a_large/content` };
skyvern.addRun({
  payload: large,
  artifacts: [{ artifact_id: "a_large", artifact_type: "recording", bytes: recording }],
});

const contentCalls = () => skyvern.calls.filter(({ path }) => path === "/v1/artifacts/a_large/content").length;

interface Measured {
  /** MB before, and the peak of the phase. */
  before: number;
  peak: number;
  ms: number[];
  /** How long the copy took, null without. */
  copySeconds: number | null;
}

async function measure(withRecording: boolean): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-bench-"));
  writeFileSync(join(folder, "relay.yaml"), `artifacts: { archive: all, dir: ${join(folder, "copies")} }\n`);
  const relay = spawn(process.execPath, [fileURLToPath(new URL("../src/main.ts", import.meta.url)), "serve"], {
    cwd: folder,
    env: {
      SKYVERN_API_KEY: KEY,
      SKYVERN_BASE_URL: skyvern.url,
      HOST: "127.0.0.1",
      PORT: "0",
      PUBLIC_URL: "http://127.0.0.1",
      // As in the image.
      MALLOC_ARENA_MAX: "2",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => relay.once("close", resolve));
  const pid = relay.pid ?? 0;
  let log = "";
  let copiedAt: number | null = null;
  relay.stdout.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\n")) {
      if (/relay\.started|wr_large|"level":"error"/.test(line)) log += `${line}\n`;
      if (line.includes('"run.archived"') && line.includes(`"${LARGE}"`)) copiedAt ??= Date.now();
    }
  });
  const waitFor = async <T>(what: string, ask: () => T | null | undefined): Promise<T> => {
    for (const giveUpAt = Date.now() + LONGEST_MS; Date.now() < giveUpAt; await pause(20)) {
      const answer = ask();
      if (answer !== null && answer !== undefined) return answer;
    }
    throw new Error(`waited in vain: ${what}\n${log}`);
  };
  try {
    const port = await waitFor("the relay's start", () => /"port":(\d+)/.exec(log)?.[1]);
    let count = 0;
    const send = async (payload: object): Promise<number> => {
      const body = JSON.stringify(payload);
      const headers = { "x-skyvern-signature": createHmac("sha256", KEY).update(body).digest("hex") };
      const from = performance.now();
      const answer = await fetch(`http://127.0.0.1:${port}/webhook`, { method: "POST", headers, body });
      await answer.text();
      if (answer.status !== 200) throw new Error(`the relay answered ${answer.status}`);
      return performance.now() - from;
    };
    /** What each webhook took. */
    const load = async (isOver: () => boolean): Promise<number[]> => {
      const sent: Promise<number>[] = [];
      for (const from = Date.now(); !isOver(); await pause(5)) {
        while (sent.length < ((Date.now() - from) / 1000) * PER_SECOND) sent.push(send(payloadOf(`wr_${++count}`)));
      }
      return Promise.all(sent);
    };
    const warmAt = Date.now() + WARM_UP_MS;
    await load(() => Date.now() > warmAt);
    const before = memoryOf(pid, "VmRSS");
    // Sets VmHWM back to what is resident now (proc(5)).
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
    const from = Date.now();
    const asked = contentCalls();
    let begunAt: number | null = null;
    if (withRecording) await send(large);
    const ms = await load(() => {
      const now = Date.now();
      if (begunAt === null && contentCalls() > asked) begunAt = now;
      return now > from + LONGEST_MS || (now > from + phaseMs && (!withRecording || copiedAt !== null));
    });
    phaseMs = Math.max(phaseMs, Date.now() - from);
    const peak = memoryOf(pid, "VmHWM");
    const path = join(folder, "copies", sha256.slice(0, 2), sha256);
    if (withRecording && !(existsSync(path) && statSync(path).size === recording.length)) throw new Error("not whole");
    return {
      before,
      peak,
      ms,
      copySeconds: copiedAt === null || begunAt === null ? null : (copiedAt - begunAt) / 1000,
    };
  } finally {
    relay.kill("SIGTERM");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

const shown = (rounds: Measured[]): string => {
  const sorted = rounds.flatMap(({ ms }) => ms).toSorted((a, b) => a - b);
  const [p50, p99, max] = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted.at(-1) ?? 0];
  return `${sorted.length} webhooks, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(0)} ms`;
};

try {
  const results: { with: Measured; without: Measured }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const first = await measure(round % 2 === 0);
    const second = await measure(round % 2 !== 0);
    const result = round % 2 === 0 ? { with: first, without: second } : { with: second, without: first };
    results.push(result);
    print(
      `round ${round + 1}: peak ${result.without.peak.toFixed(0)} MB without, ${result.with.peak.toFixed(0)} MB with, ` +
        `${(result.with.peak - result.without.peak).toFixed(0)} MB more; copied in ${result.with.copySeconds?.toFixed(1)} s`,
    );
  }
  const more = middle(results.map((result) => result.with.peak - result.without.peak));
  print(`answers without: ${shown(results.map(({ without }) => without))}`);
  print(`answers with:    ${shown(results.map((result) => result.with))}`);
  print(
    `${MEGABYTES} MB raise the peak by ${more.toFixed(0)} MB: ${more <= MOST_MB ? "good" : "TOO MUCH"} (at most ${MOST_MB})`,
  );
  process.exitCode = more <= MOST_MB ? 0 : 1;
} finally {
  await skyvern.close();
}
