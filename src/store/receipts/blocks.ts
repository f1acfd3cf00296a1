/**
 * A receipt's block: the state that its run had after it, as JSON, and the masked body. Both are compressed together,
 * once, when they are written: a state repeats most of its body, so it costs a few hundred bytes beside it. The state
 * is stored as it was settled then, so no newer release reads it differently.
 *
 * The format is Brotli (RFC 7932) of the state, a line feed, and the body. Without a line feed the body was removed; an
 * empty state belongs to an unrecognized body. At the lowest quality Brotli takes two thirds of deflate's time here,
 * both ways, for the same size.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { discard } from "../../platform/memory/discard.ts";
import { parseJson } from "../../platform/json.ts";
import type { RunState } from "../../domain/run.ts";

const LINE_FEED = 10;

/**
 * `state` is JSON, which contains no line feed; null when the body was unrecognized. `body` is null when it was
 * removed.
 */
export function packBlock(state: string | null, body: Uint8Array | null): Buffer {
  const text = state ?? "";
  const textBytes = Buffer.byteLength(text);
  const whole = Buffer.allocUnsafe(textBytes + (body === null ? 0 : 1 + body.length));
  whole.write(text);
  if (body !== null) whole.fill(LINE_FEED, textBytes, textBytes + 1).set(body, textBytes + 1);
  const block = brotliCompressSync(whole, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_SIZE_HINT]: whole.length },
  });
  discard(whole);
  return block;
}

/** Each part is null where the block lacks it. Throws when the block is damaged. */
export function unpackBlock(block: Uint8Array): { state: string | null; body: Buffer | null } {
  const { whole, end, state } = unpack(block);
  return { state, body: end < 0 ? null : whole.subarray(end + 1) };
}

/** The state in the block that a run names. Throws when the block has none. */
export function stateIn(block: Uint8Array): RunState {
  const { whole, state } = unpack(block);
  discard(whole);
  if (state === null) throw new Error("the block that a run names holds no state");
  return parseJson(state) as unknown as RunState;
}

/** `end`: where the state ends, -1 without a body. */
function unpack(block: Uint8Array): { whole: Buffer; end: number; state: string | null } {
  const whole = brotliDecompressSync(block);
  const end = whole.indexOf(LINE_FEED);
  const state = whole.toString("utf8", 0, end < 0 ? whole.length : end);
  return { whole, end, state: state === "" ? null : state };
}
