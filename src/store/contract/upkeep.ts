/** The database itself: values by name that outlive a process, whether it can be written, tidying up, and its end. */
export interface UpkeepStore {
  /** The value stored under a name, or the one given, stored first if there was none. */
  setting(name: string, initial: string): Promise<string>;
  saveSetting(name: string, value: string): Promise<void>;
  /** Resolves when a write was made durable. */
  ping(now: number): Promise<void>;
  /**
   * Makes the words of the next `limit` runs anew, where another release made them by another rule. Returns how many runs there were, up to the
   * limit; 0 when all words are this release's.
   */
  rebuildWords(limit: number): Promise<number>;
  /** Gives so many pages back that nothing uses any more. Returns how many. Does nothing where the database sees to it by itself. */
  shrink(pages: number): Promise<number>;
  close(): Promise<void>;
}
