/** Only media that a browser shows without running anything. */
const MEDIA = /^(image\/(png|jpeg|webp|gif)|video\/(webm|mp4))$/;

type Bytes = ReadableStream<Uint8Array>;

/**
 * The type under which content may be shown, null when it may not. Skyvern calls screenshots `application/json`
 * (contract §4), so where what it says is no medium the first bytes decide. Read on from the `body` that comes back.
 */
export async function mediaTypeOf(said: string, body: Bytes): Promise<{ type: string | null; body: Bytes }> {
  const type = said.split(";")[0]?.trim().toLowerCase() ?? "";
  if (MEDIA.test(type)) return { type, body };
  const reader = body.getReader();
  const first = await reader.read();
  const rest = new ReadableStream<Uint8Array>({
    start: (controller) => {
      if (first.value !== undefined) controller.enqueue(first.value);
      if (first.done) controller.close();
    },
    pull: async (controller) => {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { type: typeOfBytes(first.value ?? new Uint8Array()), body: rest };
}

function typeOfBytes(bytes: Uint8Array): string | null {
  const head = Buffer.from(bytes.subarray(0, 12)).toString("latin1");
  if (head.startsWith("\x89PNG\r\n\x1A\n")) return "image/png";
  if (head.startsWith("\xFF\xD8\xFF")) return "image/jpeg";
  if (/^GIF8[79]a/.test(head)) return "image/gif";
  if (/^RIFF.{4}WEBP/s.test(head)) return "image/webp";
  if (head.startsWith("\x1A\x45\xDF\xA3")) return "video/webm";
  return /^.{4}ftyp/s.test(head) ? "video/mp4" : null;
}
