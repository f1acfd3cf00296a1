/**
 * Requests over HTTP whose answer is wanted whole. `fetch` makes objects around a request that cost several times what
 * the request itself does, so it is used only where a body is streamed or a library asks for it.
 */
import type { Fetch } from "../platform/runtime.ts";

export interface HttpRequest {
  /** GET when left out. */
  method?: "GET" | "POST";
  /** Names in lower case. */
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  signal: AbortSignal;
  /** Most bytes of the answer's body, unpacked; 64 kB unless told. What comes after them is not waited for. */
  maxBytes?: number;
}

export interface HttpResponse {
  status: number;
  headers: Pick<Headers, "get">;
  /** Unpacked, at most `maxBytes`. */
  body: Buffer;
  /** Why the body is not whole: {@link BodyTooLong}, or what broke it off. Null: it is whole. */
  missing: { why: unknown } | null;
}

/** What {@link HttpRequest.maxBytes} is unless told. */
export const MAX_ANSWER_BYTES = 64 * 1024;

/** The body has more bytes than were asked for. */
export class BodyTooLong extends Error {}

/**
 * Sends one request and never follows a redirect. Rejects when no status came: with the signal's reason, or with what
 * went wrong on the way. A body that broke off is `missing`, and the status counts.
 */
export type HttpClient = (url: string | URL, request: HttpRequest) => Promise<HttpResponse>;

/** The ways out of the relay, by the same rules. */
/** Rejects where the guarded `fetch` would not go, without asking anything there. */
export type Permit = (url: string | URL, signal?: AbortSignal) => Promise<void>;

export interface Outbound {
  fetch: Fetch;
  request: HttpClient;
}

/** A client where there is nothing but `fetch`. */
export const viaFetch =
  (fetch: Fetch): HttpClient =>
  async (url, { maxBytes = MAX_ANSWER_BYTES, ...request }) => {
    const { status, headers, body } = await fetch(url, { ...request, redirect: "manual" } as RequestInit);
    const read = await readBody(body ?? [], {
      announced: Number(headers.get("content-length") ?? 0),
      maxBytes,
      // A stream that the reading has left is locked, and is ended already.
      end: () => void body?.cancel().catch(() => {}),
    });
    return { status, headers, ...read };
  };

/** Reads a body up to `maxBytes`, unless a longer one is `announced`; `end` ends a stream that is not read to its end. */
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
