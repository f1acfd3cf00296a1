/**
 * The Worker in front. It has no state: it checks signatures and passes genuine webhooks to the one object that holds
 * the relay, so a flood of forged ones never reaches the object. Everything else is passed on as it comes.
 */
import type { Namespace } from "cloudflare:workers";
import { Hono } from "hono";
import { mountWebhook, REFUSALS_ALLOWED } from "../http/webhook.ts";
import { createRateLimit } from "../platform/rate-limit.ts";
import type { Receiver } from "../receive/receive.ts";
import { MAX_UNSIGNED_BYTES, precheckBody, verify } from "../receive/verify.ts";
import { createConsoleLog } from "./log.ts";
import type { RelayObject } from "./object.ts";
import { readSettings, type Bindings } from "./settings.ts";

export interface EdgeEnv extends Bindings {
  RELAY: Namespace<RelayObject>;
}

/** One installation has one object. */
export const relayObject = ({ RELAY }: EdgeEnv) => RELAY.getByName("relay");

/** The most bytes of bodies being read by one of the Worker's processes, which has 128 MB. */
const IN_FLIGHT_BYTES = 32 * 1024 * 1024;

/** Throws with every fault of the configuration. */
export function createFront(env: EdgeEnv): Hono<{ Bindings: EdgeEnv }> {
  const { config } = readSettings(env);
  const log = createConsoleLog(config.logLevel);
  const receiver: Receiver = {
    precheck: (signature) => precheckBody(signature, config.confirm),
    receive: async (incoming) => {
      const verified = verify(incoming, config.keys);
      if (typeof verified === "string" && !config.confirm) return { kind: "refused", reason: verified };
      if (typeof verified === "string" && incoming.bytes.length > MAX_UNSIGNED_BYTES)
        return { kind: "too_large", limit: MAX_UNSIGNED_BYTES };
      try {
        return await relayObject(env).receive({ ...incoming, bytes: new Uint8Array(incoming.bytes) });
      } catch (error) {
        log.error("webhook.not_stored", { result: "object_failed", error: String(error) });
        return { kind: "unavailable" };
      }
    },
    // The metrics are the object's, which is not asked for a webhook that does not reach it.
    overloaded: () => {},
  };
  const app = new Hono<{ Bindings: EdgeEnv }>({ strict: false });
  mountWebhook(app as unknown as Hono, {
    receiver,
    addressOf: (c) => c.req.header("cf-connecting-ip") ?? "unknown",
    bodyLimit: config.bodyLimit,
    inFlightLimit: IN_FLIGHT_BYTES,
    refusals: createRateLimit({ ...REFUSALS_ALLOWED, now: Date.now }),
    isStopping: () => false,
    log,
  });
  app.all("*", (c) => relayObject(env).fetch(c.req.raw));
  return app;
}
