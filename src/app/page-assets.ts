/** Reads the pages' files, which lie beside the code in a checkout as in the package. */
import { readFileSync } from "node:fs";
import type { AssetTexts } from "../web/assets/assets.ts";

const read = (name: string): string => readFileSync(new URL(`../web/assets/${name}`, import.meta.url), "utf8");

export const readPageAssets = (): AssetTexts => ({
  htmx: read("htmx.js"),
  script: read("script.js"),
  style: read("style.css"),
  icon: read("icon.svg"),
});
