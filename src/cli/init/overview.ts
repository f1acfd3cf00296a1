/** Summarizes what a key opens at Skyvern: `37 workflows, 4 schedules, 1,204 runs in 7 days, 11 % failed`. */
import { isTerminal } from "../../domain/run.ts";
import type { Outbound } from "../../net/http-client.ts";
import { DAY_MS } from "../../platform/time.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { listRuns } from "../../reconcile/list-runs.ts";
import { createSkyvernClient } from "../../skyvern/client.ts";
import type { SkyvernFault, SkyvernKey } from "../../skyvern/api-call.ts";
import { count, plural } from "../../platform/amounts.ts";

export interface OverviewDeps {
  baseUrl: string;
  keys: readonly SkyvernKey[];
  outbound: Outbound;
  runtime: Runtime;
  signal: AbortSignal;
}

export type Overview = { ok: true; text: string } | { ok: false; reason: string };

const DAYS = 7;
const TIMEOUT_MS = 10_000;

/** Asks with the first key, and skips lists that an old or self-hosted Skyvern does not have. */
export async function readOverview({ baseUrl, keys, outbound, runtime, signal }: OverviewDeps): Promise<Overview> {
  const client = createSkyvernClient({ ...runtime, ...outbound, baseUrl, keys, timeoutMs: TIMEOUT_MS }).with({
    tries: 2,
  });
  const since = runtime.now() - DAYS * DAY_MS;
  const { rows, fault } = await listRuns((query) => client.listRuns(query, signal), { since });
  if (fault !== null && rows.length === 0) return { ok: false, reason: describeSkyvernFault(fault, baseUrl) };
  const [workflows, schedules] = await Promise.all([client.listWorkflows(signal), client.countSchedules(signal)]);
  const ended = rows.filter(({ status }) => isTerminal(status));
  const bad = ended.filter(({ status }) => status !== "completed" && status !== "canceled").length;
  const share = ended.length === 0 ? "" : `, ${Math.round((100 * bad) / ended.length)} % failed`;
  const parts = [
    ...(workflows.ok ? [plural(workflows.value.length, "workflow")] : []),
    ...(schedules.ok ? [plural(schedules.value, "schedule")] : []),
    `${count(rows.length)}${fault === null ? "" : " or more"} ${rows.length === 1 ? "run" : "runs"} in ${DAYS} ` +
      `days${share}`,
  ];
  return { ok: true, text: parts.join(", ") };
}

/** The fault and its remedy in one line. */
export function describeSkyvernFault({ kind, status, reason }: SkyvernFault, baseUrl: string): string {
  if (kind === "forbidden")
    return (
      `${baseUrl} refuses the key: copy the whole key again from Skyvern's settings page ` +
      "(https://app.skyvern.com/settings)"
    );
  if (status === null)
    return `${baseUrl} does not answer (${reason}): correct the base URL, or let this machine reach it`;
  if (kind === "not_found" || kind === "unexpected")
    return (
      `${baseUrl} is no Skyvern that this relay understands (${reason}): give the API's address, or upgrade ` +
      "Skyvern"
    );
  return `${baseUrl} cannot answer right now (${reason}): try again in a minute`;
}
