/**
 * What a message shows besides text: the decisive screenshot inside it, the other pictures and the downloads in its
 * thread. All of it fails open: the result must get out, and what is missing has a link.
 */
import { isJsonObject, type Json, type JsonObject } from "../../platform/json.ts";
import { retry } from "../../platform/retry.ts";
import type { DeliveryReceipt } from "../../domain/run.ts";
import { sleep } from "../../platform/runtime.ts";
import { notShown, readFiles, readScreenshot, type Attachment, type Evidence } from "../attachments.ts";
import type { Job, SinkDeps } from "../sink.ts";
import type { SlackAnswer, SlackCall } from "./api.ts";
import { PICTURE_ALT } from "./blocks.ts";
import { complete, namesOfFiles, upload, type Thread, type Uploader } from "./files.ts";
import { findMeaning, type SlackFailure } from "./error-codes.ts";

/** What the functions of one attempt share. */
export interface Showing {
  job: Job;
  call: SlackCall;
  /** The same deps with another signal. */
  callWith(signal: AbortSignal): SlackCall;
  signal: AbortSignal;
  sink: string;
  deps: SinkDeps;
  /**
   * State of the sink between attempts: the logged reason for which files were last refused; null while they are
   * accepted.
   */
  files: { refused: string | null };
}

/** A screenshot at Slack: its key, and the file's id there. */
export interface Picture {
  key: string;
  file: string;
}

/** `missing`: why the message cannot show the screenshot that it should, for its reader. */
export interface Chosen {
  picture: Picture | null;
  missing: string | null;
}

export const REFUSED = notShown("Slack did not take it");

/**
 * Slack processes a file after its upload is complete, and until then refuses to show it; users report about a second.
 * {@link https://github.com/slackapi/python-slack-sdk/issues/1521}
 */
const PICTURE_WAITS_MS = [500, 1_000, 2_000];

/** Uploads the decisive screenshot unless it is at Slack already; `known` is what the message shows now. */
export async function choosePicture(showing: Showing, known: Picture | null): Promise<Chosen> {
  const { evidence } = showing.job;
  const key = evidence?.screenshots[0];
  if (!evidence || key === undefined || key === known?.key) return { picture: known, missing: null };
  const keep = (why: string | null): Chosen => ({ picture: known, missing: known === null ? why : null });
  const { picture: screenshot, why } = await readScreenshot(evidence, 1, showing.signal);
  if (screenshot === null) return keep(why);
  // Uses the same time limit: a Slack that accepts no files must not keep the message from being sent.
  const signal = evidence.inTime(showing.signal);
  const uploader = { call: showing.callWith(signal), request: showing.deps.request, signal };
  const uploaded = await upload(uploader, screenshot, PICTURE_ALT);
  const done = uploaded.ok
    ? await complete(uploader, [{ id: uploaded.id, title: screenshot.caption || screenshot.name }], null)
    : uploaded;
  if (uploaded.ok && done.ok) {
    showing.files.refused = null;
    return { picture: { key, file: uploaded.id }, missing: null };
  }
  if (done.ok) return keep(REFUSED);
  warnOfFiles(showing, done.failure);
  // The log tells the operator which scope to grant, so the message does not repeat it to every reader.
  return keep(isScope(done.failure) ? null : REFUSED);
}

/**
 * Sends with the picture as soon as Slack is ready to show it. Null when Slack refuses it, so the caller sends without.
 */
export async function sendWithPicture(showing: Showing, send: () => Promise<SlackAnswer>): Promise<SlackAnswer | null> {
  const answer = await retry({
    act: send,
    waitMs: (given, tried) =>
      !given.ok && given.failure.kind === "refused" && given.failure.picture === true && isPlain(given.failure)
        ? (PICTURE_WAITS_MS[tried - 1] ?? null)
        : null,
    sleep: showing.deps.sleep ?? sleep,
    signal: showing.signal,
  });
  return answer.ok || !isPlain(answer.failure) ? answer : null;
}

/** True when a message without pictures may pass. */
const isPlain = (failure: SlackFailure): boolean => findMeaning(failure)?.kind === "plain";

/**
 * Adds the other screenshots and the downloads, as one message, to the thread of the sent message at `place`. Returns
 * the keys of everything in the thread.
 */
