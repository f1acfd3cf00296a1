/**
 * Files at Slack: a place is asked for, the bytes are brought there, then the upload is completed, either for nobody but
 * the app, so that an image block can show it, or into a thread.
 * {@link https://docs.slack.dev/messaging/working-with-files#uploading_files}
 */
import { isJsonObject, type Json } from "../../platform/json.ts";
import type { HttpClient } from "../../net/http-client.ts";
import type { Attachment } from "../attachments.ts";
import type { SlackCall } from "./api.ts";
import type { SlackFailure } from "./error-codes.ts";

export type Uploaded = { ok: true; id: string } | { ok: false; failure: SlackFailure };

/** One file may take so long at most; what is too slow is left to its link. */
const CALL_MS = 10_000;

export interface Uploader {
  call: SlackCall;
  request: HttpClient;
  signal: AbortSignal;
}

/** Brings the bytes to Slack. Nobody sees them, and Slack forgets them, until {@link complete}. */
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

/** Where uploaded files are to stand. */
export interface Thread {
  /** An id. */
  channel: string;
  ts: string;
}

/** Makes uploads last: without a thread for an image block of the app's own messages, else as one message in it. */
export async function complete(
  { call }: Uploader,
  files: readonly { id: string; title: string }[],
  thread: Thread | null,
): Promise<{ ok: true } | { ok: false; failure: SlackFailure }> {
  const into = thread === null ? {} : { channel_id: thread.channel, thread_ts: thread.ts };
  const answer = await call("files.completeUploadExternal", { files, ...into }, CALL_MS);
  return answer.ok ? { ok: true } : answer;
}

/** Names of the files that messages of a thread carry. */
export const namesOfFiles = (messages: readonly Record<string, Json>[]): string[] =>
  messages
    .flatMap(({ files }) => (Array.isArray(files) ? files.filter(isJsonObject) : []))
    .flatMap(({ name }) => (typeof name === "string" ? [name] : []));
