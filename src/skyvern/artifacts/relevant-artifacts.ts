/** Lists the artifacts of a run that people look at. */
import type { Run } from "../../domain/run.ts";
import type { ArtifactRow, SkyvernClient } from "../client.ts";
import type { SkyvernFault } from "../api-call.ts";

/** The relevant types. A run has hundreds of other artifacts, so the list is always asked for by type (contract §4). */
export const USEFUL_TYPES: readonly string[] = [
  "recording",
  "screenshot_final",
  "screenshot_action",
  "screenshot_llm",
  "download",
  "pdf",
  "har",
  "browser_console_log",
  "skyvern_log",
];

export type Listed = { ok: true; rows: ArtifactRow[] } | { ok: false; fault: SkyvernFault };

/**
 * An older Skyvern answers 422 to types it does not know. Then all types are asked for and the relevant ones selected.
 */
export async function listRelevantArtifacts(
  client: SkyvernClient,
  id: string,
  signal: AbortSignal | undefined,
): Promise<Listed> {
  const byType = await client.listArtifacts(id, USEFUL_TYPES, signal);
  if (byType.ok) return { ok: true, rows: byType.value.rows.filter(isRelevant) };
  if (byType.fault.status !== 422) return byType;
  const all = await client.listArtifacts(id, [], signal);
  return all.ok ? { ok: true, rows: all.value.rows.filter(isRelevant) } : all;
}

/**
 * A block without a task (it opens an address, or runs code) has only the picture that Skyvern takes for a model, which
 * is a file of its own. The others of that type are what a model was shown, with marks drawn on the page.
 */
const isRelevant = ({ artifact_type: type, bundle_key: bundle, workflow_run_block_id: block }: ArtifactRow): boolean =>
  USEFUL_TYPES.includes(type) && (type !== "screenshot_llm" || (bundle === null && block !== null));

/**
 * The id under which Skyvern lists a run's artifacts. Since v1.0.30 a v2 task's own id gives an empty list, so the id
 * of its workflow run is needed, which is also in its page's address (contract §4).
 */
export function listIdOf(run: Run): string {
  const isTaskV2 = run.run_type === "task_v2" || /^(tsk_v2_|oc_)/.test(run.run_id);
  if (!isTaskV2) return run.run_id;
  return run.workflow?.run_id ?? /\/runs\/(wr_\w+)(?:[/?#]|$)/.exec(run.app_url ?? "")?.[1] ?? run.run_id;
}
