/** Reads what an artifact's URL says. Pure: nothing is fetched, and any text may come in. */
import { DECEIVING } from "../../platform/hostile-text.ts";

/**
 * Skyvern's ids are `<prefix>_<rest>`; the underscore distinguishes them from places such as `screenshot-1` (contract
 * §6).
 */
const ARTIFACT_ID = /^[A-Za-z]{1,16}_[A-Za-z0-9_-]{1,100}$/;
const CONTENT_PATH = /\/v1\/artifacts\/([^/]+)\/content\/?$/;
/** Separators and deceiving characters: `gpj.exe` must not look like `exe.jpg`. */
const UNSAFE_IN_NAMES = new RegExp(String.raw`[${DECEIVING}\n\t\/\\]+`, "gv");
const MAX_NAME_LENGTH = 200;

/**
 * True for `a_…` and what Skyvern may number like it one day; false for places: `recording`, `screenshot-1`, `file-1`.
 */
export const isArtifactId = (key: string): boolean => ARTIFACT_ID.test(key);

/**
 * The artifact's id in `…/v1/artifacts/{id}/content`, on any http(s) host, with or without its signature; else null.
 */
export function parseArtifactId(url: string): string | null {
  const parsed = parseWebUrl(url);
  const id = decode(CONTENT_PATH.exec(parsed?.pathname ?? "")?.[1] ?? "");
  return isArtifactId(id) ? id : null;
}

/**
 * The percent-decoded file name at the end of a URL: no slashes, control or direction characters, at most 200 UTF-16
 * units with the extension kept. Null without a file name: no last segment, only dots, or Skyvern's `…/{id}/content`.
 */
export function parseFileName(url: string): string | null {
  if (!URL.canParse(url) || parseArtifactId(url) !== null) return null;
  const segment = new URL(url).pathname.split("/").at(-1) ?? "";
  const name = decode(segment).toWellFormed().replace(UNSAFE_IN_NAMES, "_").trim();
  return /^[._\s]*$/.test(name) ? null : shorten(name);
}

/**
 * When a URL that Skyvern signed expires (`expiry`, unix seconds, contract §5), in epoch milliseconds; null without
 * one.
 */
export function parseExpiry(url: string): number | null {
  const seconds = parseWebUrl(url)?.searchParams.get("expiry") ?? "";
  return /^\d{1,11}$/.test(seconds) ? Number(seconds) * 1000 : null;
}

/** An absolute http or https URL, else null. */
export function parseWebUrl(url: string): URL | null {
  const parsed = URL.parse(url);
  return parsed?.protocol === "https:" || parsed?.protocol === "http:" ? parsed : null;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function shorten(name: string): string {
  if (name.length <= MAX_NAME_LENGTH) return name;
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? "";
  return name.slice(0, MAX_NAME_LENGTH - extension.length).toWellFormed() + extension;
}
