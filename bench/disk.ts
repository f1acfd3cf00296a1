/**
 * B14: what a run takes on disk, with its body, its deliveries, every index and the search, after the work in the
 * background is done.
 */
import { setTimeout as pause } from "node:timers/promises";
import { atMost, inRounds, medianOf, verdict, type Bench, type Figures } from "./bench.ts";
import { untilDelivered } from "./deliver.ts";
import { assertAllRight, load } from "./load.ts";
import type { Place, Running, Subject } from "./subject.ts";
import { relay } from "./subjects/relay.ts";

/** So many runs that what an empty database takes no longer counts. */
const RUNS = 10_000;
const LONGEST_LOAD_S = 60;
const LONGEST_WORK_MS = 300_000;
const LOOK_MS = 3_000;
/** Of one core; below it a process does nothing in particular. */
const IDLE_SHARE = 0.02;

export const disk: Bench = {
  name: "disk",
  goals: ["B14"],
  what: "bytes on disk for each byte of a body",
  run: async (options) => {
    const parts: string[] = [];
    const { table, notes } = await inRounds([relay()], { ...options, rounds: 1 }, (subject, place) =>
      storeOnce(subject, place, parts),
    );
    const runs = medianOf(table, "runs", "relay") ?? 0;
    const note = runs < RUNS ? `with only ${runs} runs` : undefined;
    return {
      table,
      notes: [...notes, ...parts],
      verdicts: [verdict("B14", "bytes on disk / body bytes", medianOf(table, "ratio", "relay"), atMost(0.65), note)],
    };
  },
};

/** `parts`: told what each table and index takes. */
async function storeOnce(subject: Subject, place: Place, parts: string[]): Promise<Figures> {
  const running = await subject.start(place);
  try {
    const writtenAtStart = running.writtenBytes();
    let right = 0;
    let sent = 0;
    for (const until = performance.now() + LONGEST_LOAD_S * 1000; right < RUNS && performance.now() < until;) {
      const result = await load(place.folder, running.target, { seconds: 2, first: sent });
      assertAllRight(subject.name, result);
      sent += result.sent;
      right += result.right;
    }
    await untilDelivered(place.receiver, right);
    const delivered = { at: performance.now(), cpuMs: running.cpuMs(), written: running.writtenBytes() };
    await untilIdle(running);
    const workS = (performance.now() - delivered.at - LOOK_MS) / 1000;
    const workUs = ((running.cpuMs() - delivered.cpuMs) * 1000) / right;
    const written = running.writtenBytes();
    await running.stop();
    const stored = running.stored?.(right);
    if (!stored) throw new Error(`${subject.name} does not say what it stored`);
    const { bytes, unused, bodyBytes } = stored;
    for (const [part, taken] of Object.entries(stored.parts))
      if (taken / right >= 1) parts.push(`${part.padEnd(34)} ${(taken / right).toFixed(0).padStart(6)} bytes a run`);
    return {
      runs: right,
      bytesPerRun: bytes / right,
      bodyBytes: bodyBytes / right,
      unusedPerRun: unused / right,
      ratio: bytes / bodyBytes,
      writtenPerRun: (delivered.written - writtenAtStart) / right,
      // After the last delivery: how long the work in the background took, and what it cost.
      workS,
      workUs,
      workWrittenPerRun: (written - delivered.written) / right,
    };
  } finally {
    await running.stop();
  }
}

/** Until nothing is put off any more, and the process does nothing in particular. Throws when that takes too long. */
async function untilIdle(running: Running): Promise<void> {
  for (const giveUpAt = Date.now() + LONGEST_WORK_MS; Date.now() < giveUpAt;) {
    const before = running.cpuMs();
    await pause(LOOK_MS);
    if (running.cpuMs() - before < LOOK_MS * IDLE_SHARE && running.isSettled?.() !== false) return;
  }
  throw new Error(`the work in the background was not done within ${LONGEST_WORK_MS / 1000} s`);
}
