/**
 * The files that pages load, from the relay itself. Their names change with their content, so browsers may cache them
 * for ever.
 */
import { createHash } from "node:crypto";
import type { Hono } from "hono";

/**
 * The texts of the files in this folder. The host supplies them: Node reads them from disk, the edge's bundle contains
 * them.
 */
export interface AssetTexts {
  /** htmx.js: dist/htmx.min.js of the package htmx.org, whose licence lies beside it. */
  htmx: string;
  /** script.js */
  script: string;
  /** style.css */
  style: string;
  /** icon.svg */
  icon: string;
}

interface Asset {
  path: string;
  type: string;
  text: string;
}
export type Assets = Record<keyof AssetTexts, Asset>;

function asset(name: string, type: string, text: string): Asset {
  const [stem, ending] = name.split(".");
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 12);
  return { path: `/assets/${stem}.${hash}.${ending}`, type: `${type}; charset=utf-8`, text };
}

export const createAssets = (texts: AssetTexts): Assets => ({
  htmx: asset("htmx.js", "text/javascript", texts.htmx),
  style: asset("relay.css", "text/css", texts.style),
  script: asset("relay.js", "text/javascript", texts.script),
  icon: asset("relay.svg", "image/svg+xml", texts.icon),
});

/** Public, because the login page needs them and they reveal nothing. */
export function mountAssets(app: Hono, assets: Assets): void {
  for (const { path, type, text } of Object.values(assets)) {
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
