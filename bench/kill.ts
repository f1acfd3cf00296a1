/**
 * P1 under the load of B5: the relay is killed with -9 while it accepts and delivers at full speed, and started again
 * on the same database. Everything that was answered with 200 must be delivered then.
 */
import { setTimeout as pause } from "node:timers/promises";
import { atMost, inRounds, verdict, type Bench, type Figures } from "./bench.ts";
import { load } from "./load.ts";
import type { Receiver } from "./receiver.ts";
import type { Place, Subject } from "./subject.ts";
import { relay } from "./subjects/relay.ts";

export const kill: Bench = {
  name: "kill",
  goals: [],
  what: "that kill -9 under full load loses nothing",
  run: async (options) => {
    const { table, notes } = await inRounds([relay()], options, killedOnce(options.seconds));
    const lost = (table["relay"] ?? []).reduce((sum, figures) => sum + (figures["lost"] ?? 0), 0);
    return { table, notes, verdicts: [verdict("P1", "runs lost by kill -9 under full load", lost, atMost(0, ""))] };
  },
};

/** Kills it somewhere in the middle of the load, each round a little later. */
const killedOnce =
  (seconds: number) =>
  async (subject: Subject, place: Place, round: number): Promise<Figures> => {
    const first = await subject.start(place);
    const killing = pause(1000 * seconds * (0.4 + 0.07 * (round % 5))).then(() => first.signal("SIGKILL"));
    const { times, sent } = await load(place.folder, first.target, { seconds: 2 * seconds, first: 0, outlive: true });
    await killing;
    await first.stop();
    const before = await place.receiver.count();
    const accepted = Array.from({ length: sent }, (_none, n) => n).filter((n) => (times[2 * n + 1] ?? 0n) > 0n);
    const second = await subject.start(place);
    try {
      const lost = await missing(place.receiver, accepted);
      const after = await place.receiver.count();
      return {
        sent,
        accepted: accepted.length,
        deliveredBefore: before.ids,
        delivered: after.ids,
        posts: after.posts,
        lost,
      };
    } finally {
      await second.stop();
    }
  };

/** How many of these runs have not come when nothing has come for a while. More may come than were answered. */
async function missing(receiver: Receiver, accepted: readonly number[]): Promise<number> {
  let posts = -1;
  for (let silentSince = performance.now(); ; await pause(LOOK_MS)) {
    const seen = await receiver.count();
    const arrived = await receiver.times();
    const lost = accepted.filter((n) => (arrived[n] ?? 0n) === 0n).length;
    if (lost === 0 || (seen.posts === posts && performance.now() - silentSince > SILENCE_MS)) return lost;
    if (seen.posts !== posts) silentSince = performance.now();
    posts = seen.posts;
  }
}

const LOOK_MS = 500;
/** An attempt that was cut short is repeated after up to ten seconds, and one that the sink refused after thirty. */
const SILENCE_MS = 40_000;
