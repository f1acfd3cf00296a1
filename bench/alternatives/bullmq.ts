/**
 * Hono and BullMQ, jobs added in batches. A finished job stays for a day, so that a webhook that comes again is known.
 */
import { CONCURRENCY, MOST_ATTEMPTS, post, type RunEvent } from "./event.ts";
import { batched, listen, loadPeer } from "./endpoint.ts";

interface BullMq {
  Queue: new (
    name: string,
    options: object,
  ) => { addBulk(jobs: { name: string; data: RunEvent; opts: object }[]): Promise<unknown> };
  Worker: new (
    name: string,
    deliver: (job: { data: RunEvent }) => Promise<void>,
    options: object,
  ) => { on(event: "error", listener: (error: Error) => void): void };
}

const { Queue, Worker } = loadPeer<BullMq>("bullmq");
const QUEUE = "deliver";
const DAY_SECONDS = 86_400;
const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };

const queue = new Queue(QUEUE, {
  connection,
  defaultJobOptions: {
    attempts: MOST_ATTEMPTS,
    backoff: { type: "exponential", delay: 1_000 },
    removeOnComplete: { age: DAY_SECONDS },
    removeOnFail: false,
  },
});
const worker = new Worker(QUEUE, ({ data }) => post(data.data.run_id, JSON.stringify(data)), {
  connection,
  concurrency: CONCURRENCY,
});
worker.on("error", (error) => console.error(error));

listen(
  batched((events) =>
    queue.addBulk(events.map((data) => ({ name: data.type, data, opts: { jobId: data.data.run_id } }))),
  ),
);
