/**
 * `node bench/guards/tokens.ts`: sends 100,000 wrong tokens from one address, then from 250 addresses of loopback, and
 * measures how long the right one waits meanwhile.
 */
import { Agent } from "node:http";
import { aRelay, ask, TOKEN, type MeasuredRelay } from "./relay.ts";

const WRONG = 100_000;
const AT_ONCE = 50;

const rows = [];
for (const addresses of [1, 250]) {
  const relay = await aRelay();
  const agents = Array.from(
    { length: addresses },
    (_none, i) =>
      new Agent({ keepAlive: true, maxSockets: Math.ceil(AT_ONCE / addresses), localAddress: `127.0.0.${i + 2}` }),
  );
  const answers = new Map<number, number>();
  const budget = { left: WRONG };
  const guess = async (n: number): Promise<void> => {
    for (let i = n; budget.left > 0; i += 1) {
      budget.left -= 1;
      const from: MeasuredRelay = { ...relay, agent: agents[i % addresses] ?? relay.agent };
      const status = await read(from, `wrong-token-${i}-${n}-of-nobody`);
      answers.set(status, (answers.get(status) ?? 0) + 1);
    }
  };
  const flood = Promise.all(Array.from({ length: AT_ONCE }, (_none, n) => guess(n)));
  // From the first of those addresses, as behind one proxy.
  const right: MeasuredRelay = { ...relay, agent: new Agent({ keepAlive: true, localAddress: "127.0.0.2" }) };
  const waits: number[] = [];
  const statuses = new Set<number>();
  while (budget.left > 0) {
    const from = performance.now();
    statuses.add(await read(right, TOKEN));
    waits.push(performance.now() - from);
  }
  await flood;
  rows.push({
    "wrong tokens": WRONG,
    addresses,
    "their answers": [...answers].map(([status, count]) => `${status}: ${count}`).join(", "),
    "the right one's answers": [...statuses].join(),
    "it waited at most, ms": Math.round(Math.max(...waits)),
  });
  for (const agent of [...agents, right.agent]) agent.destroy();
  await relay.end();
}
console.table(rows);

function read(relay: MeasuredRelay, token: string): Promise<number> {
  return ask(relay, "GET", "/v1/sinks", { headers: { authorization: `Bearer ${token}` } });
}
