/**
 * The relay's timer where nothing runs between requests: the object's alarm. A *turn* is one ring of it: deliver what is due,
 * look again at runs that are to be looked at, ask Skyvern for lost webhooks, and set the alarm for what comes due next.
 *
 * States: asleep (an alarm is set) → a turn → asleep. What comes during a turn is done in it; what comes while asleep sets the
 * alarm to now. A turn that dies with its object is rung again by the platform, and whatever wakes the object sets a missing alarm.
 */
import type { App } from "../app/app.ts";
import type { PeriodicJob } from "../app/jobs.ts";
import type { Log } from "../platform/log.ts";

export interface AlarmDeps {
  app: Pick<App, "worker" | "upkeep">;
  /** Done in a turn when they are due. */
  jobs: readonly PeriodicJob[];
  /** Sets the alarm, outside of any transaction. `at` is asked for at that moment. */
  setAlarm(at: () => number): Promise<void>;
  /** When a round is due, epoch ms, over the lives of the object. */
  planned(round: string): Promise<number>;
  plan(round: string, at: number): Promise<void>;
  /** Requests made since the turn began. */
  requests(): number;
  now(): number;
  log: Log;
}

export interface Turns {
  /** Something may be due now. Resolves when it will be looked at for sure. */
  wake(): Promise<void>;
  /** What the alarm does. `begun` is called first. Never rejects: what fails is logged, and tried again. */
  turn(): Promise<void>;
}

/** A turn ends after so long, or so many requests (the platform allows 1000 of one event), and the next one begins. */
const LONGEST_TURN_MS = 120_000;
const MOST_REQUESTS = 500;
const RETRY_MS = 10_000;

export function createAlarmTurns(deps: AlarmDeps): Turns {
  const { app, now, log } = deps;
  let turning = false;
  let woken = false;
  let ring = () => {};

  /** Runs one thing; what goes wrong is logged. When to come again, epoch ms. */
  const safely = async (name: string, act: () => Promise<number | null>): Promise<number | null> => {
    try {
      return await act();
    } catch (error) {
      log.error(`${name}.failed`, { error: String(error) });
      return now() + RETRY_MS;
    }
  };
  /** One round of a job, if it is due. When to come again. */
  const round = async ({ name, everyMs, run, dueAt }: PeriodicJob): Promise<number | null> => {
    if (dueAt) {
      const at = await dueAt();
      if (at === null || at > now()) return at;
      await run();
      return dueAt();
    }
    const at = await deps.planned(name);
    if (at > now()) return at;
    // Planned first: a round that costs the object its life is not begun again at once.
    await deps.plan(name, now() + everyMs);
    await run();
    return now() + everyMs;
  };
  const allRounds = (): Promise<(number | null)[]> =>
    Promise.all(deps.jobs.map((job) => safely(job.name, () => round(job))));

  return {
    wake: async () => {
      woken = true;
      ring();
      if (!turning) await deps.setAlarm(now);
    },
    turn: async () => {
      turning = true;
      const endAt = now() + LONGEST_TURN_MS;
      const enough = () => now() > endAt || deps.requests() > MOST_REQUESTS;
      const rounds = { times: [] as (number | null)[], over: false };
      const asked = allRounds().then((times) => {
        rounds.times = times;
        rounds.over = true;
      });
      let next: number | null;
      do {
        woken = false;
        next = await safely("delivery", () => app.worker.work(enough));
        const rung = new Promise<void>((resolve) => (ring = resolve));
        // Rounds may take longer than deliveries, and bring new ones.
        if (!rounds.over && !woken) await Promise.race([asked, rung]);
      } while (!enough() && (woken || !rounds.over));
      await asked;
      const upkeep = await safely("upkeep", async () => {
        await app.upkeep();
        return null;
      });
      const nextAt = Math.min(...[next, upkeep, ...rounds.times].filter((at) => at !== null));
      await deps.setAlarm(() => {
        turning = false;
        return woken || enough() ? now() : nextAt;
      });
    },
  };
}
