/**
 * The runs of a real Skyvern that scripts/real-skyvern left: its server is started again on its data and tells of each.
 */
import { aSkyvern } from "../real/processes.ts";
import { skyvernApi } from "../real/skyvern-api.ts";
import type { ToldRun } from "./every-run.ts";

interface ListedRun {
  run_id: string;
  task_run_type: string;
  status: string;
  title: string | null;
  retry_pending?: boolean;
}

const FINAL = new Set(["completed", "failed", "terminated", "timed_out", "canceled"]);
/** Nothing listens there: no run is started, so nobody asks a model or sends a mail. */
const NOWHERE = { modelUrl: "http://127.0.0.1:9", smtp: { port: 9, user: "none", password: "none" } };

/** `dir`: the folder that scripts/real-skyvern kept. */
export async function startRealRuns(dir: string) {
  const server = await aSkyvern({ dir, ...NOWHERE });
  await server.start();
  const api = skyvernApi(server.url, server.key, "");
  const rows = await api.get<ListedRun[]>("/v1/runs?page_size=100");
  const ended = rows.filter(({ status, retry_pending }) => FINAL.has(status) && retry_pending !== true);
  // Of runs of one kind the newest, which is listed first, stays.
  const runs = new Map<string, ToldRun>();
  for (const { run_id: id, task_run_type: runType, status, title } of ended) {
    const name = `${runType} ${status} ${title ?? ""}`.trim().replaceAll(/[^a-zA-Z0-9_]+/g, "-");
    const tell: ToldRun["tell"] = ({ url }) =>
      api.post(`/v1/runs/${id}/retry_webhook`, { webhook_url: `${url}/webhook` });
    if (!runs.has(name)) runs.set(name, { name, id, runType, tell });
  }
  return { at: { url: server.url, key: server.key() }, runs: [...runs.values()], stop: () => server.stop() };
}
