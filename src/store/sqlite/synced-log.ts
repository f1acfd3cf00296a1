/** Brings commits to the disk while the thread works on, where `synchronous=FULL` stops it in each COMMIT. */
import { closeSync, fdatasync, fsyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type Sqlite from "better-sqlite3";
import { StorageFault } from "../contract/faults.ts";

export interface SyncedLog {
  /** Resolves when every commit so far is on the disk. Rejects with a StorageFault. */
  sync(): Promise<void>;
  close(): void;
}

const syncData = promisify(fdatasync);

/**
 * Takes over the syncing of a connection's write-ahead log. SQLite still syncs what a checkpoint needs, so that a loss
 * of power never damages the file.
 */
export function openLog(sqlite: Sqlite.Database): SyncedLog {
  // SQLite creates the log when it first reads.
  sqlite.prepare("select 1 from sqlite_master").all();
  const log = openSync(`${sqlite.name}-wal`, "r+");
  // A file that was just created is lost with its entry in the folder, which SQLite would sync with the first commit.
  const folder = openSync(dirname(sqlite.name), "r");
  fsyncSync(folder);
  closeSync(folder);
  sqlite.pragma("synchronous = NORMAL");
  let hasFailed = false;
  return {
    sync: async () => {
      try {
        // After a failed sync Linux writes those bytes no more, so everything is copied out of the log.
        if (hasFailed) emptyLog(sqlite);
        hasFailed = false;
        await syncData(log);
      } catch (cause) {
        hasFailed = true;
        throw new StorageFault(`the write-ahead log was not synced: ${String(cause)}`, { cause });
      }
    },
    close: () => closeSync(log),
  };
}

function emptyLog(sqlite: Sqlite.Database): void {
  const [result] = sqlite.pragma("wal_checkpoint(TRUNCATE)") as { busy: number }[];
  if (result?.busy !== 0) throw new Error("another process uses the database");
}
