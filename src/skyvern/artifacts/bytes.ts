/** What the first bytes of an artifact say of it. */

export type Bytes = ReadableStream<Uint8Array>;

/** The first bytes by which every type is recognized. */
export const HEAD_BYTES = 12;

/**
 * The first `bytes` of a body, or all of a shorter one, and a body that begins with them. Rejects when it breaks off
 * before.
 */
export async function peek(body: Bytes, bytes: number): Promise<{ head: Buffer; body: Bytes }> {
  const reader = body.getReader();
  const first: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  while (size < bytes && !ended) {
    const { done, value } = await reader.read();
    ended = done;
    if (value !== undefined) first.push(value);
    size += value?.byteLength ?? 0;
  }
  const rejoined = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const chunk of first) controller.enqueue(chunk);
      if (ended) controller.close();
    },
    pull: async (controller) => {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { head: Buffer.concat(first), body: rejoined };
}

/** All of a body; null when it is longer than `maxBytes`: what is left of it is discarded unread. */
export async function readUpTo({ headers, body }: Response, maxBytes: number): Promise<Buffer | null> {
  if (Number(headers.get("content-length") ?? 0) > maxBytes) {
    await body?.cancel();
    return null;
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the stream.
    if (size > maxBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The type of a picture or recording by its first bytes, null when it is neither. */
export function typeOfBytes(bytes: Uint8Array): string | null {
  const head = Buffer.from(bytes.subarray(0, HEAD_BYTES)).toString("latin1");
  if (head.startsWith("\x89PNG\r\n\x1A\n")) return "image/png";
  if (head.startsWith("\xFF\xD8\xFF")) return "image/jpeg";
  if (/^GIF8[79]a/.test(head)) return "image/gif";
  if (/^RIFF.{4}WEBP/s.test(head)) return "image/webp";
  if (head.startsWith("\x1A\x45\xDF\xA3")) return "video/webm";
  return /^.{4}ftyp/s.test(head) ? "video/mp4" : null;
}
