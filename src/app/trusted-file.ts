/**
 * Files that the relay believes in everything: settings, secrets, keys. Only their owner may be able to change them.
 */
import { isUtf8 } from "node:buffer";
import { readFileSync, realpathSync, statSync, type Stats } from "node:fs";
import { dirname, resolve } from "node:path";

const OTHERS_WRITE = 0o002;
/** Everybody may create files in such a folder, but only remove their own. The system's temporary folder is one. */
const STICKY = 0o1000;

/**
 * The file or folder on the way to a file by which other users of the machine could put their own text there; null when
 * there is none. Of a link both ways count. A path that does not exist is looked at as far as it does.
 */
export function findOthersWritable(path: string): string | null {
  const given = resolve(path);
  return findOnTheWay(given) ?? (exists(given) ? findOnTheWay(realpathSync(given)) : null);
}

function findOnTheWay(path: string): string | null {
  const own = statOf(path);
  if (own?.isFile() && isOpen(own)) return path;
  for (let entry = path; entry !== dirname(entry); entry = dirname(entry)) {
    const folder = dirname(entry);
    const stats = statOf(folder);
    if (stats === null || !isOpen(stats)) continue;
    const isOurs = (stats.mode & STICKY) !== 0 && isOwnedByUs(statOf(entry));
    if (!isOurs) return folder;
  }
  return null;
}

const isOpen = ({ mode }: Stats): boolean => (mode & OTHERS_WRITE) !== 0;

/** Owned by no user yet, by this process's user, or by root. */
const isOwnedByUs = (stats: Stats | null): boolean =>
  stats === null || stats.uid === 0 || stats.uid === process.getuid?.();

const statOf = (path: string): Stats | null => statSync(path, { throwIfNoEntry: false }) ?? null;
const exists = (path: string): boolean => statOf(path) !== null;

/**
 * The text of a file's bytes, without a byte order mark. Throws when they are not UTF-8, with the `place` where that
 * begins: decoding would silently replace each such byte by the same wrong character.
 */
function decodeUtf8(path: string, bytes: Buffer): string {
  // UTF-16 without a byte order mark is valid UTF-8, of which every other character is a NUL.
  if (isUtf8(bytes) && !bytes.includes(0)) return bytes.toString("utf8").replace(/^\uFEFF/, "");
  // What is not UTF-8 comes back from its text as other bytes.
  const again = Buffer.from(bytes.toString("utf8"));
  const end = isUtf8(bytes) ? bytes.indexOf(0) : again.findIndex((byte, i) => byte !== bytes[i]);
  // The bytes that stand for a wrong character may begin as the wrong ones do: a stream's decoder waits for the rest.
  const before = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, end), { stream: true });
  const line = before.split("\n").length;
  const column = before.length - before.lastIndexOf("\n");
  const wide = bytes.includes(0) ? `, but UTF-${isMostlyNul(bytes) ? 32 : 16}` : "";
  const code = `it is not UTF-8${wide}: save it as UTF-8`;
  throw Object.assign(new Error(`${path}:${line}:${column}: ${code}`), { code, place: `${line}:${column}` });
}

/** As UTF-32 is; in UTF-16 at most every other byte is a NUL. */
const isMostlyNul = (bytes: Buffer): boolean =>
  bytes.reduce((nuls, byte) => nuls + (byte === 0 ? 1 : 0), 0) > bytes.length / 2;

/** The text of a file. Throws like `readFileSync`, and with a `code` that says so when other users can write it. */
export function readTrustedFile(path: string): string {
  const text = decodeUtf8(path, readFileSync(path));
  const open = findOthersWritable(path);
  if (open === null) return text;
  const code = `other users can write to ${open}: chmod o-w it, or move the file`;
  throw Object.assign(new Error(`${path}: ${code}`), { code });
}
