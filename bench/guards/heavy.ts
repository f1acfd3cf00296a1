/**
 * `node bench/guards/heavy.ts [unsigned]`: sends the running program a 9 MB body of each kind, genuine or without a right signature (with
 * `skyvern.confirm`), and measures meanwhile how long a small genuine webhook waits, and the most memory that the process took.
 */
import { readFileSync } from "node:fs";
import { BODIES, heavyBody } from "./bodies.ts";
import { aRelay, send } from "./relay.ts";

const isUnsigned = process.argv.includes("unsigned");
const rows = [];
for (const kind of BODIES) {
  const relay = await aRelay(isUnsigned ? "skyvern: { confirm: true }\n" : "");
  try {
    for (let i = 0; i < 20; i += 1) await send(relay, Buffer.from(`{"run_id":"tsk_warm_${i}","status":"completed"}`));
    const body = heavyBody(kind, "tsk_heavy");
    const heavy = { status: null as number | null };
    const sending = send(relay, body, isUnsigned ? "0".repeat(64) : undefined).then(
      (status) => (heavy.status = status),
    );
    let longest = 0;
    let sent = 0;
    while (heavy.status === null || sent < 20) {
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
console.table(rows);
