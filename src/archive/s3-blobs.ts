import { rm } from "node:fs/promises";
import type { BlobStore } from "./blob-store.ts";
import { s3Call, type S3Deps } from "../net/s3.ts";

/** Copies as objects of an S3-compatible storage, signed over the sha256 of their bytes. */
export function s3BlobStore(deps: S3Deps): BlobStore {
  const call = s3Call(deps);
  const nameOf = (sha256: string): string => `${sha256.slice(0, 2)}/${sha256}`;
  return {
    keep: async (file, signal) => {
      const { path, sha256 } = file;
      try {
        const there = await call("HEAD", nameOf(sha256), { signal });
        await there.body?.cancel();
        if (there.status === 200) return;
        const answer = await call("PUT", nameOf(sha256), { file, signal });
        await answer.body?.cancel();
        if (!answer.ok) throw new Error(`the archive's storage answered ${answer.status}`);
      } finally {
        await rm(path, { force: true });
      }
    },
    open: async (sha256, _bytes, range) => {
      const answer = await call("GET", nameOf(sha256), range === null ? {} : { headers: { range } });
      if (answer.status === 200 || answer.status === 206) return answer;
      await answer.body?.cancel();
      return answer.status === 416 ? new Response(null, { status: 416 }) : null;
    },
    remove: async (sha256, signal) => {
      const answer = await call("DELETE", nameOf(sha256), { signal });
      await answer.body?.cancel();
      if (!answer.ok && answer.status !== 404) throw new Error(`the archive's storage answered ${answer.status}`);
    },
  };
}
