/** B3: how much of its rate the relay keeps on a disk whose every fsync takes longer, as a network volume's does. */
import { acceptOnce, GONE } from "./accept.ts";
import { atLeast, inRounds, ratio, verdict, type Bench } from "./bench.ts";
import { relay } from "./subjects/relay.ts";

export const slowDisk: Bench = {
  name: "slow-disk",
  goals: ["B3"],
  what: "durable accept when each fsync takes 1 ms and 5 ms longer",
  run: async (options) => {
    const subjects = [
      relay(),
      relay({ name: "relay+1ms", fsyncUs: 1_000 }),
      relay({ name: "relay+5ms", fsyncUs: 5_000 }),
    ];
    const { table, notes } = await inRounds(subjects, options, acceptOnce(options.seconds), GONE);
    const kept = (subject: string) => ratio(table, "perSecond", subject, "relay");
    return {
      table,
      notes,
      verdicts: [
        verdict("B3", "rate kept when each fsync takes 1 ms longer", kept("relay+1ms"), atLeast(0.95)),
        verdict("B3", "rate kept when each fsync takes 5 ms longer", kept("relay+5ms"), atLeast(0.75)),
      ],
    };
  },
};
