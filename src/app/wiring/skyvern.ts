/** Wires the Skyvern side: reading its API, serving artifacts, and archiving them. */
import { randomBytes } from "node:crypto";
import type { Config } from "../../config/config.ts";
import { createLinks } from "../../http/links.ts";
import { ARTIFACTS_DELAY_MS } from "../../domain/follow-up-plan.ts";
import type { ArtifactsStatus } from "../../domain/run.ts";
import { createSkyvernClient } from "../../skyvern/client.ts";
import { createRedact } from "../../skyvern/redact.ts";
import { createEnricher } from "../../skyvern/artifacts/artifact-list.ts";
import { LinkedMedia } from "../../skyvern/artifacts/media.ts";
import { createRequestBudget } from "../../skyvern/request-budget.ts";
import type { AppHost } from "../host.ts";

export type SkyvernSide = Awaited<ReturnType<typeof connectSkyvern>>;

export async function connectSkyvern(config: Config, host: AppHost) {
  const { runtime, log, store, fetch, request, permit, archiving } = host;
  const linkKey = Buffer.from(await store.setting("link_key", randomBytes(32).toString("base64url")), "base64url");
  const { publicUrl } = host;
  const links = createLinks({ publicUrl, key: linkKey, lifeMs: config.linkLifeMs, now: runtime.now });
  const perHour = config.reconcile?.requestsPerHour ?? null;
  const budget = perHour === null ? null : createRequestBudget({ perHour, now: runtime.now });
  const client = createSkyvernClient({
    ...runtime,
    baseUrl: config.baseUrl,
    keys: config.keys,
    fetch,
    request: budget?.counted(request) ?? request,
  });
  // A relay that follows every run knows since when it does; earlier runs are history.
  const isFollowing = config.reconcile?.scope === "all";
  const newsSince = isFollowing ? Number(await store.setting("news_since", String(runtime.now()))) : null;
  const copies = archiving ? { copies: archiving.copiesOf({ ...archiving, store, log }) } : {};
  const media = new LinkedMedia({ client, fetch, permit, now: runtime.now, log, ...copies });
  const askAgainAt = (status: ArtifactsStatus) => (status === "complete" ? null : runtime.now() + ARTIFACTS_DELAY_MS);
  const enricher = createEnricher({
    ...runtime,
    client,
    log,
    budgetMs: config.delivery.artifactsWaitMs,
    load: (runId) => store.artifacts(runId),
    save: (runId, known) => store.saveArtifacts(runId, known, askAgainAt(known.status)),
    redact: createRedact(config.redactKeys),
  });
  const { enrich } = enricher;
  const archive =
    archiving && config.archive
      ? archiving.createArchive({ ...config.archive, ...archiving, store, media, enrich, now: runtime.now, log })
      : null;
  return { linkKey, links, client, budget, newsSince, media, enricher, askAgainAt, archive };
}
