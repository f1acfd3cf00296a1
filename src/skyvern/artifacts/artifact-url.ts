/** Reads what an artifact's URL says. Pure: nothing is fetched, and any text may come in. */
import { DECEIVING } from "../../platform/hostile-text.ts";

/**
 * Skyvern's ids are `<prefix>_<rest>`; the underscore distinguishes them from places such as `screenshot-1` (contract
 * §6).
 */
const ARTIFACT_ID = /^[A-Za-z]{1,16}_[A-Za-z0-9_-]{1,100}$/;
const CONTENT_PATH = /\/v1\/artifacts\/([^/]+)\/content\/?$/;
/**
 * Skyvern's name of a file on its own disk: `2026-11-28T15:33:48.830071_a_602140795133167774_screenshot_final.png`. In
 * a step's ZIP are artifacts with ids of their own (contract §9).
 */
const LOCAL_NAME = /^[0-9T:.-]{1,40}_(a_\d{1,40})_(?!step_archive\.)[a-z_]{1,60}\.\w{1,8}$/;
/** Separators and deceiving characters: `gpj.exe` must not look like `exe.jpg`. */
const UNSAFE_IN_NAMES = new RegExp(String.raw`[${DECEIVING}\n\t\/\\]+`, "gv");
const MAX_NAME_LENGTH = 200;

/**
 * True for `a_…` and what Skyvern may number like it one day; false for places: `recording`, `screenshot-1`, `file-1`.
 */
export const isArtifactId = (key: string): boolean => ARTIFACT_ID.test(key);

/**
 * The artifact's id in `…/v1/artifacts/{id}/content`, on any http(s) host, with or without its signature, or in the
 * name of a `file:` that Skyvern keeps on its own disk; else null.
 */
export function parseArtifactId(url: string): string | null {
  const parsed = URL.parse(url);
  if (parsed?.protocol === "file:") return LOCAL_NAME.exec(lastSegment(parsed))?.[1] ?? null;
  const id = decode(CONTENT_PATH.exec(parseWebUrl(url)?.pathname ?? "")?.[1] ?? "");
  return isArtifactId(id) ? id : null;
}

const lastSegment = ({ pathname }: URL): string => decode(pathname.split("/").at(-1) ?? "");

/**
 * The percent-decoded file name at the end of a URL: no slashes, control or direction characters, at most 200 UTF-16
 * units with the extension kept. Null without a file name: no last segment, only dots, or Skyvern's `…/{id}/content`.
 */
export function parseFileName(url: string): string | null {
  if (!URL.canParse(url) || parseArtifactId(url) !== null) return null;
  const name = lastSegment(new URL(url)).toWellFormed().replace(UNSAFE_IN_NAMES, "_").trim();
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

/**
 * An absolute http or https URL, else null. Null also for a URL with a user: `https://relay.example.com@evil.example/`
 * poses as another.
 */
export function parseWebUrl(url: string): URL | null {
  const parsed = URL.parse(url);
  if (parsed === null || parsed.username !== "" || parsed.password !== "") return null;
  return parsed.protocol === "https:" || parsed.protocol === "http:" ? parsed : null;
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
