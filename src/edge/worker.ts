/** The Worker that is deployed: its entry points, and the class of the object (object.ts). */
import type { Hono } from "hono";
import { createFront, objectOf, type Env } from "./front.ts";

export { Relay } from "./object.ts";

let front: Hono<{ Bindings: Env }> | null = null;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    try {
      front ??= createFront(env);
    } catch (error) {
      console.error(JSON.stringify({ level: "error", event: "config.refused", error: (error as Error).message }));
      return Response.json({ error: "the relay's configuration is wrong; its log says where" }, { status: 503 });
    }
    return front.fetch(request, env);
  },
  /** A cron trigger: see wrangler.jsonc. */
  async scheduled(_event: unknown, env: Env): Promise<void> {
    await objectOf(env).wake();
  },
};
