/** Pictures and film of a run, through the relay: the page loads nothing from elsewhere, and a reader's address stays here. */
import type { ArtifactKey, Run } from "../run.ts";
import type { Fetch, Runtime } from "../runtime.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import { mintUrl } from "../skyvern/enrich.ts";

export interface MediaParts {
  client: SkyvernClient;
  /** The guarded one: a minted URL is on whatever host Skyvern named. */
  fetch: Fetch;
  now: Runtime["now"];
}

export interface MediaRequest {
  run: Run;
  key: ArtifactKey;
  range: string | null;
  signal: AbortSignal;
}

/** The bytes as an answer that runs nothing; a picture that says so when they cannot be had. */
export async function mediaOf(parts: MediaParts, request: MediaRequest): Promise<Response> {
  const content = await open(parts, request).catch(() => null);
  if (content === null || !content.body) return missing(request.key);
  const { type, body } = await typed(content.headers.get("content-type") ?? "", content.body);
  if (type === null) {
    await body.cancel();
    return missing(request.key);
  }
  const headers = new Headers({ ...SAFE, "content-type": type, "cache-control": "private, max-age=3600" });
  for (const name of PASSED) {
    const value = content.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(body, { status: content.status, headers });
}

type Bytes = ReadableStream<Uint8Array>;

/**
 * What the browser is told it is: Skyvern calls screenshots `application/json` (contract §4), so the first bytes decide
 * where its word is none of ours. Null: nothing that may be shown.
 */
async function typed(said: string, body: Bytes): Promise<{ type: string | null; body: Bytes }> {
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

const MEDIA = /^(image\/(png|jpeg|webp|gif)|video\/(webm|mp4))$/;

function typeOfBytes(bytes: Uint8Array): string | null {
  const head = Buffer.from(bytes.subarray(0, 12)).toString("latin1");
  if (head.startsWith("\x89PNG\r\n\x1A\n")) return "image/png";
  if (head.startsWith("\xFF\xD8\xFF")) return "image/jpeg";
  if (/^GIF8[79]a/.test(head)) return "image/gif";
  if (/^RIFF.{4}WEBP/s.test(head)) return "image/webp";
  if (head.startsWith("\x1A\x45\xDF\xA3")) return "video/webm";
  return /^.{4}ftyp/s.test(head) ? "video/mp4" : null;
}

const PASSED = ["content-length", "content-range", "accept-ranges", "etag", "last-modified"];
const SAFE = {
  "content-security-policy": "default-src 'none'; sandbox",
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "same-origin",
};

async function open(
  { client, fetch, now }: MediaParts,
  { run, key, range, signal }: MediaRequest,
): Promise<Response | null> {
  const minted = await mintUrl({ run, key, client, now, signal });
  if (minted.kind === "gone") return null;
  if (minted.kind === "redirect") {
    const answer = await fetch(minted.url, { signal, ...(range === null ? {} : { headers: { range } }) });
    if (answer.status === 200 || answer.status === 206) return answer;
    await answer.body?.cancel();
    return null;
  }
  const chosen = client.with({ organization: run.organization_id });
  const content = await chosen.openContent(minted.artifactId, { signal, ...(range === null ? {} : { range }) });
  return content.ok ? content.value : null;
}

function missing(key: ArtifactKey): Response {
  if (key === "recording") return new Response(null, { status: 404, headers: SAFE });
  // With 200, or the browser shows its broken picture instead.
  return new Response(PICTURE, { headers: { ...SAFE, "content-type": "image/svg+xml", "cache-control": "no-store" } });
}

const PICTURE = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180" width="320" height="180"><rect width="320" height="180" fill="#8a94a0" opacity=".25"/><text x="160" y="95" font-family="sans-serif" font-size="14" fill="#6b7580" text-anchor="middle">Not available any more</text></svg>`;
