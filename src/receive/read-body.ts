/** What is stored of a body, and what of it is parsed. */
import { discard } from "../platform/memory/discard.ts";
import { boundPayload, type Bounded } from "../skyvern/payload.ts";
import type { Redact } from "../skyvern/redact.ts";

/** A body without its secrets: no later step sees the one that came. */
export interface MaskedBody {
  /** The masked bytes. Those that are not UTF-8 are masked byte by byte. */
  stored: Buffer;
  /** The text to parse, or why it is not parsed. */
  bounded: Bounded;
}

/** The bytes are consumed. */
export function readBody(bytes: Buffer, redact: Redact): MaskedBody {
  const text = bytes.toString("utf8");
  if (text.includes("\uFFFD") && !bytes.equals(Buffer.from(text, "utf8"))) {
    // It must not be parsed: RFC 8259 requires UTF-8.
    const stored = Buffer.from(redact(bytes.toString("latin1")).text, "latin1");
    return { stored, bounded: { kind: "unknown", reason: "the body is not JSON" } };
  }
  discard(bytes);
  const masked = redact(text);
  return { stored: Buffer.from(masked.text, "utf8"), bounded: boundPayload(masked) };
}

/** Reads a body somewhere else. Rejects when it cannot. */
export type ReadApart = (order: ReadOrder) => Promise<MaskedBody>;

export interface ReadOrder {
  bytes: Uint8Array;
  redactKeys: readonly string[];
}

/** A body up to this size, which nearly all are, is read at once: that takes at most some 100 ms, and mostly 0.1 ms. */
export const SMALL_BODY = 256 * 1024;

export interface BodyReaderDeps {
  redact: Redact;
  redactKeys: readonly string[];
  /** Null where there are no threads: every body is read at once. */
  readApart: ReadApart | null;
}

/** The bytes are consumed. */
export function createBodyReader({ redact, redactKeys, readApart }: BodyReaderDeps) {
  return async (bytes: Buffer): Promise<MaskedBody> => {
    if (readApart === null || bytes.length <= SMALL_BODY) return readBody(bytes, redact);
    // A machine that has no room for a thread still takes the webhook in.
    const reading = await readApart({ bytes, redactKeys }).catch(() => readBody(bytes, redact));
    discard(bytes);
    return reading;
  };
}
