import type { ArtifactKey } from "../../domain/run.ts";

/** The archive: runs whose artifacts are to be copied, the copies, and bytes that no copy needs any more. */
export interface ArchiveStore {
  /** Runs whose artifacts are due for copying, the longest due first. */
  dueArchiving(now: number, limit: number): Promise<Archiving[]>;
  /** Sets when to try again; null means done. Does nothing when the run was queued again meanwhile. */
  setArchiving(archiving: Archiving, next: { at: number; failures: number } | null): Promise<void>;
  /** Records a copy, which replaces an older copy of the same artifact. */
  saveCopy(copy: Copy): Promise<void>;
  copies(runId: string): Promise<Copy[]>;
  copy(runId: string, key: ArtifactKey): Promise<Copy | null>;
  /** The bytes of all copies together; equal copies count once. */
  copiedBytes(): Promise<number>;
  /**
   * The sha256 of bytes that no copy needs any more and whose removal is due. Saving a copy of the same bytes takes
   * them off this list.
   */
  discarded(now: number, limit: number): Promise<string[]>;
  /** Sets when to try the removal again; null means the bytes are gone. */
  setDiscarded(sha256: string, at: number | null): Promise<void>;
}

/** A run whose artifacts are to be copied. */
export interface Archiving {
  runId: string;
  dueAt: number;
  /** Failures in a row. */
  failures: number;
}

/** An artifact that the archive holds. */
export interface Copy {
  runId: string;
  key: ArtifactKey;
  /** Hex digits. */
  sha256: string;
  /** The media type of a picture or recording, by its first bytes. */
  type: string | null;
  bytes: number;
  copiedAt: number;
}
