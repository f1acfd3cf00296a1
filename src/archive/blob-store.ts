import type { UploadFile } from "../net/s3.ts";

/** Stores copies by the sha256 of their bytes, so equal bytes are stored once. */
export interface BlobStore {
  /** Stores the file's bytes and consumes the file. Rejects when it cannot; the file is gone then too. */
  keep(file: UploadFile, signal: AbortSignal): Promise<void>;
  /** Status 200 or 206 with the bytes, 416, or null when they are missing. */
  open(sha256: string, bytes: number, range: string | null): Promise<Response | null>;
  /** Succeeds also when the bytes are missing. Rejects when they cannot be removed. */
  remove(sha256: string, signal: AbortSignal): Promise<void>;
}

/**
 * The bytes that a `Range` header requests, both ends included. Null means all of them, also for a header that cannot
 * be parsed; `none` means that the range holds nothing. Only one range is accepted (RFC 9110, section 14.2, allows
 * that).
 */
export function parseRange(header: string | null, bytes: number): { start: number; end: number } | "none" | null {
  const [, from = "", to = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "") ?? [];
  if (from === "" && to === "") return null;
  const start = from === "" ? Math.max(0, bytes - Number(to)) : Number(from);
  const end = from === "" || to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1);
  if (from !== "" && to !== "" && Number(to) < Number(from)) return null;
  return start > end ? "none" : { start, end };
}
