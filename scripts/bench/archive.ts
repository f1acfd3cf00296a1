/**
 * What archiving a large recording costs while webhooks come in: the relay's peak memory and how fast it answers, before
 * and during. Run it with `scripts/bench/archive [MB]`; it uses loopback and a temporary folder only.
 */
import { spawn } from "node:child_process";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startSkyvern, TINY_WEBM } from "../../src/demo/stand-ins/skyvern.ts";

const MEGABYTES = Number(process.argv[2] ?? 500);
const KEY = "bench-key";
const WARM_UP_MS = 10_000;
const BASELINE_MS = 10_000;
const LONGEST_MS = 300_000;
const AT_ONE_TIME = 4;
const EVERY_MS = 20;

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

const percentile = (sorted: number[], p: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;
const shown = (ms: number[]): string => {
  const sorted = ms.toSorted((a, b) => a - b);
  const [p50, p99, max] = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted.at(-1) ?? 0];
  return `${sorted.length} webhooks, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`;
};

/** Resident memory of a process, MB. Linux only. */
const residentOf = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-bench-"));
const skyvern = await startSkyvern({ keys: [KEY] });
const all = recordingOf(MEGABYTES * 1_000_000 + 2);
/** Other bytes of nearly the same size each, as equal ones would be copied once. */
const recordings = new Map([
  ["wr_small", all.subarray(0, 5_000_000)],
  ["wr_alone", all.subarray(0, all.length - 1)],
  ["wr_large", all],
]);
for (const [id, bytes] of recordings) {
  skyvern.addRun({
    payload: { ...payloadOf(id), recording_url: `${skyvern.url}/v1/artifacts/a_${id}/content` },
    artifacts: [{ artifact_id: `a_${id}`, artifact_type: "recording", bytes }],
  });
}
writeFileSync(join(folder, "relay.yaml"), `artifacts: { archive: all, dir: ${join(folder, "copies")} }\n`);

const relay = spawn(process.execPath, [fileURLToPath(new URL("../../src/main.ts", import.meta.url)), "serve"], {
  cwd: folder,
  env: {
    SKYVERN_API_KEY: KEY,
    SKYVERN_BASE_URL: skyvern.url,
    HOST: "127.0.0.1",
    PORT: "0",
    PUBLIC_URL: "http://127.0.0.1",
    LOG_LEVEL: "info",
  },
  stdio: ["ignore", "pipe", "inherit"],
});
let log = "";
relay.stdout.on("data", (chunk: Buffer) => {
  // Only what is looked for.
  for (const line of chunk.toString().split("\n")) if (/relay\.started|wr_[a-z]|error/.test(line)) log += `${line}\n`;
});

async function waitFor<T>(what: string, ask: () => T | null | undefined | false): Promise<T> {
  for (const giveUpAt = Date.now() + LONGEST_MS; Date.now() < giveUpAt;) {
    const answer = ask();
    if (answer) return answer;
    await pause(20);
  }
  throw new Error(`waited in vain: ${what}\n${log}`);
}

let count = 0;
async function send(id: string): Promise<number> {
  const body = JSON.stringify(skyvern.runs.get(id)?.payload ?? payloadOf(id));
  const signature = createHmac("sha256", KEY).update(body).digest("hex");
  const from = performance.now();
  const answer = await fetch(`${url}/webhook`, { method: "POST", headers: { "x-skyvern-signature": signature }, body });
  await answer.text();
  if (answer.status !== 200) throw new Error(`the relay answered ${answer.status}`);
  return performance.now() - from;
}

/** Sends until told to stop; what each took, and the most memory seen meanwhile. */
async function load(isOver: () => boolean): Promise<{ ms: number[]; peak: number }> {
  const ms: number[] = [];
  let peak = 0;
  const one = async () => {
    while (!isOver()) {
      ms.push(await send(`wr_${++count}`));
      peak = Math.max(peak, residentOf(relay.pid ?? 0));
      await pause(EVERY_MS);
    }
  };
  await Promise.all(Array.from({ length: AT_ONE_TIME }, one));
  return { ms, peak };
}
const lasting = (ms: number) => {
  const end = Date.now() + ms;
  return () => Date.now() > end;
};

/** Watches the memory alone. */
async function watch(isOver: () => boolean): Promise<number> {
  let peak = 0;
  for (; !isOver(); await pause(10)) peak = Math.max(peak, residentOf(relay.pid ?? 0));
  return peak;
}
const isBegun = (id: string) => () => skyvern.calls.some(({ path }) => path === `/v1/artifacts/a_${id}/content`);
const isDone = (id: string) => () => new RegExp(`"run.archived".*"${id}"|"${id}".*"run.archived"`).test(log);
const isWhole = (id: string): boolean => {
  const bytes = recordings.get(id) ?? Buffer.alloc(0);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const path = join(folder, "copies", sha256.slice(0, 2), sha256);
  return existsSync(path) && statSync(path).size === bytes.length;
};
const print = (line: string) => void process.stdout.write(`${line}\n`);
const memory = (before: number, during: number): string =>
  `peak memory ${before.toFixed(0)} MB before, ${during.toFixed(0)} MB during (${during < before ? "" : "+"}${(during - before).toFixed(0)} MB)`;

const port = await waitFor("the relay's start", () => /"port":(\d+)/.exec(log)?.[1]);
const url = `http://127.0.0.1:${port}`;
try {
  // What is used for the first time takes memory once.
  await send("wr_small");
  await waitFor("the first copy", isDone("wr_small"));

  const idle = await watch(lasting(2_000));
  await send("wr_alone");
  await waitFor("the first large copy", isBegun("wr_alone"));
  const alone = await watch(isDone("wr_alone"));

  const warm = await load(lasting(WARM_UP_MS));
  const before = await load(lasting(BASELINE_MS));
  await send("wr_large");
  // It begins some seconds after its webhook.
  await load(isBegun("wr_large"));
  const from = performance.now();
  const during = await load(isDone("wr_large"));
  const seconds = (performance.now() - from) / 1000;
  // Webhooks alone let the memory rise and fall by some ten megabytes: what is seen during the copy is held against both.
  const after = await load(lasting(BASELINE_MS));

  const whole = isWhole("wr_alone") && isWhole("wr_large");
  print(
    `recording   ${MEGABYTES} MB, archived in ${seconds.toFixed(1)} s under load, ${whole ? "whole" : "NOT WHOLE"}`,
  );
  print(`alone       ${memory(idle, alone)}`);
  print(`under load  ${memory(Math.max(warm.peak, before.peak), during.peak)}, ${after.peak.toFixed(0)} MB after`);
  print(`answers     before: ${shown(before.ms)}`);
  print(`            during: ${shown(during.ms)}`);
  process.exitCode = whole ? 0 : 1;
} finally {
  relay.kill("SIGTERM");
  await new Promise((resolve) => relay.once("close", resolve));
  await skyvern.close();
  rmSync(folder, { recursive: true, force: true });
}
