import { decisiveScreenshots, originOf, type KnownDetails } from "../domain/report.ts";
import type { Run } from "../domain/run.ts";
import type { Evidence } from "../sinks/attachments.ts";
import type { Media } from "../skyvern/artifacts/media.ts";

/** Settings for what messages carry. */
export interface AttachmentSettings {
  screenshots: boolean;
  files: boolean;
  /** The most bytes of one file. */
  maxBytes: number;
  /** The most bytes of all files in one message. */
  maxTotal: number;
}

export interface EvidenceDeps {
  media: Pick<Media, "read">;
  settings: AttachmentSettings;
  /** The time for all reads in one attempt, ms; the rest of the deadline is for the message itself. */
  budgetMs: number;
}

/** Gives one attempt access to the run's pictures and files. The time budget begins with the first read. */
export function createEvidence({ media, settings, budgetMs }: EvidenceDeps, run: Run, known: KnownDetails): Evidence {
  let budget: AbortSignal | null = null;
  const inTime = (signal: AbortSignal): AbortSignal => {
    budget ??= AbortSignal.timeout(budgetMs);
    return AbortSignal.any([signal, budget]);
  };
  return {
    // Computed lazily, because some sinks show no screenshots.
    get screenshots() {
      return settings.screenshots ? decisiveScreenshots(run, known) : [];
    },
    originOf: (key) => originOf(known, key),
    files: settings.files ? run.files : [],
    limits: { each: settings.maxBytes, total: settings.maxTotal },
    inTime,
    read: (key, maxBytes, signal) => media.read({ run, artifacts: known.artifacts }, key, maxBytes, inTime(signal)),
  };
}
