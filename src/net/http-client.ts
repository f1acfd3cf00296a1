/**
 * HTTP requests whose answer is read whole. `fetch` creates objects around a request that cost several times the
 * request itself, so it is used only where a body is streamed or a library needs it.
 */
import type { Fetch } from "../platform/runtime.ts";

export interface HttpRequest {
  /** Default: GET. */
  method?: "GET" | "POST";
  /** Lower-case names. */
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  signal: AbortSignal;
  /** The most bytes of the answer's body, decompressed; default 64 kB. The rest is not waited for. */
  maxBytes?: number;
}

export interface HttpResponse {
  status: number;
  headers: Pick<Headers, "get">;
  /** The body, decompressed, at most `maxBytes`. */
  body: Buffer;
  /** Why the body is incomplete: {@link BodyTooLong}, or what broke it off. Null when it is complete. */
  missing: { why: unknown } | null;
}

/** The default of {@link HttpRequest.maxBytes}. */
export const MAX_ANSWER_BYTES = 64 * 1024;

/** The body has more bytes than were allowed. */
export class BodyTooLong extends Error {}

/**
 * Sends one request and never follows a redirect. Rejects when no status came: with the signal's reason, or with what
 * failed. When the body breaks off, `missing` says so and the status still counts.
 */
export type HttpClient = (url: string | URL, request: HttpRequest) => Promise<HttpResponse>;

/** Rejects where the guarded `fetch` would not go, without asking anything there. */
export type Permit = (url: string | URL, signal?: AbortSignal) => Promise<void>;

/** The relay's outgoing clients, under the same rules. */
export interface Outbound {
  fetch: Fetch;
  request: HttpClient;
}

/** A client for hosts that have only `fetch`. */
export const viaFetch =
  (fetch: Fetch): HttpClient =>
  async (url, { maxBytes = MAX_ANSWER_BYTES, ...request }) => {
    const { status, headers, body } = await fetch(url, { ...request, redirect: "manual" } as RequestInit);
    const read = await readBody(body ?? [], {
      announced: Number(headers.get("content-length") ?? 0),
      maxBytes,
      // A stream that was left while reading is locked, and has ended already.
      end: () => void body?.cancel().catch(() => {}),
    });
    return { status, headers, ...read };
  };

/**
 * Reads a body up to `maxBytes`, unless a longer one is `announced`; `end` closes a stream that is not read to its end.
 */
export async function readBody(
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { announced, maxBytes, end }: { announced: number; maxBytes: number; end(): void },
): Promise<Pick<HttpResponse, "body" | "missing">> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  let missing: HttpResponse["missing"] = null;
  try {
    if (announced > maxBytes) throw new BodyTooLong();
    for await (const chunk of stream) {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size > maxBytes) throw new BodyTooLong();
    }
  } catch (why) {
    missing = { why };
    end();
  }
  return { body: Buffer.concat(chunks).subarray(0, maxBytes), missing };
}
