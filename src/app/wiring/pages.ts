/** Wires all addresses: webhook, probes, history API, pages. */
import type { Config } from "../../config/config.ts";
import { listEveryMs } from "../../history/unknown-run.ts";
import { createHttp } from "../../http/server.ts";
import { TokenGate } from "../../http/auth.ts";
import { REFUSALS_ALLOWED } from "../../http/webhook.ts";
import { createRateLimit } from "../../platform/rate-limit.ts";
import { createEndedSessions } from "../../web/login/ended-sessions.ts";
import type { LoginLinks } from "../../web/login/links.ts";
import { createSessionCheck } from "../../web/login/session.ts";
import { mountWeb } from "../../web/web.ts";
import type { AppHost } from "../host.ts";
import type { SkyvernSide } from "./skyvern.ts";
import type { DeliverySide } from "./delivery.ts";
import type { Receiving } from "./receiving.ts";

/**
 * The most bytes of bodies being read. Skyvern's are a few kB. Reading takes several times as much memory for a moment:
 * filled with bodies of 5 MB, the process grew by less than 320 MB, and a small machine has 512.
 */
const IN_FLIGHT_BYTES = 24 * 1024 * 1024;

interface PageDeps {
  skyvern: SkyvernSide;
  delivering: DeliverySide;
  receiving: Receiving;
  loginLinks: LoginLinks;
  unready(): Promise<string | null>;
  /** Ends the streams when it aborts. */
  stopping: AbortSignal;
}

export function createPages(
  config: Config,
  host: AppHost,
  {
    skyvern,
    delivering: { sinks, worker, sendTest },
    receiving: { receiver },
    loginLinks,
    unready,
    stopping,
  }: PageDeps,
) {
  const { runtime, log, metrics, store, nudge, addressOf, isStopping, assets } = host;
  const { links, media, enricher, linkKey } = skyvern;
  const gate = new TokenGate({ tokens: config.tokens, addressOf, now: runtime.now, log });
  const web = {
    gate,
    ended: createEndedSessions({ store, now: runtime.now }),
    assets,
    store,
    links,
    sinks,
    tokens: config.tokens,
    loginLinks,
    key: linkKey,
    publicUrl: config.publicUrl,
    webhookUrl: () => `${host.publicUrl()}/webhook`,
    listEveryMs: listEveryMs(config),
    media,
    runtime,
    log,
    nudge,
    circuit: (sink: string) => worker.circuit(sink),
    resume: (sink: string) => worker.resume(sink),
    refresh: enricher.refresh,
    sendTest,
    stopping,
  };
  const { bodyLimit } = config;
  const refusals = createRateLimit({ ...REFUSALS_ALLOWED, now: runtime.now });
  return createHttp({
    ...web,
    webhook: { receiver, addressOf, bodyLimit, inFlightLimit: IN_FLIGHT_BYTES, refusals, isStopping, log },
    history: web,
    artifacts: { ...web, isSession: createSessionCheck(web) },
    unready,
    metrics,
    pages: (app) => mountWeb(app, web),
  });
}
