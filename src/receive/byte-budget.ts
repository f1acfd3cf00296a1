/** Too much is waiting to be written: come again later. */
export class Overloaded extends Error {}

/** Bodies that may wait in memory for the disk, in bytes. One always may. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** Takes what there is room for, and rejects the rest with Overloaded. */
export function withinByteBudget<Item extends { bytes: Uint8Array }, Answer>(
  take: (item: Item) => Promise<Answer>,
): (item: Item) => Promise<Answer> {
  let waitingBytes = 0;
  return async (item) => {
    // Asked now: they may be another thread's by the time it answers.
    const size = item.bytes.byteLength;
    if (waitingBytes + size > MAX_WAITING_BYTES && waitingBytes > 0) {
      throw new Overloaded("too many bodies wait for the disk");
    }
    waitingBytes += size;
    try {
      return await take(item);
    } finally {
      waitingBytes -= size;
    }
  };
}
