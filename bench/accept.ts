/**
 * B1, B2, B8: what accepting for good costs, beside endpoints that store nothing. The relay's one sink is stopped (it
 * answered 410), so that receipts, runs and outbox rows are written and nothing is sent meanwhile.
 */
import { atLeast, atMost, inRounds, ratio, verdict, type Bench, type Figures, type Options } from "./bench.ts";
import { assertAllRight, load, type LoadResult } from "./load.ts";
import type { Place, Running, Subject } from "./subject.ts";
import { bareHono, bareNode, stateless } from "./subjects/node.ts";
import { relay } from "./subjects/relay.ts";

const WARM_UP_SECONDS = 1;
/** A sink that answers so is stopped, until its operator turns it on again. */
export const GONE = "410 Gone";

export const accept: Bench = {
  name: "accept",
  goals: ["B1", "B2", "B8"],
  what: "durable accept beside endpoints that store nothing",
  run: async (options) => {
    const subjects = [bareHono, bareNode, stateless, relay(), ...others(options)];
    const { table, notes } = await inRounds(subjects, options, acceptOnce(options.seconds), GONE);
    const to = (figure: string, baseline: string) => ratio(table, figure, "relay", baseline);
    return {
      table,
      notes,
      verdicts: [
        verdict("B1", "durable accept / bare Hono", to("perSecond", "bare-hono"), atLeast(0.33)),
        verdict("B2", "durable accept / stateless endpoint", to("perSecond", "stateless"), atLeast(0.8)),
        verdict("B8", "event-loop delay p99 at full load / bare Hono", to("loopP99", "bare-hono"), atMost(1.3)),
      ],
    };
  },
};

/** The relay of another checkout, when one was named. */
export const others = ({ other }: Options): Subject[] =>
  other === undefined ? [] : [relay({ name: "other", root: other })];

/** Warm up, load, stop, and count what is on disk. */
export const acceptOnce =
  (seconds: number) =>
  async (subject: Subject, place: Place): Promise<Figures> => {
    const running = await subject.start(place);
    try {
      const first = running.firstSeq ?? 0;
      const warm = await load(place.folder, running.target, { seconds: Math.min(WARM_UP_SECONDS, seconds), first });
      assertAllRight(subject.name, warm);
      const { figures, result } = await loaded(running, place, { seconds, first: first + warm.sent });
      assertAllRight(subject.name, result);
      await running.stop();
      running.stored?.(warm.right + result.right);
      return figures;
    } finally {
      await running.stop();
    }
  };

/** One load, with what it cost the one who was loaded. */
export async function loaded(
  running: Running,
  { folder }: Place,
  options: { seconds: number; first: number; rate?: number },
): Promise<{ figures: Figures; result: LoadResult }> {
  await running.loopDelay();
  const before = running.cpuMs();
  const result = await load(folder, running.target, options);
  const cpuMs = running.cpuMs() - before;
  const delay = await running.loopDelay();
  const { perSecond, p50, p99, p999, max, clientCpuMs } = result;
  return {
    result,
    figures: {
      perSecond,
      cpuUs: (cpuMs * 1000) / result.right,
      p50,
      p99,
      p999,
      max,
      ...(delay === null ? {} : { loopP99: delay.p99, loopMax: delay.max }),
      rssMb: running.memory().rss,
      peakMb: running.memory().peak,
      clientUs: (clientCpuMs * 1000) / result.sent,
    },
  };
}
