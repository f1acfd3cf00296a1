/**
 * `node bench/guards/heavy.ts [unsigned]`: sends the running program a 9 MB body of each kind, genuine or without a
 * right signature (with `skyvern.confirm`), and measures until its result was delivered how long a small genuine
 * webhook waits, and the most memory that the process took.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { BODIES, heavyBody } from "./bodies.ts";
import { aRelay, send } from "./relay.ts";

const isUnsigned = process.argv.includes("unsigned");
const deliveries: string[] = [];
/** A sink, and a Skyvern that knows no artifacts. */
const sink = createServer((request, answer) => {
  request.resume().on("end", () => {
    if (request.method === "POST") deliveries.push(request.url ?? "");
    answer.writeHead(request.method === "POST" ? 200 : 404).end();
  });
});
await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(sink.address() as AddressInfo).port}/`;
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
// Only the heavy run is delivered.
const genuine = `sinks: { crm: { kind: http, url: "${url}", secret: "${secret}" } }
routes: [{ name: heavy, when: { channel: heavy }, to: [crm] }]
`;

const rows = [];
for (const kind of BODIES) {
  const relay = isUnsigned ? await aRelay("skyvern: { confirm: true }\n") : await aRelay(genuine, url);
  deliveries.length = 0;
  try {
    for (let i = 0; i < 20; i += 1) await send(relay, Buffer.from(`{"run_id":"tsk_warm_${i}","status":"completed"}`));
    const body = heavyBody(kind, "tsk_heavy");
    const heavy = { status: null as number | null };
    const signature = isUnsigned ? "0".repeat(64) : undefined;
    const sending = send(relay, body, { signature, channel: "heavy" }).then((status) => (heavy.status = status));
    let longest = 0;
    let sent = 0;
    // A body that is not understood is not delivered.
    while (heavy.status === null || sent < 20 || (heavy.status === 200 && deliveries.length === 0)) {
      const from = performance.now();
      await send(relay, Buffer.from(`{"run_id":"tsk_small_${sent}","status":"completed"}`));
      longest = Math.max(longest, performance.now() - from);
      sent += 1;
    }
    await sending;
    const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${relay.pid}/status`, "utf8"))?.[1];
    rows.push({
      body: kind,
      answer: heavy.status,
      "others wait at most, ms": Math.round(longest),
      "peak, MB": Math.round(Number(peak) / 1024),
    });
  } finally {
    await relay.end();
  }
}
sink.closeAllConnections();
sink.close();
console.table(rows);
