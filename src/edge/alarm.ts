/**
 * The relay's timer where nothing runs between requests: the object's alarm. One ring of it is a *turn*: it delivers
 * what is due, follows up runs, asks Skyvern for lost webhooks, and sets the alarm for what is due next.
 *
 * States: asleep (an alarm is set) → a turn → asleep. Work that comes during a turn is done in it; work that comes
 * while asleep sets the alarm to now. The platform repeats a turn that died with its object, and whatever wakes the
 * object sets a missing alarm.
 */
import type { App } from "../app/app.ts";
import type { PeriodicJob } from "../app/jobs.ts";
import type { Log } from "../platform/log.ts";

export interface AlarmDeps {
  app: Pick<App, "worker" | "upkeep">;
  /** The jobs that a turn runs when they are due. */
  jobs: readonly PeriodicJob[];
  /** Sets the alarm, outside any transaction. `at` is evaluated at that moment. */
  setAlarm(at: () => number): Promise<void>;
  /** When a round is due, epoch ms, across lives of the object. */
  planned(round: string): Promise<number>;
  plan(round: string, at: number): Promise<void>;
  /** Requests since the turn began. */
  requests(): number;
  now(): number;
  log: Log;
}

export interface Turns {
  /** Tells that something may be due now. Resolves once a look at it is guaranteed. */
  wake(): Promise<void>;
  /** The alarm's work. Never rejects: failures are logged and retried. */
  turn(): Promise<void>;
}

/**
 * A turn ends after this time, or this many requests (the platform allows 1000 for one event), and the next one begins.
 */
const LONGEST_TURN_MS = 120_000;
const MOST_REQUESTS = 500;
const RETRY_MS = 10_000;

export function createAlarmTurns(deps: AlarmDeps): Turns {
  const { app, now, log } = deps;
  let turning = false;
  let woken = false;
  let ring = () => {};

  /** Runs one step and logs its failure. Returns when to come again, epoch ms. */
  const safely = async (name: string, act: () => Promise<number | null>): Promise<number | null> => {
    try {
      return await act();
    } catch (error) {
      log.error("job.failed", { job: name, error: String(error) });
      return now() + RETRY_MS;
    }
  };
  /** Runs one round of a job, if it is due. Returns when to come again. */
  const round = async ({ name, everyMs, run, dueAt }: PeriodicJob): Promise<number | null> => {
    if (dueAt) {
      const at = await dueAt();
      if (at === null || at > now()) return at;
      await run();
      return dueAt();
    }
    const at = await deps.planned(name);
    if (at > now()) return at;
    // The next round is planned first, so that a round that kills the object does not repeat at once.
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
        // Rounds may take longer than deliveries, and queue new ones.
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
