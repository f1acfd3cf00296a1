/** Hono and graphile-worker: jobs are added in batches, fetched 256 at a time and completed together. */
import pg from "pg";
import { CONCURRENCY, MOST_ATTEMPTS, post, type RunEvent } from "./event.ts";
import { batched, listen, loadPeer } from "./endpoint.ts";

type Level = "error" | "warning" | "info" | "debug";
interface GraphileWorker {
  Logger: new (scoped: () => (level: Level, message: string) => void) => object;
  makeWorkerUtils(options: object): Promise<{
    migrate(): Promise<void>;
    addJobs(jobs: { identifier: string; payload: RunEvent; jobKey: string; maxAttempts: number }[]): Promise<unknown>;
  }>;
  run(options: object): Promise<unknown>;
}

const { Logger, makeWorkerUtils, run } = loadPeer<GraphileWorker>("graphile-worker");
const CONNECTIONS = 10;
const FETCHED_AT_ONCE = 256;
const COMPLETE_DELAY_MS = 10;
const TASK = "deliver";

const pgPool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONNECTIONS });
pgPool.on("error", (error) => console.error(error));
// Its own logger prints two lines a job.
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();
await run({
  pgPool,
  logger,
  noHandleSignals: true,
  taskList: { [TASK]: (event: RunEvent) => post(event.data.run_id, JSON.stringify(event)) },
  preset: {
    worker: {
      concurrentJobs: CONCURRENCY,
      localQueue: { size: FETCHED_AT_ONCE, ttl: 60_000 },
      completeJobBatchDelay: COMPLETE_DELAY_MS,
      failJobBatchDelay: COMPLETE_DELAY_MS,
    },
  },
});

listen(
  batched((events) =>
    utils.addJobs(
      events.map((payload) => ({
        identifier: TASK,
        payload,
        jobKey: payload.data.run_id,
        maxAttempts: MOST_ATTEMPTS,
      })),
    ),
  ),
);
