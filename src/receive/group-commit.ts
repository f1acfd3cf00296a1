import { StorageFault, type Accepted, type Arrival, type Store } from "../store/store.ts";

/** Too much is waiting to be written: come again later. */
export class Overloaded extends Error {}

export interface GroupCommit {
  /** Resolves when the arrival is durable. Rejects with Overloaded, or with what the store could not do. */
  accept(arrival: Arrival): Promise<Accepted>;
}

interface Waiting {
  arrival: Arrival;
  resolve(accepted: Accepted): void;
  reject(error: unknown): void;
}

/** Arrivals in one transaction; more would hold the others up. */
const MAX_BATCH = 256;
/** Bodies that may wait in memory for the disk, in bytes. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/**
 * Many receives, one transaction, one fsync: while a batch is being written the next one gathers. States: idle (nothing
 * waits) → gathering (until the turn of the event loop ends) → writing → gathering or idle.
 */
export function createGroupCommit(store: Pick<Store, "accept">): GroupCommit {
  let waiting: Waiting[] = [];
  let waitingBytes = 0;
  let busy = false;

  const write = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH);
      waiting = waiting.slice(batch.length);
      await writeBatch(store, batch);
      waitingBytes -= sizeOf(batch);
    }
    busy = false;
  };

  return {
    accept: (arrival) =>
      new Promise((resolve, reject) => {
        const entry = { arrival, resolve, reject };
        if (waitingBytes + sizeOf([entry]) > MAX_WAITING_BYTES && waiting.length > 0) {
          return reject(new Overloaded("too many bodies wait for the disk"));
        }
        waiting.push(entry);
        waitingBytes += sizeOf([entry]);
        if (busy) return;
        busy = true;
        setImmediate(() => void write());
      }),
  };
}

const sizeOf = (batch: readonly Waiting[]): number =>
  batch.reduce((sum, { arrival }) => sum + arrival.receipt.body.length, 0);

/** Never rejects: every entry is settled. */
async function writeBatch(store: Pick<Store, "accept">, batch: readonly Waiting[]): Promise<void> {
  try {
    const accepted = await store.accept(batch.map(({ arrival }) => arrival));
    for (const [i, entry] of batch.entries()) entry.resolve(accepted[i] as Accepted);
  } catch (error) {
    // A storage that is gone refuses them all; anything else is one arrival's fault and must not cost its neighbours.
    if (error instanceof StorageFault || batch.length === 1) for (const entry of batch) entry.reject(error);
    else for (const entry of batch) await writeBatch(store, [entry]);
  }
}
