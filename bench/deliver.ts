/**
 * B4, B5, B6 and B9's peak: accepted and delivered, beside the peers. Every peer relays each webhook to the same
 * receiver; delivered a second counts from the first webhook sent to the last delivery that came, so what is left
 * waiting costs whoever left it.
 */
import { setTimeout as pause } from "node:timers/promises";
import { loaded, others } from "./accept.ts";
import { atLeast, atMost, inRounds, ratio, verdict, type Bench, type Figures } from "./bench.ts";
import { assertAllRight, load, type LoadResult } from "./load.ts";
import type { Receiver } from "./receiver.ts";
import type { Place, Subject } from "./subject.ts";
import { alertmanager, n8n, nodeRed, webhook } from "./subjects/peers.ts";
import { relay } from "./subjects/relay.ts";

const LONGEST_SILENCE_MS = 15_000;
const LOOK_MS = 20;

/** Waits until so many different runs have come. Throws when none comes for a quarter of a minute. */
export async function untilDelivered(receiver: Receiver, runs: number): Promise<void> {
  let seen = -1;
  let seenAt = Date.now();
  for (;;) {
    const { ids } = await receiver.count();
    if (ids >= runs) return;
    if (ids > seen) {
      seen = ids;
      seenAt = Date.now();
    } else if (Date.now() - seenAt > LONGEST_SILENCE_MS)
      throw new Error(`${runs - ids} of ${runs} runs were never delivered`);
    await pause(LOOK_MS);
  }
}

export interface Delivered {
  /** A second, from the first webhook sent to the last delivery. */
  perSecond: number;
  /** From sending the webhook to the delivery, ms. */
  p50: number;
  p99: number;
}

/** Throws when a run that was accepted has not come. */
export function deliveriesOf(result: LoadResult, first: number, arrived: BigUint64Array): Delivered {
  const ms: number[] = [];
  let last = 0n;
  for (let n = 0; n < result.sent; n++) {
    const sentAt = result.times[2 * n] ?? 0n;
    const acceptedAt = result.times[2 * n + 1] ?? 0n;
    const arrivedAt = arrived[first + n] ?? 0n;
    if (acceptedAt === 0n) continue;
    if (arrivedAt === 0n) throw new Error(`run number ${first + n} was accepted and never delivered`);
    ms.push(Number(arrivedAt - sentAt) / 1e6);
    if (arrivedAt > last) last = arrivedAt;
  }
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0;
  const seconds = Number(last - (result.times[0] ?? 0n)) / 1e9;
  return { perSecond: ms.length / seconds, p50: at(0.5), p99: at(0.99) };
}

const WARM_UP_SECONDS = 1;

/** Warm up and let it deliver that; load; wait for the last delivery. */
export const deliverOnce =
  (options: { seconds: number; rate?: number }) =>
  async (subject: Subject, place: Place): Promise<Figures> => {
    const running = await subject.start(place);
    const { receiver } = place;
    try {
      const warm = await load(place.folder, running.target, {
        ...options,
        seconds: Math.min(WARM_UP_SECONDS, options.seconds),
        first: 0,
      });
      assertAllRight(subject.name, warm);
      if (subject.delivers) await untilDelivered(receiver, warm.right);
      const before = running.cpuMs();
      const first = warm.sent;
      const { figures, result } = await loaded(running, place, { ...options, first });
      assertAllRight(subject.name, result);
      const { perSecond, p50, p99, rssMb, clientUs } = figures as Record<
        "perSecond" | "p50" | "p99" | "rssMb" | "clientUs",
        number
      >;
      const accepted = { acceptedPerSecond: perSecond, acceptP50: p50, acceptP99: p99, clientUs };
      if (!subject.delivers) return { ...accepted, peakMb: running.memory().peak };
      const whole = warm.right + result.right;
      await untilDelivered(receiver, whole);
      const cpuUs = ((running.cpuMs() - before) * 1000) / result.right;
      const delivered = deliveriesOf(result, first, await receiver.times());
      const { posts, ids } = await receiver.count();
      const { peak } = running.memory();
      await running.stop();
      running.stored?.(whole);
      return {
        ...accepted,
        deliveredPerSecond: delivered.perSecond,
        deliveryP50: delivered.p50,
        deliveryP99: delivered.p99,
        cpuUs,
        rssMb,
        peakMb: peak,
        postsPerRun: posts / ids,
      };
    } finally {
      await running.stop();
    }
  };

export const deliver: Bench = {
  name: "deliver",
  goals: ["B4", "B5", "B6", "B9"],
  what: "accepted and delivered, beside the peers",
  run: async (options) => {
    const subjects = [relay(), ...others(options), alertmanager, webhook, nodeRed, n8n];
    const { table, notes } = await inRounds(subjects, options, deliverOnce(options));
    const over = (figure: string, peer: string) => ratio(table, figure, "relay", peer);
    const beside = (goal: string, what: string, figure: string, goals: Record<string, number>) =>
      Object.entries(goals).map(([peer, wanted]) =>
        verdict(goal, `${what} / ${peer}`, over(figure, peer), atLeast(wanted)),
      );
    return {
      table,
      notes,
      verdicts: [
        ...beside("B4", "accepted/s", "acceptedPerSecond", { alertmanager: 2.5, webhook: 4, "node-red": 5, n8n: 300 }),
        ...beside("B5", "delivered/s", "deliveredPerSecond", { alertmanager: 2.2, "node-red": 5, n8n: 300 }),
        verdict("B6", "CPU per delivered run / alertmanager", over("cpuUs", "alertmanager"), atMost(0.33)),
        verdict("B9", "peak memory delivering / alertmanager", over("peakMb", "alertmanager"), atMost(0.6)),
      ],
    };
  },
};

/** A calm day: a fixed rate that everybody can keep up with. */
const RATE = 300;

export const calm: Bench = {
  name: "calm",
  goals: ["B7"],
  what: `from webhook to delivery at ${RATE} a second`,
  run: async (options) => {
    const subjects = [relay(), ...others(options), alertmanager];
    const { table, notes } = await inRounds(subjects, options, deliverOnce({ ...options, rate: RATE }));
    const over = (figure: string) => ratio(table, figure, "relay", "alertmanager");
    return {
      table,
      notes,
      verdicts: [
        verdict("B7", `delivery p50 at ${RATE}/s / alertmanager`, over("deliveryP50"), atMost(1.4)),
        verdict("B7", `delivery p99 at ${RATE}/s / alertmanager`, over("deliveryP99"), atMost(0.5)),
      ],
    };
  },
};
