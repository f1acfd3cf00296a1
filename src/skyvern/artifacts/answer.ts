/** An artifact's bytes as a browser gets them, under headers with which nothing in them runs on the relay's origin. */
import { HEAD_BYTES, peek, typeOfBytes, type Bytes } from "./bytes.ts";

/** Types of recordings are taken as declared, because the middle of a recording does not show its type. */
const RECORDING = /^video\/(webm|mp4)$/;

/**
 * The type under which content may be shown, null when it may not: only types that a browser shows without running
 * anything. The first bytes decide, because Skyvern's type is that of the kind of artifact (contract §4) and a storage
 * may call a page a picture. Callers continue with the returned `body`.
 */
export async function sniff(said: string, body: Bytes): Promise<{ type: string | null; body: Bytes }> {
  const type = said.split(";")[0]?.trim().toLowerCase() ?? "";
  if (RECORDING.test(type)) return { type, body };
  const { head, body: rejoined } = await peek(body, HEAD_BYTES);
  return { type: typeOfBytes(head), body: rejoined };
}

const PASSED = ["content-length", "content-range", "accept-ranges", "etag", "last-modified"];
const SAFE = {
  "content-security-policy": "default-src 'none'; sandbox",
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "same-origin",
};

/**
 * Answers with content in a form that runs nothing: media are shown, everything else is downloaded under its own name.
 * The body of `content` is consumed.
 */
export async function safeAnswer(content: Response, name: string): Promise<Response> {
  const said = content.headers.get("content-type") ?? "";
  const { type, body } = content.body ? await sniff(said, content.body) : { type: null, body: null };
  const headers = new Headers({
    ...SAFE,
    "content-type": type ?? "application/octet-stream",
    "content-disposition": type === null ? `attachment; filename*=UTF-8''${rfc8187(name)}` : "inline",
    "cache-control": "private, max-age=300",
  });
  // The length of compressed content is that of the compressed bytes.
  const packed = content.headers.has("content-encoding");
  for (const passed of packed ? [] : PASSED) {
    const value = content.headers.get(passed);
    if (value !== null) headers.set(passed, value);
  }
  return new Response(body, { status: content.status, headers });
}

/** Encodes the characters that `encodeURIComponent` leaves as they are and RFC 8187 does not allow. */
const rfc8187 = (name: string): string =>
  encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** A picture that says it is missing. It has status 200, because a page would otherwise show a broken picture. */
export const noPicture = (): Response =>
  new Response(PICTURE, { headers: { ...SAFE, "content-type": "image/svg+xml", "cache-control": "no-store" } });

const PICTURE =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 120" width="640" height="120"><rect width="640" ` +
  `height="120" fill="#8a94a0" opacity=".25"/><text x="320" y="66" font-family="sans-serif" font-size="18" ` +
  `fill="#6b7580" text-anchor="middle">This picture is not available</text></svg>`;
