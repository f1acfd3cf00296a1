/** That the benches work: a moment of each way of measuring, every answer checked, nothing said about speed. */
import { acceptOnce, GONE } from "./accept.ts";
import { inRounds, type Bench } from "./bench.ts";
import { deliverOnce } from "./deliver.ts";
import { durableOnce } from "./durable.ts";
import { outbox } from "./subjects/alternatives.ts";
import { bareHono, bareNode, stateless } from "./subjects/node.ts";
import { relay } from "./subjects/relay.ts";

const SECONDS = 0.2;
const RATE = 100;

export const smoke: Bench = {
  name: "smoke",
  goals: [],
  what: "that the benches work",
  run: async (options) => {
    const once = { ...options, rounds: 1 };
    const storing = [bareNode, bareHono, stateless, relay({ name: "relay+1ms", fsyncUs: 1_000 })];
    const stored = await inRounds(storing, once, acceptOnce(SECONDS), GONE);
    const delivered = await inRounds([relay()], once, deliverOnce({ seconds: SECONDS, rate: RATE }));
    const durable = await inRounds([outbox()], once, durableOnce({ seconds: SECONDS, rate: RATE }));
    return {
      table: { ...stored.table, ...delivered.table, ...durable.table },
      verdicts: [],
      notes: [...stored.notes, ...delivered.notes, ...durable.notes],
    };
  },
};
