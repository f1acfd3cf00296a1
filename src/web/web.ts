/**
 * The web page: rendered on the server, complete without JavaScript, with nothing from elsewhere. A user logs in with a
 * token of `RELAY_TOKEN`; everything but the login and the assets requires the session.
 */
import { Hono } from "hono";
import { StorageFault } from "../store/contract/faults.ts";
import { basePathOf, underBasePath } from "./base-path.ts";
import { createAssets, mountAssets, type Assets } from "./assets/assets.ts";
import { mountDeliveries } from "./deliveries/routes.ts";
import { createPageContext, type WebEnv, type WebDeps } from "./page-context.ts";
import { createSendPage, notice } from "./layout.ts";
import { mountLive } from "./live.ts";
import { mountLogin } from "./login/routes.ts";
import { mountReceipts } from "./receipts/routes.ts";
import { mountRun } from "./run/routes.ts";
import { mountRuns } from "./runs/routes.ts";
import { mountSinks } from "./sinks/routes.ts";

/**
 * Mounts the pages. Their headers are stricter than the others', so this comes before any middleware that sets headers.
 */
export function mountWeb(app: Hono, deps: WebDeps): void {
  const assets = createAssets(deps.assets);
  mountAssets(app, assets);
  app.route("/", createWeb(deps, assets));
}

function createWeb(deps: WebDeps, assets: Assets): Hono<WebEnv> {
  const page = createSendPage(assets);
  const web = new Hono<WebEnv>({ strict: false });
  const base = basePathOf(deps.publicUrl);
  if (base !== "") web.use(underBasePath(base));
  web.onError((error, c) => {
    const isStorage = error instanceof StorageFault;
    const { method, path } = c.req;
    deps.log.error("page.crashed", { method, path, error: error.stack ?? error.message });
    const text = isStorage
      ? "The database cannot be read or written right now. Try again in a moment."
      : "Internal error; see the relay's log.";
    return page(c, { title: "Error", session: null }, notice("Something went wrong", text), isStorage ? 503 : 500);
  });
  const context = createPageContext(web, deps, page);
  mountLogin(context);
  mountRuns(context);
  mountRun(context);
  mountReceipts(context);
  mountSinks(context);
  mountDeliveries(context);
  mountLive(context);
  return web;
}
