/** The errors that any operation of the store may throw. */
/** The storage cannot be read or written: it is full, read-only, locked or gone. The same call may be repeated. */
export class StorageFault extends Error {
  override readonly name = "StorageFault";
}

/** The code that decides what to write threw `cause`. Nothing was written. */
export class DecisionCrashed extends Error {
  override readonly name = "DecisionCrashed";
}
