/** Too much waits to be written; the sender should come again later. */
export class Overloaded extends Error {}

/** The most bytes of bodies that may wait in memory for the disk. A single one always may. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** Takes items while they fit into the byte budget, and rejects the others with Overloaded. */
export function withinByteBudget<Item extends { bytes: Uint8Array }, Answer>(
  take: (item: Item) => Promise<Answer>,
): (item: Item) => Promise<Answer> {
  let waitingBytes = 0;
  return async (item) => {
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
