/** B14: what a run takes on disk, with its body, its deliveries, every index and the search, after the work in the background is done. */
import { setTimeout as pause } from "node:timers/promises";
import { atMost, inRounds, medianOf, verdict, type Bench, type Figures } from "./bench.ts";
import { untilDelivered } from "./deliver.ts";
import { assertAllRight, load } from "./load.ts";
import type { Place, Running, Subject } from "./subject.ts";
import { relay } from "./subjects/relay.ts";

/** So many runs that what an empty database takes no longer counts. */
const RUNS = 10_000;
const LONGEST_LOAD_S = 60;
const LONGEST_WORK_MS = 180_000;
const LOOK_MS = 3_000;
/** Of one core; below it a process does nothing in particular. */
const IDLE_SHARE = 0.02;

export const disk: Bench = {
  name: "disk",
  goals: ["B14"],
  what: "bytes on disk for each byte of a body",
  run: async (options) => {
    const { table, notes } = await inRounds([relay()], { ...options, rounds: 1 }, storeOnce);
    const runs = medianOf(table, "runs", "relay") ?? 0;
    const note = runs < RUNS ? `with only ${runs} runs` : undefined;
    return {
      table,
      notes,
      verdicts: [verdict("B14", "bytes on disk / body bytes", medianOf(table, "ratio", "relay"), atMost(0.65), note)],
    };
  },
};

async function storeOnce(subject: Subject, place: Place): Promise<Figures> {
  const running = await subject.start(place);
  try {
    let right = 0;
    let sent = 0;
    for (const until = performance.now() + LONGEST_LOAD_S * 1000; right < RUNS && performance.now() < until;) {
      const result = await load(place.folder, running.target, { seconds: 2, first: sent });
      assertAllRight(subject.name, result);
      sent += result.sent;
      right += result.right;
    }
    await untilDelivered(place.receiver, right);
    await untilIdle(running);
    await running.stop();
    const stored = running.stored?.(right);
    if (!stored) throw new Error(`${subject.name} does not say what it stored`);
    const { bytes, unused, bodyBytes } = stored;
    return {
      runs: right,
      bytesPerRun: bytes / right,
      bodyBytes: bodyBytes / right,
      unusedPerRun: unused / right,
      ratio: bytes / bodyBytes,
    };
  } finally {
    await running.stop();
  }
}

async function untilIdle(running: Running): Promise<void> {
  for (const giveUpAt = Date.now() + LONGEST_WORK_MS; Date.now() < giveUpAt;) {
    const before = running.cpuMs();
    await pause(LOOK_MS);
    if (running.cpuMs() - before < LOOK_MS * IDLE_SHARE) return;
  }
}
