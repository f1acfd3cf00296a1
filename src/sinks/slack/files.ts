/**
 * Uploads files to Slack: get an upload URL, send the bytes, then complete the upload, either unshared, so that an
 * image block of the app can show it, or into a thread. {@link
 * https://docs.slack.dev/messaging/working-with-files#uploading_files}
 */
import { isJsonObject, type Json } from "../../platform/json.ts";
import type { HttpClient } from "../../net/http-client.ts";
import type { Attachment } from "../attachments.ts";
import type { SlackCall } from "./api.ts";
import type { SlackFailure } from "./error-codes.ts";

export type Uploaded = { ok: true; id: string } | { ok: false; failure: SlackFailure };

/** The longest time for one file; a slower one stays a link. */
const CALL_MS = 10_000;

export interface Uploader {
  call: SlackCall;
  request: HttpClient;
  signal: AbortSignal;
}

/** Sends the bytes to Slack. Nobody sees them until {@link complete}, without which Slack drops them. */
export async function upload({ call, request, signal }: Uploader, file: Attachment, alt: string): Promise<Uploaded> {
  const about = { filename: file.name, length: file.bytes.byteLength, ...(alt === "" ? {} : { alt_txt: alt }) };
  const place = await call("files.getUploadURLExternal", about, CALL_MS);
  if (!place.ok) return place;
  const { upload_url: url, file_id: id } = place.data;
  if (typeof url !== "string" || typeof id !== "string") return { ok: false, failure: { kind: "garbled" } };
  try {
    const answer = await request(url, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: file.bytes,
      signal,
    });
    if (answer.status === 200) return { ok: true, id };
    return { ok: false, failure: { kind: "http", status: answer.status, headers: answer.headers } };
  } catch (error) {
    return { ok: false, failure: { kind: "unreachable", error, sent: false } };
  }
}

/** Where uploaded files are shared. */
export interface Thread {
  /** The channel's id. */
  channel: string;
  ts: string;
}

/**
 * Completes uploads: without a thread for an image block of the app's own messages, else as one message in the thread.
 */
export async function complete(
  { call }: Uploader,
  files: readonly { id: string; title: string }[],
  thread: Thread | null,
): Promise<{ ok: true } | { ok: false; failure: SlackFailure }> {
  const into = thread === null ? {} : { channel_id: thread.channel, thread_ts: thread.ts };
  const answer = await call("files.completeUploadExternal", { files, ...into }, CALL_MS);
  return answer.ok ? { ok: true } : answer;
}

/** The names of the files in a thread's messages. */
export const namesOfFiles = (messages: readonly Record<string, Json>[]): string[] =>
  messages
    .flatMap(({ files }) => (Array.isArray(files) ? files.filter(isJsonObject) : []))
    .flatMap(({ name }) => (typeof name === "string" ? [name] : []));
