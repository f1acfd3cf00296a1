import type { Artifact, ArtifactsStatus, DeliveryState, RunState } from "../../domain/run.ts";
import type { ChangesPage } from "./changes.ts";

/** Runs: one, lists of them, their artifacts, and what changed lately. */
export interface RunStore {
  run(runId: string): Promise<StoredRun | null>;
  /** Newest first. Fewer than asked for when they are large: some megabytes at one time. */
  runs(filter: RunFilter, page: Page): Promise<RunPage>;
  /** The same runs, of each what lists show and no more, however large it is; all that were asked for. */
  listItems(filter: RunFilter, page: Page): Promise<RunListItem[]>;
  /** What is wrong with a search that asks for too many words, said of the search. Null: nothing. Lists are asked after this only. */
  searchFault(search: Search): Promise<string | null>;
  artifacts(runId: string): Promise<KnownArtifacts>;
  /** `followUpAt`: as of {@link FoundArtifacts}. */
  saveArtifacts(runId: string, known: KnownArtifacts, followUpAt: number | null): Promise<void>;
  /** The id of the last change; those that come are behind it. */
  lastChange(): string;
  /** What changed after an id, in the order of commits. */
  changes(page: { after: string; limit: number }): ChangesPage;
}

export interface StoredRun extends KnownArtifacts {
  state: RunState;
}

export interface KnownArtifacts {
  artifacts: Artifact[];
  status: ArtifactsStatus;
}

/** A run in a list. No text is longer than some 240 characters but the id. */
export interface RunListItem {
  run_id: string;
  status: string;
  run_type: string;
  /** Title, else prompt. */
  title: string | null;
  channel: string | null;
  /** Permanent id. */
  workflow: string | null;
  /** Host of the page it began at. */
  site: string | null;
  /** Why it failed. */
  reason: string | null;
  duration_ms: number | null;
  received_at: number;
  /** The newest delivery to each sink, by the sink's name. */
  deliveries: { sink: string; state: DeliveryState }[];
}

export interface RunFilter {
  status?: readonly string[];
  run_type?: readonly string[];
  /** Permanent ids or titles. */
  workflow?: readonly string[];
  organization?: readonly string[];
  channel?: readonly string[];
  source?: readonly string[];
  /** Runs with a delivery to one of these sinks… */
  sink?: readonly string[];
  /** …or in one of these states; both must hold of the same delivery. */
  delivery?: readonly string[];
  since?: number;
  until?: number;
  /** Runs that hold all of it. */
  search?: Search;
}

/** What is looked for: every term. A term is words in a row (text-words.ts), one at least; `prefix`: the last of them may go on. */
export type Search = readonly { words: readonly string[]; prefix: boolean }[];

/** Keyset paging: rows older than the one named. */
export interface Page {
  limit: number;
  after?: { at: number; id: string };
}

export interface RunPage {
  runs: StoredRun[];
  /** What the next page comes after; null on the last one. */
  next: NonNullable<Page["after"]> | null;
}
