/** What the pages load: from the relay itself, named by content so that browsers may keep it for ever. */
import { createHash } from "node:crypto";
import type { Hono } from "hono";
import { HTMX } from "./htmx.ts";
import { ICON } from "./icon.ts";
import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";

interface Asset {
  path: string;
  type: string;
  text: string;
}

function asset(name: string, type: string, text: string): Asset {
  const [stem, ending] = name.split(".");
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 12);
  return { path: `/assets/${stem}.${hash}.${ending}`, type: `${type}; charset=utf-8`, text };
}

export const ASSETS = {
  htmx: asset("htmx.js", "text/javascript", `/*! htmx 2.0.11, https://htmx.org, Zero-Clause BSD */\n${HTMX}`),
  style: asset("relay.css", "text/css", STYLE),
  script: asset("relay.js", "text/javascript", SCRIPT),
  icon: asset("relay.svg", "image/svg+xml", ICON),
};

/** Open to everyone: the login page needs them, and they say nothing. */
export function mountAssets(app: Hono): void {
  for (const { path, type, text } of Object.values(ASSETS)) {
    app.get(path, (c) =>
      c.body(text, 200, {
        "content-type": type,
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
      }),
    );
  }
}
