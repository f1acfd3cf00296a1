import type { Worker } from "../deliver/worker.ts";
import type { Log } from "../platform/log.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Fleet } from "../store/postgres/fleet.ts";
import type { PeriodicJob } from "./jobs.ts";

export interface LifecycleDeps {
  worker: Pick<Worker, "start" | "stop">;
  jobs: readonly PeriodicJob[];
  /** The other relays on the same database; null where there can be none. */
  fleet: Pick<Fleet, "runExclusively"> | null;
  /** Aborted by {@link Lifecycle.drain}, which ends rounds and event streams. */
  ending: AbortController;
  /** Called when everything else has ended. */
  last(): Promise<void>;
  runtime: Pick<Runtime, "now" | "sleep">;
  log: Log;
}

/** How long attempts get to end, ms; hosts give 30 s in all. */
const DRAIN_MS = 20_000;
/** The jobs start after a while, so that webhooks that waited for the relay come first. */
const FIRST_ROUND_MS = 1_000;
const AFTER_FAILURE_MS = 10_000;

/**
 * Runs the worker, and a loop for each job.
 *
 * States: made → running (`start`) → draining (`drain`: no more claims, no new round) → drained. A lifecycle that was
 * never started drains at once.
 */
export class Lifecycle {
  readonly #deps: LifecycleDeps;
  readonly #loops: Promise<void>[] = [];
  #drained: Promise<void> | null = null;

  constructor(deps: LifecycleDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { worker, jobs } = this.#deps;
    worker.start();
    for (const job of jobs) this.#loops.push(this.#repeat(job));
  }

  /**
   * Resolves within some 20 s, when every attempt and round has ended and is recorded. Repeated calls share one drain.
   */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Runs one round of a job by its name, unless another relay is running it or ran it within `everyMs`. */
  async run(name: string): Promise<void> {
    const job = this.#deps.jobs.find((one) => one.name === name);
    if (!job) throw new Error(`there is no job ${name}`);
    await this.#round(job);
  }

  async #drain(): Promise<void> {
    const { worker, ending, last } = this.#deps;
    ending.abort();
    await worker.stop(DRAIN_MS);
    await Promise.all(this.#loops);
    await last();
  }

  /** A failed round is logged and ends no loop. */
  async #repeat(job: PeriodicJob): Promise<void> {
    const { ending, runtime, log } = this.#deps;
    await runtime.sleep(FIRST_ROUND_MS, ending.signal);
    while (!ending.signal.aborted) {
      let waitMs = job.everyMs;
      try {
        if (await this.#isDue(job)) await this.#round(job);
      } catch (error) {
        log.error("job.failed", { job: job.name, error: String(error) });
        waitMs = AFTER_FAILURE_MS;
      }
      await runtime.sleep(waitMs, ending.signal);
    }
  }

  async #isDue({ dueAt }: PeriodicJob): Promise<boolean> {
    const at = dueAt ? await dueAt() : 0;
    return at !== null && at <= this.#deps.runtime.now();
  }

  async #round({ name, everyMs, exclusive, run }: PeriodicJob): Promise<void> {
    const { fleet } = this.#deps;
    await (exclusive && fleet ? fleet.runExclusively(name, everyMs, run) : run());
  }
}
