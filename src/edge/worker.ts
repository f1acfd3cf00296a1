/** The Worker that is deployed: its entry points, and the class of the object (object.ts). */
import type { Hono } from "hono";
import { createFront, relayObject, type EdgeEnv } from "./front.ts";

export { RelayObject as Relay } from "./object.ts";

let front: Hono<{ Bindings: EdgeEnv }> | null = null;

export default {
  async fetch(request: Request, env: EdgeEnv): Promise<Response> {
    try {
      front ??= createFront(env);
    } catch (error) {
      console.error(JSON.stringify({ level: "error", event: "config.refused", error: (error as Error).message }));
      return Response.json({ error: "the relay's configuration is wrong; its log says where" }, { status: 503 });
    }
    return front.fetch(request, env);
  },
  /** A cron trigger: see wrangler.jsonc. */
  async scheduled(_event: unknown, env: EdgeEnv): Promise<void> {
    await relayObject(env).wake();
  },
};
