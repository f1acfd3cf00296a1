/** Checks where Skyvern's workflows send their webhooks, unless a run names another address. */
import type { SkyvernCheckDeps } from "./skyvern.ts";
import type { Config } from "../../config/config.ts";
import { createAddresses } from "../../receive/own-addresses.ts";
import { createSkyvernClient } from "../../skyvern/client.ts";
import { plural } from "../../platform/amounts.ts";
import { about, ok, warning, type Finding } from "./finding.ts";

export interface WorkflowCheckDeps extends Omit<SkyvernCheckDeps, "config" | "addressKey"> {
  config: Pick<Config, "keys" | "baseUrl" | "publicUrl" | "reconcile">;
}

const TIMEOUT_MS = 10_000;
const NAMED = 3;

/** Nothing where Skyvern cannot be asked: the look at its keys says why. */
export async function checkWorkflows({ config, outbound, runtime, signal }: WorkflowCheckDeps): Promise<Finding[]> {
  const { baseUrl, keys, publicUrl } = config;
  const client = createSkyvernClient({ ...runtime, ...outbound, baseUrl, keys, timeoutMs: TIMEOUT_MS });
  const addresses = createAddresses(() => publicUrl);
  const known = new Map<string, { title: string; url: string | null }>();
  for (const { client: own } of client.with({ tries: 1 }).perKey()) {
    const answer = await own.listWorkflows(signal);
    if (!answer.ok) continue;
    for (const { workflow_permanent_id: id, title, webhook_callback_url: url } of answer.value)
      known.set(id, { title: title ?? id, url: url || null });
  }
  if (known.size === 0) return [];
  const all = [...known.values()];
  const here = all.filter(({ url }) => addresses.pointsHere(url));
  const elsewhere = all.filter(({ url }) => url !== null && !addresses.pointsHere(url));
  const named = elsewhere.slice(0, NAMED).map(({ title }) => `“${title}”`);
  const others = elsewhere.length === 0 ? "" : ` (${named.join(", ")}${elsewhere.length > NAMED ? ", …" : ""})`;
  const nowhere = all.length - here.length - elsewhere.length;
  const found = `of ${plural(all.length, "workflow")}, webhooks of ${here.length} lead here, ${elsewhere.length} elsewhere${others}, ${nowhere} nowhere`;
  const isEnough = here.length > 0 || config.reconcile?.scope === "all";
  const fix = `skyvern-relay register sets ${publicUrl}/webhook as the webhook of workflows; or use it as webhook_url of each run, or skyvern.reconcile.scope: all`;
  return about("workflows", isEnough ? ok(found) : warning(found, fix));
}
