/** Schemas of single values that the environment and the file share. */
import { z } from "zod";

/** Parses text with `read`, which returns null for invalid text. The message never contains the text. */
export const parsed = <T>(read: (text: string) => T | null, message: string) =>
  z.string().transform((text, context): T => {
    const value = read(text);
    if (value !== null) return value;
    context.issues.push({ code: "custom", message, input: text });
    return z.NEVER;
  });

/** A base URL: http or https, no query, no user name; a trailing slash is dropped. */
export const baseAddress = parsed((text) => {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || !/^https?:\/\//i.test(text)) return null;
  if (/[?#]/.test(text) || url.username !== "" || url.password !== "") return null;
  return url.href.replace(/\/+$/, "");
}, "must be an http:// or https:// address without user name, query or fragment, such as https://relay.example.com");

/** Skyvern's API base. A `/v1` at its end would be doubled. */
export const skyvernAddress = baseAddress.refine((url) => !url.endsWith("/v1"), {
  error: "must be the address without /v1 at the end, such as https://api.skyvern.com",
});

const SIZE_UNITS: Record<string, number> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/**
 * Parses bytes from `1048576`, `512kB`, `10MB` or `1.5 MB` (decimal; `KiB` and `MiB` are binary). Null for anything
 * else.
 */
function parseSize(text: string): number | null {
  const [, count, unit = ""] = /^(\d{1,12}(?:\.\d{1,3})?) ?([a-z]{0,3})$/i.exec(text) ?? [];
  const factor = SIZE_UNITS[unit.toLowerCase()];
  return count === undefined || factor === undefined ? null : Math.round(Number(count) * factor);
}

const SIZE = "must be a number of bytes or a size such as 10MB";
/** A number of bytes, or a size as people write it, within bounds that are written the same way. */
export const sizeBetween = (least: string, most: string) => {
  const [min = 0, max = 0] = [parseSize(least) ?? 0, parseSize(most) ?? 0];
  return z
    .union([z.number(), parsed(parseSize, SIZE)])
    .refine((bytes) => Number.isInteger(bytes) && bytes >= min && bytes <= max, {
      error: `must be a whole number of bytes from ${least} to ${most}`,
    });
};

/** From 1 kB to 1 GB. */
export const size = sizeBetween("1kB", "1GB");

/** A whole number, also as text, because variables are text. */
export const wholeNumber = (min: number, max: number) =>
  z.union([
    z.int().min(min).max(max),
    parsed(
      (text) => (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : null),
      `must be a whole number from ${min} to ${max}`,
    ),
  ]);
