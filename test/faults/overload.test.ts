/**
 * More than the relay can hold: it says so and stays small. Rubbish is refused cheaply; a genuine webhook gets in
 * beside it.
 */
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { aFolder, aListeningApp, TOKEN } from "../support/app.ts";
import { mutated, signatureOf } from "../support/fixtures.ts";
import { serve } from "../support/process.ts";
import { NOW } from "../support/runtime.ts";
import { until } from "../support/until.ts";

const MB = 1024 * 1024;
const PIECE = 64 * 1024;

interface Upload {
  /** Sends the next piece; all is sent after the last. */
  next(): void;
  /** The relay has read the headers. */
  heard(): boolean;
  /** Status and headers as they came, or null. */
  answer(): { status: number; retryAfter: string | null } | null;
  ended(): boolean;
}

/** A webhook that is sent piece by piece, as slowly as the test goes on. */
function anUpload(port: number, body: Buffer): Upload {
  const socket = connect({ port, host: "127.0.0.1" });
  onTestFinished(() => void socket.destroy());
  let received = "";
  let ended = false;
  let sent = 0;
  socket.on("data", (piece) => (received += piece.toString("latin1")));
  socket.on("error", () => {});
  socket.on("close", () => (ended = true));
  socket.write(
    `POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n` +
      `x-skyvern-signature: ${signatureOf(body)}\r\nexpect: 100-continue\r\n\r\n`,
  );
  return {
    next: () => {
      if (sent < body.length && socket.writable) socket.write(body.subarray(sent, sent + PIECE));
      sent += PIECE;
    },
    heard: () => received !== "",
    answer: () => {
      const status = /^HTTP\/1\.1 (?!100)(\d+)/m.exec(received)?.[1];
      const retryAfter = /^retry-after: (.*)$/im.exec(received)?.[1]?.trim() ?? null;
      return status === undefined ? null : { status: Number(status), retryAfter };
    },
    ended: () => ended,
  };
}

const aLargeBody = (runId: string, bytes: number): Buffer =>
  Buffer.from(mutated("task_v1.completed", { run_id: runId, task_id: runId, output: { text: "x".repeat(bytes) } }));

describe("overload", () => {
  it("200 slow uploads of 5 MB get 503 with Retry-After where they do not fit, while memory stays bounded and a small webhook gets in", async () => {
    const relay = await serve({ DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` });
    const memory = async () => {
      const response = await fetch(`${relay.url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } });
      return Number(/^process_resident_memory_bytes (\S+)/m.exec(await response.text())?.[1]) / MB;
    };
    const before = await memory();
    let peak = before;
    const uploads = Array.from({ length: 200 }, (_, i) => anUpload(relay.port, aLargeBody(`tsk_${i}`, 5 * MB)));
    const pieces = Math.ceil((5 * MB) / PIECE) + 1;
    let smallest = 0;
    for (let i = 0; i < pieces; i += 1) {
      for (const upload of uploads) if (upload.answer() === null) upload.next();
      peak = Math.max(peak, await memory());
      if (i % 20 !== 19) continue;
      const small = mutated("task_v1.completed", { run_id: `tsk_small_${++smallest}` });
      expect((await relay.webhook(small)).status).toBe(200);
    }
    await until("every upload to be answered", () =>
      uploads.every((upload) => upload.answer() !== null || upload.ended()),
    );
    peak = Math.max(peak, await memory());
    const answers = uploads.map((upload) => upload.answer());
    const taken = answers.filter((answer) => answer?.status === 200).length;
    const refused = answers.filter((answer) => answer?.status === 503);
    expect(taken).toBeGreaterThan(0);
    expect(taken + refused.length).toBe(200);
    expect(new Set(refused.map((answer) => answer?.retryAfter))).toEqual(new Set(["5"]));
    expect(peak - before).toBeLessThan(320);
  });

  it("connections that only declare large bodies use up no budget of others", async () => {
    const relay = await aListeningApp();
    const idle = Array.from({ length: 50 }, (_, i) => anUpload(relay.port, aLargeBody(`tsk_${i}`, 5 * MB)));
    await until("all to have been heard", () => idle.every((upload) => upload.heard()));
    const large = aLargeBody("tsk_large", 5 * MB);
    const response = await fetch(`${relay.url}/webhook`, {
      method: "POST",
      headers: { "x-skyvern-signature": signatureOf(large) },
      body: new Uint8Array(large),
    });
    expect(response.status).toBe(200);
    expect(idle.every((upload) => upload.answer() === null)).toBe(true);
  });
});

describe("a flood of webhooks that are not genuine", () => {
  it.each<[string, Record<string, string>]>([
    ["without a signature", {}],
    ["with a signature that cannot be one", { "x-skyvern-signature": "sha256=abc" }],
    ["with a wrong signature", { "x-skyvern-signature": "0".repeat(64) }],
  ])(
    "a flood of webhooks that are not genuine, %s, gets 401, then 429 and no more log lines, while a genuine one gets in",
    async (_kind, headers) => {
      // No time passes in which an address may send some more.
      const relay = await aListeningApp({}, { runtime: { ...systemRuntime(), now: () => NOW } });
      const genuine = async (runId: string) => {
        const body = mutated("task_v1.completed", { run_id: runId, task_id: runId });
        const response = await fetch(`${relay.url}/webhook`, {
          method: "POST",
          headers: { "x-skyvern-signature": signatureOf(body) },
          body,
        });
        return response.status;
      };
      const rubbish = async () => {
        const response = await fetch(`${relay.url}/webhook`, { method: "POST", headers, body: "{}" });
        await response.arrayBuffer();
        return { status: response.status, retryAfter: response.headers.get("retry-after") };
      };
      const answers: Awaited<ReturnType<typeof rubbish>>[] = [];
      for (let i = 0; i < 60; i += 1) answers.push(...(await Promise.all(Array.from({ length: 10 }, rubbish))));
      expect(answers[0]).toEqual({ status: 401, retryAfter: null });
      expect(answers.at(-1)).toEqual({ status: 429, retryAfter: "5" });
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 429]));
      expect(await genuine("tsk_1")).toBe(200);
      expect((await rubbish()).status).toBe(429);
      expect(await genuine("tsk_2")).toBe(200);
      const lines = relay
        .log()
        .split("\n")
        .filter((line) => line.includes('"webhook.refused"'));
      expect(lines.length).toBe(answers.filter(({ status }) => status === 401).length);
    },
  );
});
