import { constants } from "node:fs";
import { open as openFile, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { makeFolder } from "../platform/disk/make-folder.ts";
import { parseRange, type BlobStore } from "./blob-store.ts";

/**
 * Copies in a folder, with the first two characters of the sha256 as subfolder. A file gets its name only when it is
 * complete.
 */
export function folderBlobStore(dir: string): BlobStore {
  const pathOf = (sha256: string): string => join(dir, sha256.slice(0, 2), sha256);
  return {
    keep: async ({ path, sha256 }) => {
      const to = pathOf(sha256);
      try {
        makeFolder(dirname(to));
        await rename(path, to);
        await nameToDisk(dirname(to));
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    },
    open: async (sha256, bytes, header) => {
      const range = parseRange(header, bytes);
      const { start, end } = range === null || range === "none" ? { start: 0, end: bytes - 1 } : range;
      const file = await whole(pathOf(sha256), bytes);
      if (file === null) return null;
      if (range === "none" || bytes === 0) {
        await file.close();
        return range === "none" ? new Response(null, { status: 416 }) : new Response(null, { headers: headersOf(0) });
      }
      const body = Readable.toWeb(file.createReadStream({ start, end })) as ReadableStream<Uint8Array>;
      const part = range === null ? {} : { "content-range": `bytes ${start}-${end}/${bytes}` };
      return new Response(body, { status: range ? 206 : 200, headers: { ...headersOf(end - start + 1), ...part } });
    },
    remove: (sha256) => rm(pathOf(sha256), { force: true }),
  };
}

const headersOf = (bytes: number) => ({ "accept-ranges": "bytes", "content-length": String(bytes) });

/** The opened file, if it is a regular file of this size and no link; null otherwise. */
async function whole(path: string, bytes: number): Promise<FileHandle | null> {
  const file = await openFile(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => null);
  const there = await file?.stat();
  if (there?.isFile() === true && there.size === bytes) return file;
  await file?.close();
  return null;
}

/** A new name is durable once its folder is synced. Systems on which folders cannot be opened do that themselves. */
async function nameToDisk(dir: string): Promise<void> {
  const folder = await openFile(dir, "r").catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
