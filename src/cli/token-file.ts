/** The token that a relay on SQLite creates for itself when none is configured. */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Writes a new token to a file that only its owner reads, whole or not at all. A file that is there stays: another
 * relay may have made it just now. Throws with the file's name when it cannot be written.
 */
export function makeTokenFile(file: string): void {
  const unfinished = `${file}.${process.pid}`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    const descriptor = openSync(unfinished, "wx", 0o600);
    try {
      writeSync(descriptor, `${randomBytes(32).toString("hex")}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    linkSync(unfinished, file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    throw new Error(`the token ${file} cannot be written (${message}): set RELAY_TOKEN, or let the relay write there`, {
      cause: error,
    });
  } finally {
    rmSync(unfinished, { force: true });
  }
}
