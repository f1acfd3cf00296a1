/**
 * The relay inside workerd against a bare Worker that only reads the body: webhooks accepted a second, in interleaved
 * rounds, CPU time of each, start-up, and the memory a large body takes. `node bench/edge.ts`; prints one JSON object.
 * Everything is on loopback.
 */
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { bundleEdge } from "../scripts/edge/bundle.ts";
import { startWorkerd, type Workerd } from "../scripts/edge/workerd.ts";

const KEY = "bench-key";
const ROUNDS = Number(process.env["ROUNDS"] ?? 5);
const ROUND_MS = 2_000;
const CLIENTS = 32;

/** Answers when it has the body, and writes nothing; the object is there because the configuration names one. */
const BARE = `import { DurableObject } from "cloudflare:workers";
export class Relay extends DurableObject {}
export default { async fetch(request) { await request.arrayBuffer(); return Response.json({ result: "accepted" }); } };`;
/** The same with one row written by an object before the answer: what the platform itself asks for a durable answer. */
const BARE_OBJECT = `import { DurableObject } from "cloudflare:workers";
export class Relay extends DurableObject {
  constructor(ctx, env) { super(ctx, env); ctx.storage.sql.exec("create table if not exists bodies (id text primary key, body blob)"); }
  receive(id, body) { this.ctx.storage.sql.exec("insert into bodies values (?, ?)", id, body); return { result: "accepted" }; }
}
export default { async fetch(request, env) {
  const body = await request.arrayBuffer();
  return Response.json(await env.RELAY.getByName("relay").receive(crypto.randomUUID(), body));
} };`;

let count = 0;
const aBody = (bytes = 0): string =>
  JSON.stringify({
    run_id: `tsk_${process.pid}_${++count}`,
    status: "completed",
    output: { text: "x".repeat(bytes), rows: [1, 2, 3] },
  });

async function post(relay: Workerd, body: string): Promise<number> {
  const signature = createHmac("sha256", KEY).update(body).digest("hex");
  const headers = { "content-type": "application/json", "x-skyvern-signature": signature };
  const answer = await fetch(`${relay.url}/webhook`, { method: "POST", headers, body });
  await answer.arrayBuffer();
  return answer.status;
}

/** Of the process and all its threads, ms. */
function cpuOf({ pid }: Workerd): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const peakMbOf = ({ pid }: Workerd): number =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);

/** Webhooks answered 200 within a round, a second, and CPU time of each, ms. */
async function round(relay: Workerd): Promise<{ perSecond: number; cpuMs: number }> {
  const until = performance.now() + ROUND_MS;
  const before = cpuOf(relay);
  const began = performance.now();
  let done = 0;
  const client = async (): Promise<void> => {
    while (performance.now() < until) {
      if ((await post(relay, aBody(1_000))) !== 200) throw new Error("a webhook was not accepted");
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return { perSecond: done / ((performance.now() - began) / 1_000), cpuMs: (cpuOf(relay) - before) / done };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
const rounded = (value: number): number => Math.round(value * 100) / 100;

const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-bench-"));
const workers = { relay: await bundleEdge(), bare: BARE, "bare, one row in an object": BARE_OBJECT };
const env = {
  SKYVERN_API_KEY: KEY,
  PUBLIC_URL: "https://relay.example.com",
  LOG_LEVEL: "error",
  RELAY_YAML: "skyvern: { reconcile: false }",
};
const running: Record<string, Workerd> = {};
const startMs: Record<string, number> = {};
try {
  for (const [name, worker] of Object.entries(workers)) {
    const began = performance.now();
    const relay = await startWorkerd({ folder: join(folder, String(Object.keys(running).length)), worker, env });
    running[name] = relay;
    await post(relay, aBody());
    startMs[name] = Math.round(performance.now() - began);
  }
  const results: Record<string, { perSecond: number; cpuMs: number }[]> = {};
  for (let n = 0; n <= ROUNDS; n += 1) {
    for (const [name, relay] of Object.entries(running)) {
      const result = await round(relay);
      // The first warms up.
      if (n > 0) (results[name] ??= []).push(result);
    }
  }
  const relay = running["relay"] as Workerd;
  const largeBodies: object[] = [{ peakMb: peakMbOf(relay) }];
  for (const mb of [1, 4, 9]) {
    const cpu = cpuOf(relay);
    if ((await post(relay, aBody(mb * 1_000_000))) !== 200) throw new Error("a large body was not accepted");
    largeBodies.push({ mb, cpuMs: cpuOf(relay) - cpu, peakMb: peakMbOf(relay) });
  }
  const ratio = (name: string): number =>
    rounded(
      median((results["relay"] ?? []).map(({ perSecond }, i) => perSecond / (results[name]?.[i]?.perSecond ?? NaN))),
    );
  const report = {
    bytes: Buffer.byteLength(workers.relay),
    compressed: gzipSync(workers.relay).length,
    startMs,
    accepted: Object.fromEntries(
      Object.entries(results).map(([name, all]) => [
        name,
        {
          perSecond: Math.round(median(all.map(({ perSecond }) => perSecond))),
          cpuMs: rounded(median(all.map(({ cpuMs }) => cpuMs))),
        },
      ]),
    ),
    ratio: { toBare: ratio("bare"), toOneRow: ratio("bare, one row in an object") },
    largeBodies,
  };
  console.log(JSON.stringify(report, null, 2));
} finally {
  for (const relay of Object.values(running)) await relay.kill();
  rmSync(folder, { recursive: true, force: true });
}
