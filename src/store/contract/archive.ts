import type { ArtifactKey } from "../../domain/run.ts";

/** The archive: runs whose artifacts are to be copied, copies, and bytes that no copy needs any more. */
export interface ArchiveStore {
  /** Runs whose artifacts are to be copied now, the longest due first. */
  dueArchiving(now: number, limit: number): Promise<Archiving[]>;
  /** Sets when to try again; null: done. Does nothing when the run was queued anew meanwhile. */
  setArchiving(archiving: Archiving, next: { at: number; failures: number } | null): Promise<void>;
  /** Notes a copy, in place of an older one of the same artifact. */
  saveCopy(copy: Copy): Promise<void>;
  copies(runId: string): Promise<Copy[]>;
  copy(runId: string, key: ArtifactKey): Promise<Copy | null>;
  /** Bytes of all copies together, equal ones counted once. */
  copiedBytes(): Promise<number>;
  /** The sha256 of bytes that no copy needs any more, due now. One that a copy is saved of again is none. */
  discarded(now: number, limit: number): Promise<string[]>;
  /** Sets when to try again to remove the bytes; null: they are gone. */
  setDiscarded(sha256: string, at: number | null): Promise<void>;
}

/** A run whose artifacts are to be copied. */
export interface Archiving {
  runId: string;
  dueAt: number;
  /** In a row. */
  failures: number;
}

/** An artifact that the archive holds. */
export interface Copy {
  runId: string;
  key: ArtifactKey;
  /** Hex. */
  sha256: string;
  /** Of a picture or film, by its first bytes. */
  type: string | null;
  bytes: number;
  copiedAt: number;
}
