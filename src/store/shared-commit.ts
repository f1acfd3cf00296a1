/**
 * Transactions, one after the other, that share a commit and so one wait for the disk. Each is all or nothing by itself: from the
 * second on they are savepoints in the first one's. States: idle → open (the first is under way) → held (what is done waits for
 * the commit; another may be under way) → idle.
 */
import type Sqlite from "better-sqlite3";
import type { Ends } from "./database.ts";
import { StorageFault } from "./store.ts";

/** A commit is due once the work since the last one took so many times as long as commits do. */
const WORK_PER_COMMIT = 4;
/** How much the last commit says of how long the next one takes. */
const LAST_COUNTS = 0.3;

/** Told once: null when it is on the disk, else why it is not. */
export type Told = (fault: unknown) => void;

export interface SharedCommit extends Ends {
  /** Tells when what was done until now is on the disk, or is not going to be. */
  hold(told: Told): void;
  /** What is held goes to the disk now. */
  commit(): void;
  /** Whether those that are held have waited long enough, though more could be done before the commit. */
  isDue(): boolean;
}

/** `now`: milliseconds since whenever. */
export function createSharedCommit(sqlite: Sqlite.Database, now = () => performance.now()): SharedCommit {
  // IMMEDIATE: take the write lock at once, so that a writer elsewhere is met here and not at the first write.
  const sql = {
    begin: sqlite.prepare("BEGIN IMMEDIATE"),
    commit: sqlite.prepare("COMMIT"),
    rollback: sqlite.prepare("ROLLBACK"),
    save: sqlite.prepare("SAVEPOINT another"),
    release: sqlite.prepare("RELEASE another"),
    back: sqlite.prepare("ROLLBACK TO another"),
  };
  let held: Told[] = [];
  /** Begun here, and not ended here. */
  let isOpen = false;
  /** Whether the one under way is a savepoint in another's transaction. */
  let isInside = false;
  let begunAt = 0;
  let commitMs = 0;
  const tell = (fault: unknown): void => {
    const all = held;
    held = [];
    for (const told of all) told(fault);
  };
  /** SQLite rolls back by itself when a disk is full or fails, also for a statement that no transaction of its own is around. */
  const noticeLoss = (): void => {
    if (!isOpen || sqlite.inTransaction) return;
    isOpen = false;
    tell(new StorageFault("what was written was rolled back, as the storage failed before the commit"));
  };
  const commit = (): void => {
    noticeLoss();
    if (!sqlite.inTransaction) return tell(null);
    isOpen = false;
    const startedAt = now();
    try {
      sql.commit.run();
    } catch (fault) {
      if (sqlite.inTransaction) sql.rollback.run();
      return tell(fault);
    }
    commitMs += (now() - startedAt - commitMs) * LAST_COUNTS;
    tell(null);
  };
  return {
    begin: () => {
      noticeLoss();
      isInside = sqlite.inTransaction;
      if (!isInside) begunAt = now();
      (isInside ? sql.save : sql.begin).run();
      isOpen = true;
    },
    end: () => {
      if (isInside) sql.release.run();
    },
    rollback: (cause) => {
      isOpen = isInside && sqlite.inTransaction;
      // With SQLite's own rollback, on a full disk, all that was held is gone.
      if (!sqlite.inTransaction) return tell(cause);
      if (!isInside) return void sql.rollback.run();
      sql.back.run();
      sql.release.run();
    },
    hold: (told) => {
      noticeLoss();
      held.push(told);
    },
    commit,
    isDue: () => sqlite.inTransaction && now() - begunAt >= WORK_PER_COMMIT * commitMs,
  };
}
