/** Skyvern's list of a run's artifacts, as far as a person would look at them. */
import type { Run } from "../../domain/run.ts";
import type { ArtifactRow, SkyvernClient, SkyvernFault } from "../client.ts";

/** The types worth a person's look. A run has hundreds of others, so the list is always asked for by type (contract §4). */
export const USEFUL_TYPES: readonly string[] = [
  "recording",
  "screenshot_final",
  "screenshot_action",
  "download",
  "pdf",
  "har",
  "browser_console_log",
  "skyvern_log",
];

export type Listed = { ok: true; rows: ArtifactRow[] } | { ok: false; fault: SkyvernFault };

/** An older Skyvern refuses types it does not know with 422: then all are asked for and the useful ones kept. */
export async function listRelevantArtifacts(
  client: SkyvernClient,
  id: string,
  signal: AbortSignal | undefined,
): Promise<Listed> {
  const byType = await client.listArtifacts(id, USEFUL_TYPES, signal);
  if (byType.ok) return { ok: true, rows: byType.value.rows };
  if (byType.fault.status !== 422) return byType;
  const all = await client.listArtifacts(id, [], signal);
  return all.ok
    ? { ok: true, rows: all.value.rows.filter(({ artifact_type }) => USEFUL_TYPES.includes(artifact_type)) }
    : all;
}

/**
 * The id Skyvern lists a run's artifacts under. Since v1.0.30 a v2 task's own id answers an empty list: its workflow
 * run's id is needed, which is also in its page's address (contract §4).
 */
export function listIdOf(run: Run): string {
  const isTaskV2 = run.run_type === "task_v2" || /^(tsk_v2_|oc_)/.test(run.run_id);
  if (!isTaskV2) return run.run_id;
  return run.workflow?.run_id ?? /\/runs\/(wr_\w+)(?:[/?#]|$)/.exec(run.app_url ?? "")?.[1] ?? run.run_id;
}
