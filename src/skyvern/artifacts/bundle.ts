/**
 * Takes one member out of a bundle. Skyvern packs a step's pictures, logs and texts into one ZIP, and on local storage
 * it answers each of them with the whole ZIP (contract §9).
 */
import { setImmediate } from "node:timers/promises";
import { Unzip, UnzipInflate, UnzipPassThrough, type UnzipDecoder, type UnzipFile } from "fflate";

/** Why a member cannot be taken out, for people. Another try comes to the same. */
export class BundleFault extends Error {}

const MAX_ENTRIES = 2_000;
const MAX_BUNDLE_BYTES = 200_000_000;
const MAX_MEMBER_BYTES = 100_000_000;
/** How many bytes a byte may become. Texts that repeat themselves reach a tenth of it. */
const MAX_RATIO = 250;
/** As much may become of the first bytes. */
const FREE_BYTES = 1_000_000;
/** A piece of this size becomes 16 MB at most before the limits are looked at. */
const PIECE_BYTES = 16_384;

/** True when bytes begin as a ZIP does, an empty one too. */
export const isZip = (head: Uint8Array): boolean => /^PK(?:\x03\x04|\x05\x06)/.test(latin1(head.subarray(0, 4)));

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/**
 * The bytes of the first member with this name, unpacked as they are read, so memory does not grow with the bundle.
 * The stream breaks off with a {@link BundleFault} for a bundle that has no such member, is damaged, encrypted or
 * packed in another way, or becomes too large. Names are compared and lead nowhere.
 */
export const openMember = (bundle: ReadableStream<Uint8Array>, name: string): ReadableStream<Uint8Array> =>
  ReadableStream.from(unpack(bundle, name)) as ReadableStream<Uint8Array>;

async function* unpack(bundle: ReadableStream<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  const unpacking = startUnpacking(name);
  // Leaving the loop cancels the stream.
  for await (const chunk of bundle) {
    for (let at = 0; at < chunk.byteLength; at += PIECE_BYTES) {
      yield* unpacking.push(chunk.subarray(at, at + PIECE_BYTES));
      if (unpacking.isComplete()) return;
      await setImmediate();
    }
  }
  throw new BundleFault("Skyvern keeps it in a ZIP that has no such member, or is cut off.");
}

function startUnpacking(name: string) {
  let [entries, read, written] = [0, 0, 0];
  /** How many bytes were read before the member. */
  let before: number | null = null;
  let complete = false;
  let made: Uint8Array[] = [];
  const take = (error: unknown, data: Uint8Array | null, isLast: boolean): void => {
    if (error) throw error;
    written += data?.byteLength ?? 0;
    const isBomb = written > FREE_BYTES && written > MAX_RATIO * (read - (before ?? 0));
    if (isBomb || written > MAX_MEMBER_BYTES) throw tooLarge();
    if (data && data.byteLength > 0) made.push(data);
    complete = isLast;
  };
  const unzip = new Unzip((file: UnzipFile) => {
    entries += 1;
    if (entries > MAX_ENTRIES) throw tooLarge();
    const isMember = file.name === name && before === null;
    if (isMember) before = read - PIECE_BYTES;
    for (const decoder of isMember ? [UnzipPassThrough, UnzipInflate] : [Skipping, SkippingPacked])
      unzip.register(decoder);
    file.ondata = isMember ? take : () => {};
    file.start();
  });
  return {
    isComplete: () => complete,
    /** What the member gained by another piece of the bundle. */
    push(piece: Uint8Array): Uint8Array[] {
      read += piece.byteLength;
      if (read > MAX_BUNDLE_BYTES) throw tooLarge();
      made = [];
      try {
        unzip.push(piece);
      } catch (error) {
        // What of the member was whole before is not lost with the rest of the bundle.
        if (!complete) throw error instanceof BundleFault ? error : unreadable();
      }
      return made;
    },
  };
}

const tooLarge = () => new BundleFault("Skyvern keeps it in a ZIP that is too large, or becomes too large.");
const unreadable = () => new BundleFault("Skyvern keeps it in a ZIP that cannot be unpacked.");

/** Members that nobody asked for are neither unpacked nor kept. */
class Skipping implements UnzipDecoder {
  static compression = 0;
  ondata = (): void => {};
  push(): void {}
}

class SkippingPacked extends Skipping {
  static override compression = 8;
}
