/** That the benches work: a moment of each, every answer checked, nothing said about speed. */
import { acceptOnce, GONE } from "./accept.ts";
import { inRounds, type Bench } from "./bench.ts";
import { bareHono, bareNode, stateless } from "./subjects/node.ts";
import { relay } from "./subjects/relay.ts";

export const smoke: Bench = {
  name: "smoke",
  goals: [],
  what: "that the benches work",
  run: async (options) => {
    const subjects = [bareHono, bareNode, stateless, relay()];
    const { table, notes } = await inRounds(subjects, { ...options, rounds: 1 }, acceptOnce(0.3), GONE);
    return { table, notes, verdicts: [] };
  },
};
