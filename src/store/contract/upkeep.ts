/** The database itself: named values that outlive a process, a write check, maintenance, and closing. */
export interface UpkeepStore {
  /** The value stored under a name. When there is none, `initial` is stored first. */
  setting(name: string, initial: string): Promise<string>;
  saveSetting(name: string, value: string): Promise<void>;
  /** Resolves once a write is durable. */
  ping(now: number): Promise<void>;
  /**
   * Rebuilds the words of the next `limit` runs when another release built them by other rules. Returns how many runs
   * it rebuilt; 0 when all words are this release's.
   */
  rebuildWords(limit: number): Promise<number>;
  /**
   * Returns up to `pages` unused pages to the file system. Returns how many. Does nothing where the database maintains
   * itself.
   */
  shrink(pages: number): Promise<number>;
  /**
   * Empties the write-ahead log, which holds removed rows until it is overwritten. False: another process uses the
   * database just now. True where there is no such file.
   */
  emptyLog(): Promise<boolean>;
  close(): Promise<void>;
}
