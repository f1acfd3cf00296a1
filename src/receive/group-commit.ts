import { grouped } from "../store/grouped.ts";
import type { Accepted, Arrival, Store } from "../store/store.ts";

/** Too much is waiting to be written: come again later. */
export class Overloaded extends Error {}

export interface GroupCommit {
  /** Resolves when the arrival is durable. Rejects with Overloaded, or with what the store could not do. */
  accept(arrival: Arrival): Promise<Accepted>;
}

/** Bodies that may wait in memory for the disk, in bytes. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** Many receives, one transaction, as far as there is room for those that wait. */
export function createGroupCommit(store: Pick<Store, "accept">): GroupCommit {
  const accept = grouped((arrivals: readonly Arrival[]) => store.accept(arrivals), bytesOf);
  let waitingBytes = 0;
  return {
    accept: async (arrival) => {
      const size = bytesOf(arrival);
      if (waitingBytes + size > MAX_WAITING_BYTES && waitingBytes > 0) {
        throw new Overloaded("too many bodies wait for the disk");
      }
      waitingBytes += size;
      try {
        return await accept(arrival);
      } finally {
        waitingBytes -= size;
      }
    },
  };
}

const bytesOf = ({ receipt }: Arrival): number => receipt.body.length;
