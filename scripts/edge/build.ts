/** Writes dist/edge/worker.js: the relay for Cloudflare Workers, one file. `wrangler deploy` calls it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { bundleEdge } from "./bundle.ts";

const worker = await bundleEdge();
const folder = new URL("../../dist/edge/", import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL("worker.js", folder), worker);
const kb = (bytes: number): string => `${Math.round(bytes / 1024)} KiB`;
console.log(`dist/edge/worker.js: ${kb(Buffer.byteLength(worker))}, ${kb(gzipSync(worker).length)} compressed`);
