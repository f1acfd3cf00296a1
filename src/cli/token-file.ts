/** The token that a relay on SQLite creates for itself when none is configured. */
import { randomBytes } from "node:crypto";
import { existsSync, linkSync, rmSync, writeFileSync } from "node:fs";
import { writeRemedy } from "./write-remedy.ts";
import { makeFolderOf } from "../store/sqlite/connection.ts";

/**
 * Writes a new token to a file that only its owner reads, whole or not at all. A file that is there stays: another
 * relay may have made it just now. Throws with the file's name when it cannot be written. Where its folder cannot be
 * made nothing is written: the database, which lies in the same folder, cannot be opened then and says so.
 */
export function makeTokenFile(file: string): void {
  const unfinished = `${file}.${process.pid}`;
  try {
    makeFolderOf(file);
    writeFileSync(unfinished, `${randomBytes(32).toString("hex")}\n`, { flag: "wx", mode: 0o600, flush: true });
    linkSync(unfinished, file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOTDIR" || code === "ENOENT") return;
    throw new Error(`the token ${file} cannot be written: ${writeRemedy(error) ?? message}; or set RELAY_TOKEN`, {
      cause: error,
    });
  } finally {
    if (existsSync(unfinished)) rmSync(unfinished);
  }
}
