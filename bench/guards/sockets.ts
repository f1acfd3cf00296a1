/**
 * `node bench/guards/sockets.ts`: holds 200 connections open with unfinished bodies, then with unfinished headers, and
 * measures how long genuine webhooks wait meanwhile and when the relay has destroyed the last of those connections.
 */
import { connect, type Socket } from "node:net";
import { aRelay, send, type MeasuredRelay } from "./relay.ts";

const SOCKETS = 200;
const HEAD = `POST /webhook HTTP/1.1\r\nhost: relay\r\n`;
const BEGUN: Record<string, string | Buffer> = {
  bodies: Buffer.concat([
    Buffer.from(`${HEAD}content-length: 250000\r\nx-skyvern-signature: ${"0".repeat(64)}\r\n\r\n`),
    Buffer.alloc(200_000, "x"),
  ]),
  headers: `${HEAD}x-slow: `,
};

const rows = [];
for (const [what, begun] of Object.entries(BEGUN)) {
  const relay = await aRelay();
  const held = Array.from({ length: SOCKETS }, () => hold(relay, begun));
  const startedAt = performance.now();
  const waits: number[] = [];
  const statuses = new Set<number>();
  for (let i = 0; performance.now() - startedAt < 60_000 && held.some(({ socket }) => !socket.destroyed); i += 1) {
    const from = performance.now();
    statuses.add(await send(relay, Buffer.from(`{"run_id":"tsk_${i}","status":"completed"}`)));
    waits.push(performance.now() - from);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // This side never ends: only a destroyed connection refuses what is sent.
    if (i % 20 === 19) for (const { socket } of held) if (!socket.destroyed) socket.write("x");
  }
  rows.push({
    "200 unfinished": what,
    answers: [...statuses].join(),
    "genuine webhooks": waits.length,
    "waited at most, ms": Math.round(Math.max(...waits)),
    "last socket gone after, s": Math.round((performance.now() - startedAt) / 1000),
  });
  for (const { socket } of held) socket.destroy();
  await relay.end();
}
console.table(rows);

function hold({ port }: MeasuredRelay, begun: string | Buffer): { socket: Socket } {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => socket.destroy());
  socket.resume();
  socket.write(begun);
  return { socket };
}
