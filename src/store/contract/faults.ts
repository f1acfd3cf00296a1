/** What goes wrong in the store, whichever operation was asked for. */
/** The storage cannot be written or read: full, read-only, locked, gone. The same call may be made again. */
export class StorageFault extends Error {
  override readonly name = "StorageFault";
}

/** Code that decides what to write met a bug; `cause` is what it threw. Nothing was written. */
export class DecisionCrashed extends Error {
  override readonly name = "DecisionCrashed";
}
