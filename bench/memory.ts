/** B9: resident memory when nothing happens, and whether it grows under a minute of full load with delivery. */
import { setTimeout as pause } from "node:timers/promises";
import { atMost, inRounds, median, medianOf, ratio, verdict, type Bench, type Figures } from "./bench.ts";
import { assertAllRight, load } from "./load.ts";
import type { Place, Subject } from "./subject.ts";
import { bareNode } from "./subjects/node.ts";
import { relay } from "./subjects/relay.ts";

const SETTLE_MS = 5_000;
const SAMPLE_MS = 500;
const LOAD_SECONDS = 60;

export const memory: Bench = {
  name: "memory",
  goals: ["B9"],
  what: "memory when idle, and its growth in the second half of a minute of full load",
  run: async (options) => {
    const idle = await inRounds([bareNode, relay()], { ...options, rounds: Math.min(options.rounds, 3) }, idleOnce);
    const grown = await inRounds([relay({ name: "relay-minute" })], { ...options, rounds: 1 }, grownOnce);
    return {
      table: { ...idle.table, ...grown.table },
      notes: [...idle.notes, ...grown.notes],
      verdicts: [
        verdict("B9", "idle memory / empty node:http", ratio(idle.table, "rssMb", "relay", "bare-node"), atMost(1.2)),
        // Collections come when they come: what moves by less than a twentieth does not grow.
        verdict(
          "B9",
          "growth in the second half of a minute",
          medianOf(grown.table, "growth", "relay-minute"),
          atMost(1.05),
        ),
      ],
    };
  },
};

async function idleOnce(subject: Subject, place: Place): Promise<Figures> {
  const running = await subject.start(place);
  await pause(SETTLE_MS);
  const { rss, peak } = running.memory();
  await running.stop();
  return { rssMb: rss, peakMb: peak };
}

/** The third quarter of the minute against the last. */
async function grownOnce(subject: Subject, place: Place): Promise<Figures> {
  const running = await subject.start(place);
  const samples: number[] = [];
  const sampling = setInterval(() => samples.push(running.memory().rss), SAMPLE_MS);
  try {
    const result = await load(place.folder, running.target, { seconds: LOAD_SECONDS, first: 0 });
    clearInterval(sampling);
    assertAllRight(subject.name, result);
    const quarter = Math.floor(samples.length / 4);
    const third = median(samples.slice(2 * quarter, 3 * quarter));
    const last = median(samples.slice(3 * quarter));
    const { peak } = running.memory();
    await running.stop();
    running.stored?.(result.right);
    return { runs: result.right, thirdQuarterMb: third, lastQuarterMb: last, growth: last / third, peakMb: peak };
  } finally {
    clearInterval(sampling);
    await running.stop();
  }
}
