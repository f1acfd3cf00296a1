import { createReadStream } from "node:fs";
import { mkdir, open as openFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { rangeOf, type Place } from "./place.ts";

/** Copies in a folder, two characters of the sha256 a subfolder. A file is whole as soon as it has its name. */
export function folderPlace(dir: string): Place {
  const pathOf = (sha256: string): string => join(dir, sha256.slice(0, 2), sha256);
  return {
    keep: async ({ path, sha256 }) => {
      const to = pathOf(sha256);
      try {
        await mkdir(dirname(to), { recursive: true });
        await rename(path, to);
        await nameToDisk(dirname(to));
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    },
    open: async (sha256, bytes, header) => {
      const path = pathOf(sha256);
      const there = await stat(path).catch(() => null);
      if (there?.size !== bytes) return null;
      const range = rangeOf(header, bytes);
      if (range === "none") return new Response(null, { status: 416 });
      const { start, end } = range ?? { start: 0, end: bytes - 1 };
      const headers = { "accept-ranges": "bytes", "content-length": String(Math.max(0, end - start + 1)) };
      if (bytes === 0) return new Response(null, { headers });
      const body = Readable.toWeb(createReadStream(path, { start, end })) as ReadableStream<Uint8Array>;
      const status = range ? 206 : 200;
      const part = range ? { "content-range": `bytes ${start}-${end}/${bytes}` } : {};
      return new Response(body, { status, headers: { ...headers, ...part } });
    },
  };
}

/** A new name is durable once its folder is. Where folders cannot be opened, the system sees to that itself. */
async function nameToDisk(dir: string): Promise<void> {
  const folder = await openFile(dir, "r").catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
