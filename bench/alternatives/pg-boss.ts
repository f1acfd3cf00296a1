/** Hono and pg-boss: jobs are inserted in batches, fetched 256 at a time and settled together. */
import { createHash } from "node:crypto";
import { CONCURRENCY, MOST_ATTEMPTS, post, type RunEvent } from "./event.ts";
import { batched, listen, loadPeer } from "./endpoint.ts";

interface Job {
  id: string;
  data: RunEvent;
}
interface Settled {
  id: string;
  status: "completed" | "failed";
  output?: object;
}
interface PgBossPackage {
  PgBoss: new (options: object) => {
    on(event: "error", listener: (error: Error) => void): void;
    start(): Promise<unknown>;
    createQueue(name: string, options: object): Promise<void>;
    insert(name: string, jobs: Job[]): Promise<unknown>;
    work(name: string, options: object, handle: (jobs: Job[]) => Promise<Settled[]>): Promise<unknown>;
  };
}

const { PgBoss } = loadPeer<PgBossPackage>("pg-boss");
const QUEUE = "deliver";
const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 10, useListenNotify: true });
boss.on("error", (error) => console.error(error));
await boss.start();
await boss.createQueue(QUEUE, {
  notify: true,
  retryLimit: MOST_ATTEMPTS,
  retryDelay: 1,
  retryBackoff: true,
  expireInSeconds: 60,
});

/**
 * A UUID that is always the same for a run: a second insert with it does nothing while the job is kept, which is seven
 * days.
 */
function idOf({ data: { run_id } }: RunEvent): string {
  const hex = createHash("sha256").update(run_id).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const deliver = ({ id, data }: Job): Promise<Settled> =>
  post(data.data.run_id, JSON.stringify(data)).then(
    () => ({ id, status: "completed" as const }),
    (error: unknown) => ({ id, status: "failed" as const, output: { message: String(error) } }),
  );

/** Keeps as many POSTs under way as all alternatives do. */
async function deliverAll(jobs: Job[]): Promise<Settled[]> {
  const left = [...jobs];
  const settled: Settled[] = [];
  const lane = async (): Promise<void> => {
    for (let job = left.shift(); job !== undefined; job = left.shift()) settled.push(await deliver(job));
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return settled;
}

await boss.work(
  QUEUE,
  {
    batchSize: 256,
    perJobResults: true,
    localConcurrency: 1,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 0.5,
    notifyPollingIntervalSeconds: 2,
  },
  deliverAll,
);

listen(
  batched((events) =>
    boss.insert(
      QUEUE,
      events.map((data) => ({ id: idOf(data), data })),
    ),
  ),
);
