/** {@link Ask} with nothing but undici's own request. */
import { brotliDecompressSync, inflateSync, unzipSync, zstdDecompressSync } from "node:zlib";
import type { Dispatcher } from "undici";
import { TooLong, type Answer, type Ask, type Question } from "./ask.ts";

export const askThrough =
  (dispatcher: Dispatcher): Ask =>
  (url, question) =>
    new Promise((resolve, reject) => {
      const { method, headers, body = null } = question;
      const { origin, pathname, search } = url;
      const handler = handlerOf(question, resolve, reject);
      if (handler) dispatcher.dispatch({ origin, path: pathname + search, method, headers, body }, handler);
    });

/** Null: it was over before it began. */
function handlerOf(
  { signal, maxBytes }: Question,
  resolve: (answer: Answer) => void,
  reject: (why: unknown) => void,
): Dispatcher.DispatchHandler | null {
  let controller: Dispatcher.DispatchController | null = null;
  let began: Pick<Answer, "status" | "headers"> | null = null;
  let given: Record<string, string | string[] | undefined> = {};
  const chunks: Buffer[] = [];
  let size = 0;
  let isOver = false;
  const end = (missing: Answer["missing"]): void => {
    if (isOver) return;
    isOver = true;
    signal.removeEventListener("abort", stop);
    if (began === null) reject(missing?.why);
    else resolve({ ...began, ...whole(chunks, first(given["content-encoding"]), maxBytes, missing) });
  };
  // At once: undici heeds nothing before it is connected, and a name may take long to resolve.
  const stop = (): void => {
    end({ why: signal.reason });
    controller?.abort(signal.reason as Error);
  };
  const tooLong = (): void => {
    const why = new TooLong();
    end({ why });
    controller?.abort(why);
  };
  if (signal.aborted) {
    stop();
    return null;
  }
  signal.addEventListener("abort", stop, { once: true });
  return {
    onRequestStart: (started) => {
      controller = started;
      if (isOver) started.abort(signal.reason as Error);
    },
    onResponseStart: (_controller, status, headers) => {
      // What goes before the answer.
      if (status < 200) return;
      given = headers;
      began = { status, headers: { get: (name) => first(given[name]) } };
      if (Number(first(given["content-length"]) ?? 0) > maxBytes) tooLong();
    },
    onResponseData: (_controller, chunk) => {
      if (isOver) return;
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size > maxBytes) tooLong();
    },
    onResponseEnd: () => end(null),
    onResponseError: (_controller, why) => end({ why }),
  };
}

const first = (value: string | string[] | undefined): string | null =>
  (Array.isArray(value) ? value[0] : value) ?? null;

/** A body that came packed though nobody asked for that is unpacked, if it is whole and does not grow beyond the bounds. */
function whole(
  chunks: readonly Buffer[],
  encoding: string | null,
  maxBytes: number,
  missing: Answer["missing"],
): Pick<Answer, "body" | "missing"> {
  const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
  const unpack = encoding === null ? undefined : UNPACK.get(encoding);
  if (!unpack || missing !== null) return { body: body.subarray(0, maxBytes), missing };
  try {
    return { body: unpack(body, { maxOutputLength: maxBytes }), missing };
  } catch (error) {
    const isLong = (error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
    return { body: Buffer.alloc(0), missing: { why: isLong ? new TooLong() : error } };
  }
}

const UNPACK = new Map<string, (body: Buffer, limit: { maxOutputLength: number }) => Buffer>([
  ["gzip", unzipSync],
  ["x-gzip", unzipSync],
  ["deflate", inflateSync],
  ["br", brotliDecompressSync],
  ["zstd", zstdDecompressSync],
]);
