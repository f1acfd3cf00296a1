import type { Timeline } from "../../domain/block.ts";
import type { Artifact, ArtifactsStatus, DeliveryState, RunState } from "../../domain/run.ts";
import type { ChangesPage } from "./changes.ts";

/** Runs: single ones, lists, their artifacts, and the latest changes. */
export interface RunStore {
  run(runId: string): Promise<StoredRun | null>;
  /** Newest first. Large runs come in smaller pages of some megabytes. */
  runs(filter: RunFilter, page: Page): Promise<RunPage>;
  /** The same runs with only what lists show, always as many as were asked for. */
  listItems(filter: RunFilter, page: Page): Promise<RunListItem[]>;
  /**
   * Why a search cannot run, such as too many words; null when it can. Callers check this before they ask for a list.
   */
  searchFault(search: Search): Promise<string | null>;
  artifacts(runId: string): Promise<KnownArtifacts>;
  /** `followUpAt` has the meaning it has in {@link FoundArtifacts}. */
  saveArtifacts(runId: string, known: KnownArtifacts, followUpAt: number | null): Promise<void>;
  /** The id of the last change; later changes come after it. */
  lastChange(): string;
  /** The changes after an id, in the order of commits. */
  changes(page: { after: string; limit: number }): ChangesPage;
}

export interface StoredRun extends KnownArtifacts {
  state: RunState;
}

/** What Skyvern's API reports about a run besides its result. */
export interface KnownArtifacts {
  artifacts: Artifact[];
  status: ArtifactsStatus;
  /** Left out: the run is no workflow's, or its timeline could not be read. */
  timeline?: Timeline;
}

/** A run in a list. No text in it is longer than some 240 characters, except the id. */
export interface RunListItem {
  run_id: string;
  status: string;
  run_type: string;
  /** The title, or the prompt where there is none. */
  title: string | null;
  channel: string | null;
  /** The workflow's permanent id. */
  workflow: string | null;
  /** The host of the page where the run began. */
  site: string | null;
  /** Why the run failed. */
  reason: string | null;
  duration_ms: number | null;
  received_at: number;
  /** The newest delivery to each sink, by the sink's name. */
  deliveries: { sink: string; state: DeliveryState }[];
}

export interface RunFilter {
  status?: readonly string[];
  run_type?: readonly string[];
  /** The workflow's permanent ids or titles. */
  workflow?: readonly string[];
  organization?: readonly string[];
  channel?: readonly string[];
  source?: readonly string[];
  /** `name:value` */
  label?: readonly string[];
  /** As `readAttempts` gives them. */
  attempts?: readonly string[];
  trigger?: readonly string[];
  /** `wfs_…` */
  schedule?: readonly string[];
  /** `key:value`, or a label alone. */
  tag?: readonly string[];
  /** Runs that name one of these as their parent or child, or as the run that they retry or that retries them. */
  related?: readonly string[];
  /** Runs that have a delivery to one of these sinks. */
  sink?: readonly string[];
  /** Runs that have a delivery in one of these states; with `sink`, the same delivery must meet both. */
  delivery?: readonly string[];
  since?: number;
  until?: number;
  /** Runs in which every term occurs. */
  search?: Search;
}

/**
 * The terms of a search, all of which must occur. A term is one or more consecutive words (text-words.ts); with
 * `prefix` its last word may continue.
 */
export type Search = readonly { words: readonly string[]; prefix: boolean }[];

/** Keyset paging: rows older than the given one. */
export interface Page {
  limit: number;
  after?: { at: number; id: string };
}

export interface RunPage {
  runs: StoredRun[];
  /** Where the next page continues; null on the last page. */
  next: NonNullable<Page["after"]> | null;
}
