/** The whole HTTP surface under requests bent by chance. `scripts/faults` sends 100,000. */
import { connect } from "node:net";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it, onTestFinished } from "vitest";
import type { App } from "../../src/app/app.ts";
import { createRelay } from "../../src/app/relay.ts";
import { loadConfig } from "../../src/config/config.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { silentLog } from "../../src/platform/log.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { aFolder, aSignedRequest, TOKEN } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes, mutated, WEBHOOKS } from "../support/fixtures.ts";
import { amountOf, chanceOf, isLong, SEED } from "./support/chance.ts";
import { aShot, wireOf, type Known, type Shot } from "./support/mutations.ts";

const REQUESTS = amountOf("RELAY_FAULT_REQUESTS", 5_000);
/** Of them, so many in a hundred go over real sockets. */
const OVER_SOCKETS = 4;
const SECRET = "the-marker-nobody-may-read-without-a-login";
const MB = 1024 * 1024;

it(
  `${REQUESTS} bent requests get no 5xx but 503 with Retry-After, read nothing without a login, store nothing forged, and leave memory flat (seed ${SEED})`,
  { timeout: 60_000 + REQUESTS * 20 },
  async () => {
    const { app, port } = await aRelay();
    const known = await seeded(app);
    const chance = chanceOf(SEED);
    const seen = new Map<number, number>();
    const wrong: string[] = [];
    let forged = 0;
    const fire = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += 1) {
        const shot = aShot(chance, known);
        const overSocket = chance.between(0, 100) < OVER_SOCKETS;
        const answer = overSocket ? await bySocket(port, wireOf(chance, shot)) : await byFetch(app, shot);
        if (answer === null) continue;
        seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
        // A bit turned in a request on the wire may make anything of it, so only what was sent whole is held to this.
        if (!overSocket && !shot.isSigned && isWebhook(shot) && [200, 202].includes(answer.status)) forged += 1;
        const fault = faultOf(shot, answer, overSocket);
        if (fault !== null && wrong.length < 20) wrong.push(`${fault}: ${shot.method} ${shot.target.slice(0, 200)}`);
      }
    };
    await fire(Math.ceil(REQUESTS / 2));
    const before = heapAfterCollection();
    await fire(Math.floor(REQUESTS / 2));
    const after = heapAfterCollection();

    expect(wrong).toEqual([]);
    expect(forged).toBe(0);
    expect(after - before).toBeLessThan(24 * MB);
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    const last = mutated("task_v1.completed", { run_id: "tsk_the_last" });
    expect((await app.fetch(aSignedRequest(last))).status).toBe(200);
    // Every kind of answer was met, or the requests are not what they should be.
    expect([...seen.keys()]).toEqual(expect.arrayContaining([200, 202, 303, 400, 401, 403, 404, 405]));
    if (isLong) {
      const heapMb = [before, after].map((bytes) => Math.round(bytes / MB));
      console.info("fuzz", JSON.stringify({ requests: REQUESTS, answers: Object.fromEntries(seen), heap_mb: heapMb }));
    }
  },
);

async function aRelay(): Promise<{ app: App; port: number }> {
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY], backoffMs: 1 });
  const sink = await startHttpSink();
  onTestFinished(() => skyvern.close());
  onTestFinished(() => sink.close());
  const loaded = loadConfig({
    env: {
      SKYVERN_API_KEY: FIXTURE_KEY,
      SKYVERN_BASE_URL: skyvern.url,
      DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`,
      HOST: "127.0.0.1",
      PORT: "0",
      RELAY_TOKEN: TOKEN,
      SINK_URL: sink.url,
      ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    },
    readFile: () => {
      throw Object.assign(new Error("no file"), { code: "ENOENT" });
    },
  });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults));
  const relay = await createRelay(loaded.config, systemRuntime(), silentLog);
  const { port } = await relay.start();
  onTestFinished(() => relay.stop());
  return { app: relay.app, port };
}

/** Runs with a secret in every text, a login, and ids to ask for. */
async function seeded(app: App): Promise<Known> {
  const bodies = WEBHOOKS.map((name) => fixtureBytes(name.replace(/^webhook\.|\.json$/g, "")));
  for (const [i, name] of ["task_v2.completed", "task_v1.failed", "task_v1.completed"].entries()) {
    const values = { summary: SECRET, title: SECRET, prompt: SECRET, failure_reason: SECRET, output: { text: SECRET } };
    await app.fetch(aSignedRequest(mutated(name, { ...values, run_id: `tsk_${i}`, task_id: `tsk_${i}` })));
  }
  await app.fetch(aSignedRequest(JSON.stringify({ unknown: SECRET })));
  const { runs } = await app.store.runs({}, { limit: 10 });
  const receipts = await Promise.all(runs.map(({ state }) => app.store.receipts(state.run.run_id)));
  const kept = await app.store.unrecognizedReceipts({ limit: 10 });
  const login = await app.fetch(
    new Request("http://relay.test/login", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin" },
      body: new URLSearchParams({ token: TOKEN }),
    }),
  );
  return {
    token: TOKEN,
    cookie: (login.headers.get("set-cookie") ?? "").split(";")[0] ?? "",
    runIds: runs.map(({ state }) => state.run.run_id),
    receiptIds: [...receipts.flat(), ...kept].map(({ id }) => id),
    bodies,
  };
}

interface Answer {
  status: number;
  retryAfter: string | null;
  text: string;
}

async function byFetch(app: App, { method, target, headers, body }: Shot): Promise<Answer | null> {
  let request: Request;
  try {
    request = new Request(`http://relay.test${target}`, {
      method,
      headers,
      body: body === null ? null : new Uint8Array(body),
    });
  } catch {
    // No client can make this one; the sockets can.
    return null;
  }
  const response = await app.fetch(request);
  return {
    status: response.status,
    retryAfter: response.headers.get("retry-after"),
    text: await response.text(),
  };
}

/** Whatever comes back until the connection ends. Null when it ended without an answer. */
function bySocket(port: number, bytes: Buffer): Promise<Answer | null> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let text = "";
    const giveUp = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end within 30 s to ${JSON.stringify(bytes.toString("latin1").slice(0, 500))}`));
    }, 30_000);
    socket.on("data", (piece) => (text += piece.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(giveUp);
      const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1];
      const retryAfter = /^retry-after: (.*)$/im.exec(text)?.[1] ?? null;
      resolve(status === undefined ? null : { status: Number(status), retryAfter, text });
    });
    socket.end(bytes);
  });
}

const isWebhook = ({ method, target }: Shot): boolean => method === "POST" && /^\/(webhook|$)/.test(target);

function faultOf({ isAuthorized }: Shot, { status, retryAfter, text }: Answer, overSocket: boolean): string | null {
  if (status >= 500 && !(status === 503 && retryAfter !== null)) return `${status} ${text.slice(0, 200)}`;
  // A turned bit leaves a token right or wrong; it never makes one.
  if (!isAuthorized && text.includes(SECRET)) return `readable without a login${overSocket ? " over a socket" : ""}`;
  return null;
}

/** Bytes of heap in use after a full collection. */
function heapAfterCollection(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}