export async function shareRest(showing: Showing, place: Thread): Promise<string[]> {
  const { job, signal, files } = showing;
  const shared = sharedAt(place, job.previous);
  const { evidence } = job;
  if (!evidence || signal.aborted || files.refused === "missing_scope") return shared;
  const wanted = [...evidence.screenshots.slice(1), ...evidence.files.map(({ key }) => key)];
  if (wanted.every((key) => shared.includes(key))) return shared;
  // An earlier attempt may have added them. Without a look at the thread they must not be added again.
  const names = job.maybeSent ? await namesInThread(showing, place) : [];
  if (names === null) return shared;
  const rest = (await readRest(showing, evidence)).filter(({ key }) => !shared.includes(key));
  const standing = rest.filter(({ name }) => names.includes(name));
  const added = await share(
    showing,
    place,
    rest.filter((file) => !standing.includes(file)),
  );
  return [...shared, ...standing.map(({ key }) => key), ...added];
}

async function readRest({ signal }: Showing, evidence: Evidence): Promise<Attachment[]> {
  const screenshots: Attachment[] = [];
  for (let n = 2; n <= evidence.screenshots.length; n++) {
    const { picture } = await readScreenshot(evidence, n, signal);
    if (picture !== null) screenshots.push(picture);
  }
  const used = screenshots.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  const { files } = await readFiles(evidence, evidence.limits.total - used, signal);
  return [...screenshots, ...files];
}

/** Returns the keys of the accepted files. */
async function share(showing: Showing, place: Thread, files: readonly Attachment[]): Promise<string[]> {
  const uploader = createUploader(showing);
  const uploads: { id: string; title: string; key: string }[] = [];
  for (const file of files) {
    const uploaded = await upload(uploader, file, "");
    if (uploaded.ok) uploads.push({ id: uploaded.id, title: file.caption || file.name, key: file.key });
    else warnOfFiles(showing, uploaded.failure);
    if (!uploaded.ok && isScope(uploaded.failure)) break;
  }
  if (uploads.length === 0) return [];
  const titles = uploads.map(({ id, title }) => ({ id, title }));
  const done = await complete(uploader, titles, place);
  if (done.ok) return uploads.map(({ key }) => key);
  warnOfFiles(showing, done.failure);
  return [];
}

/** The names of the files in the thread; null when the thread cannot be read. */
async function namesInThread({ call }: Showing, { channel, ts }: Thread): Promise<string[] | null> {
  const answer = await call("conversations.replies", { channel, ts, limit: 200 });
  const messages = answer.ok ? answer.data["messages"] : null;
  return Array.isArray(messages) ? namesOfFiles(messages.filter(isJsonObject)) : null;
}

/**
 * What a receipt, or a message's metadata, holds of the picture; see {@link pictureIn} and {@link pictureInMetadata}.
 */
export const metadataOfPicture = (picture: Picture | null): JsonObject =>
  picture ? { picture_key: picture.key, picture_file: picture.file } : {};

export const pictureInMetadata = ({ picture_key: key, picture_file: file }: JsonObject): Picture | null =>
  typeof key === "string" && typeof file === "string" ? { key, file } : null;

export function pictureIn(receipt: DeliveryReceipt | null): Picture | null {
  const picture = receipt?.["picture"];
  if (!isJsonObject(picture)) return null;
  const { key, file } = picture;
  return typeof key === "string" && typeof file === "string" ? { key, file } : null;
}

/**
 * What is in a message's thread according to the receipt of that same message; another receipt says nothing about it.
 */
const sharedAt = ({ channel, ts }: Thread, receipt: DeliveryReceipt | null): string[] =>
  receipt?.["ts"] === ts && receipt["channel"] === channel ? strings(receipt["shared"]) : [];

const strings = (value: Json | undefined): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];

const createUploader = ({ call, deps, signal }: Showing): Uploader => ({ call, request: deps.request, signal });

const isScope = (failure: SlackFailure): boolean => failure.kind === "refused" && failure.code === "missing_scope";

/** Logged once, until files are accepted again or refused for another reason. */
function warnOfFiles({ files, sink, deps }: Showing, failure: SlackFailure): void {
  const error = failure.kind === "refused" ? failure.code : failure.kind;
  if (files.refused === error) return;
  files.refused = error;
  const grant = isScope(failure) ? { grant: "files:write, then install the app again" } : {};
  deps.log.warn("slack.files_unavailable", { sink, error, ...grant });
}
