import { decisiveScreenshots } from "../domain/report.ts";
import type { Artifact, Run } from "../domain/run.ts";
import type { Evidence } from "../sinks/attachments.ts";
import type { Media } from "../skyvern/artifacts/media.ts";

/** What messages carry. */
export interface AttachmentSettings {
  screenshots: boolean;
  files: boolean;
  /** Bytes of one. */
  maxBytes: number;
  /** Bytes of all in one message. */
  maxTotal: number;
}

export interface EvidenceDeps {
  media: Pick<Media, "read">;
  settings: AttachmentSettings;
  /** For everything read in one attempt, ms: the message itself has to be sent in what is left. */
  budgetMs: number;
}

/** Pictures and files of one run for one attempt. The budget begins when they are first asked for. */
export function createEvidence(
  { media, settings, budgetMs }: EvidenceDeps,
  run: Run,
  artifacts: readonly Artifact[],
): Evidence {
  let budget: AbortSignal | null = null;
  const inTime = (signal: AbortSignal): AbortSignal => {
    budget ??= AbortSignal.timeout(budgetMs);
    return AbortSignal.any([signal, budget]);
  };
  return {
    // Of no use to sinks that show none.
    get screenshots() {
      return settings.screenshots ? decisiveScreenshots(run, artifacts) : [];
    },
    files: settings.files ? run.files : [],
    limits: { each: settings.maxBytes, total: settings.maxTotal },
    inTime,
    read: (key, maxBytes, signal) => media.read({ run, artifacts }, key, maxBytes, inTime(signal)),
  };
}
