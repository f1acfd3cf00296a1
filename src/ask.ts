/** Asking over HTTP for an answer that is wanted as a whole. `fetch` makes objects around a request that cost several times what it does. */
import type { Fetch } from "./runtime.ts";

export interface Question {
  method: "GET" | "POST";
  /** Names in lower case. */
  headers: Record<string, string>;
  body?: string;
  signal: AbortSignal;
  /** Of the answer's body; the rest is not waited for. */
  maxBytes: number;
}

export interface Answer {
  status: number;
  headers: Pick<Headers, "get">;
  /** Unpacked. */
  body: Buffer;
  /** Why there is more of it: {@link TooLong}, or what broke it off; null: there is not. */
  missing: { why: unknown } | null;
}

/** The body has more bytes than were asked for. */
export class TooLong extends Error {}

/**
 * Never follows a redirect. Rejects when no status came: with the signal's reason, or with what `fetch` would. A body that broke off
 * is `missing`.
 */
export type Ask = (url: URL, question: Question) => Promise<Answer>;

/** Where there is nothing shorter than `fetch`. */
export const askBy =
  (fetch: Fetch): Ask =>
  async (url, { maxBytes, ...question }) => {
    const response = await fetch(url, { ...question, redirect: "manual" });
    const { status, headers } = response;
    const chunks: Uint8Array[] = [];
    let size = Number(headers.get("content-length") ?? 0);
    let missing: Answer["missing"] = null;
    try {
      if (size > maxBytes) throw new TooLong();
      size = 0;
      for await (const chunk of response.body ?? []) {
        chunks.push(chunk);
        size += chunk.byteLength;
        if (size > maxBytes) throw new TooLong();
      }
    } catch (why) {
      missing = { why };
      // Of one that the loop has left already there is nothing to cancel.
      await response.body?.cancel().catch(() => {});
    }
    return { status, headers, body: Buffer.concat(chunks).subarray(0, maxBytes), missing };
  };
