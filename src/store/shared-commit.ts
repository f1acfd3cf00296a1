/**
 * Transactions, one after the other, that share a commit and so one wait for the disk. Each is all or nothing by itself: from the
 * second on they are savepoints in the first one's. States: idle → open (the first is under way) → held (what is done waits for
 * the commit; another may be under way) → idle.
 */
import type Sqlite from "better-sqlite3";

/** More would keep those that are done waiting. */
const MAX_HELD = 8;

/** Told once: null when it is on the disk, else why it is not. */
export type Told = (fault: unknown) => void;

export interface SharedCommit {
  begin(): void;
  /** `more`: another transaction comes right after, to share the commit. */
  end(more: boolean, told: Told): void;
  /** Takes back the transaction under way, and no other. */
  rollback(more: boolean): void;
  /** Commits what is held, before something that is in no transaction. */
  commit(): void;
  /** Something failed: with SQLite's own rollback, on a full disk, all that was held is gone. */
  failed(fault: unknown): void;
}

export function createSharedCommit(sqlite: Sqlite.Database): SharedCommit {
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
  let isOpen = false;
  const tell = (fault: unknown): void => {
    const all = held;
    held = [];
    for (const told of all) told(fault);
  };
  const takeBack = (): void => {
    if (held.length === 0) {
      sql.rollback.run();
      return;
    }
    sql.back.run();
    sql.release.run();
  };
  const commit = (): void => {
    if (held.length === 0) return;
    try {
      sql.commit.run();
      tell(null);
    } catch (fault) {
      if (sqlite.inTransaction) sql.rollback.run();
      tell(fault);
    }
  };
  return {
    begin: () => {
      (held.length === 0 ? sql.begin : sql.save).run();
      isOpen = true;
    },
    end: (more, told) => {
      if (held.length > 0) sql.release.run();
      isOpen = false;
      held.push(told);
      if (!more || held.length >= MAX_HELD) commit();
    },
    rollback: (more) => {
      // It may not have begun, and SQLite may have rolled back already.
      if (isOpen && sqlite.inTransaction) takeBack();
      isOpen = false;
      if (!more) commit();
    },
    commit,
    failed: (fault) => {
      if (!sqlite.inTransaction) tell(fault);
    },
  };
}
