import type { UploadFile } from "../net/s3.ts";

/** Where copies are kept, by the sha256 of their bytes: what is there already is not kept twice. */
export interface BlobStore {
  /** Keeps the file's bytes and uses the file up. Rejects when it cannot; the file is gone then too. */
  keep(file: UploadFile, signal: AbortSignal): Promise<void>;
  /** Status 200 or 206 with the bytes, 416, or null when they are not there. */
  open(sha256: string, bytes: number, range: string | null): Promise<Response | null>;
  /** Also when they are not there. Rejects when they cannot be removed. */
  remove(sha256: string, signal: AbortSignal): Promise<void>;
}

/**
 * The bytes a `Range` header asks for, both ends included; null: all of them, also when the header says nothing that is
 * understood; `none`: none of it is there. Only one range is taken (RFC 9110, section 14.2, leaves that to the server).
 */
export function parseRange(header: string | null, bytes: number): { start: number; end: number } | "none" | null {
  const [, from = "", to = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "") ?? [];
  if (from === "" && to === "") return null;
  const start = from === "" ? Math.max(0, bytes - Number(to)) : Number(from);
  const end = from === "" || to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1);
  if (from !== "" && to !== "" && Number(to) < Number(from)) return null;
  return start > end ? "none" : { start, end };
}
