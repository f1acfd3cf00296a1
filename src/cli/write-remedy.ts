const REMEDIES: Record<string, string> = {
  ENOSPC: "the disk is full: make room on it",
  EDQUOT: "the quota of this user is used up: make room",
  SQLITE_FULL: "the disk is full: make room on it",
  EACCES: "this user may not write there: let it, or choose another place",
  EPERM: "this user may not write there: let it, or choose another place",
  EROFS: "the disk is read-only: choose another place",
  ENOENT: "there is no such folder: make it first",
};

/** What a write failed by, and what to do, by the code of the error or of a cause of it; null when none is known. */
export function writeRemedy(error: unknown): string | null {
  for (let one = error; one instanceof Error; one = one.cause) {
    const { code, syscall } = one as NodeJS.ErrnoException;
    const remedy = code === undefined || syscall === "connect" ? undefined : REMEDIES[code];
    if (remedy !== undefined) return remedy;
  }
  return null;
}
