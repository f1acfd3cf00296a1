import type { Hono } from "hono";
import type { Log } from "../log.ts";

/**
 * An app that is loaded and put together when the first request for it comes, within some tens of milliseconds: a relay that takes
 * webhooks and delivers starts without it, and is smaller.
 */
export function lateApp(load: () => Promise<Pick<Hono, "fetch">>, log: Log): Pick<Hono, "fetch"> {
  let loading: Promise<Pick<Hono, "fetch">> | null = null;
  return {
    fetch: async (...request) => {
      const app = await (loading ??= load()).catch((error: unknown) => {
        loading = null;
        log.error("request.crashed", { error: String(error) });
        return null;
      });
      // Its files went away while it ran.
      return (
        app?.fetch(...request) ??
        Response.json({ error: "the relay was replaced, and must be started anew" }, { status: 500 })
      );
    },
  };
}
