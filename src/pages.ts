/** Everything of a relay that is asked for, loaded when it first is: the history API, artifacts, metrics and the web page. */
import type { Hono } from "hono";
import { createHttp, type HttpParts } from "./http/server.ts";
import { createSessionCheck } from "./web/session.ts";
import type { WebParts } from "./web/kit.ts";
import { mountWeb } from "./web/web.ts";

export type PagesParts = WebParts &
  HttpParts["history"] &
  Omit<HttpParts["artifacts"], "isSession"> &
  Omit<HttpParts, "history" | "artifacts" | "pages">;

export const createPages = (parts: PagesParts): Pick<Hono, "fetch"> =>
  createHttp({
    ...parts,
    history: parts,
    artifacts: { ...parts, isSession: createSessionCheck(parts) },
    pages: (app) => mountWeb(app, parts),
  });
