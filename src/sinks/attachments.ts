/**
 * What a message carries besides text: the screenshot that shows what happened, and the files that a run downloaded.
 */
import { DECEIVING } from "../platform/hostile-text.ts";
import { oneLine, type PictureOrigin } from "../domain/report.ts";
import type { ArtifactKey, RunFile } from "../domain/run.ts";
import { isBlank } from "../platform/blank-png.ts";

/** The pictures and files of a run, and access to their bytes. */
export interface Evidence {
  /** Up to three screenshots: the decisive one first, then the newest. */
  screenshots: readonly ArtifactKey[];
  /** Which block made a screenshot, and when. */
  originOf(key: ArtifactKey): PictureOrigin;
  /** The run's downloads. */
  files: readonly Pick<RunFile, "key" | "name" | "size">[];
  /** The most bytes of one file, and of all files in one message. */
  limits: { each: number; total: number };
  /** A signal that aborts with the attempt's, or earlier, so that time remains to send the message itself. */
  inTime(signal: AbortSignal): AbortSignal;
  /** Reads bytes within the same time limit. `type` is judged by the bytes, null for neither picture nor recording. */
  read(key: ArtifactKey, maxBytes: number, signal: AbortSignal): Promise<EvidenceBytes>;
}

export type EvidenceBytes =
  | { kind: "bytes"; type: string | null; bytes: Uint8Array }
  | { kind: "too_large" }
  | { kind: "unavailable" };

/** A file to attach. */
export interface Attachment {
  key: ArtifactKey;
  /** A safe file name: see {@link safeName}. */
  name: string;
  type: string;
  bytes: Uint8Array;
  /** Of a screenshot, see {@link captionOf}. */
  caption?: string;
}

/** The screenshots that can be shown inside a message; others stay links. */
const EXTENSIONS: Record<string, string> = { "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif" };
const MAX_FILES = 20;

/** A screenshot, or why a message goes without it, in a sentence; both null where there is none. */
export type Screenshot = { picture: Attachment; why: null } | { picture: null; why: string | null };

/** The screenshot at this place, counted from 1. */
export async function readScreenshot(evidence: Evidence, place: number, signal: AbortSignal): Promise<Screenshot> {
  const key = evidence.screenshots[place - 1];
  if (key === undefined) return { picture: null, why: null };
  const found = await evidence.read(key, evidence.limits.each, signal);
  if (found.kind === "too_large") return without("it is too large for a message");
  if (found.kind === "unavailable") return without("the relay could not get it from Skyvern");
  const { type, bytes } = found;
  const extension = EXTENSIONS[type ?? ""];
  if (type === null || extension === undefined) return without("it is neither PNG, JPEG nor GIF");
  if (isBlank(bytes)) return without("it is blank");
  const name = place === 1 ? `screenshot.${extension}` : `screenshot-${place}.${extension}`;
  return { picture: { key, name, type, bytes, caption: captionOf(evidence, key) }, why: null };
}

const without = (why: string): Screenshot => ({ picture: null, why: notShown(why) });

/** The sentence for a reader whose message goes without its screenshot. */
export const notShown = (why: string): string => `The screenshot is not shown: ${why}.`;

/** `get_pdf, 15:33:48 UTC`: what a screenshot shows, as far as that is known. The block's name may be hostile. */
export function captionOf(evidence: Pick<Evidence, "originOf">, key: ArtifactKey): string {
  const { block, at } = evidence.originOf(key);
  const name = oneLine((block ?? "").slice(0, 4 * MAX_NAME))
    .slice(0, MAX_NAME)
    .toWellFormed();
  return [name, at === null ? "" : `${new Date(at).toISOString().slice(11, 19)} UTC`].filter(Boolean).join(", ");
}

/** The downloads that fit into the byte limit together, in the run's order, and how many were left out. */
export async function readFiles(
  evidence: Evidence,
  totalBytes: number,
  signal: AbortSignal,
): Promise<{ files: Attachment[]; omitted: number }> {
  const files: Attachment[] = [];
  let remaining = totalBytes;
  for (const { key, name, size } of evidence.files.slice(0, MAX_FILES)) {
    const most = Math.min(evidence.limits.each, remaining);
    if (signal.aborted || most <= 0 || (size ?? 0) > most) continue;
    const found = await evidence.read(key, most, signal);
    if (found.kind !== "bytes" || found.bytes.byteLength === 0) continue;
    remaining -= found.bytes.byteLength;
    const taken = files.map(({ name }) => name);
    const safe = unique(safeName(name), taken);
    files.push({ key, name: safe, type: typeOfName(safe), bytes: found.bytes });
  }
  return { files, omitted: evidence.files.length - files.length };
}

const MAX_NAME = 100;
/** Separators, characters that file systems or shells interpret, and deceiving ones. */
const UNSAFE = new RegExp(String.raw`[${DECEIVING}\n\t\/\\:*?"<>\|%$\u0060]+`, "gv");

/** A safe file name for any name that a page gave: no path, no invisible characters, at most 100 UTF-16 units. */
export function safeName(name: string): string {
  const clean = name
    .slice(0, 1_000)
    .toWellFormed()
    .replace(UNSAFE, "_")
    .replace(/^[.\s_-]+|[.\s]+$/g, "")
    .trim();
  if (clean === "") return "file";
  if (clean.length <= MAX_NAME) return clean;
  const extension = /\.[^.]{1,16}$/.exec(clean)?.[0] ?? "";
  return clean.slice(0, MAX_NAME - extension.length).replace(/[\uD800-\uDBFF]$/, "") + extension;
}

function unique(name: string, taken: readonly string[]): string {
  if (!taken.includes(name)) return name;
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? "";
  const stem = name.slice(0, name.length - extension.length);
  for (let n = 2; ; n++) if (!taken.includes(`${stem} (${n})${extension}`)) return `${stem} (${n})${extension}`;
}

/** Extensions that programs open without running anything; any other file is saved as plain bytes. */
const TYPES: Record<string, string> = {
  pdf: "application/pdf",
  csv: "text/csv",
  txt: "text/plain",
  json: "application/json",
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  zip: "application/zip",
};

const typeOfName = (name: string): string =>
  TYPES[/\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? ""] ?? "application/octet-stream";
