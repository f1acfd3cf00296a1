/** The size from which it is worth its while, bytes. */
const LARGE = 1_000_000;

/**
 * Frees the memory of a large buffer that nobody uses any more; afterwards it is empty. The garbage collector cannot
 * see how large a buffer is, and waits until some 64 MB of them have gathered. A buffer that shares its memory stays.
 */
export function discard({ buffer, byteLength }: ArrayBufferView): void {
  if (byteLength >= LARGE && byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
