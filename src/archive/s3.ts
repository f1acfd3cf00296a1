import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { AwsV4Signer } from "aws4fetch";
import type { Fetch } from "../runtime.ts";
import type { Secret } from "../secret.ts";
import type { Place } from "./place.ts";
import type { Spooled } from "./spool.ts";
import { createSweeper } from "./young-garbage.ts";

export interface S3Settings {
  /** Without trailing slash. The bucket follows in the path, which every S3 but a few of Amazon's oldest rules takes. */
  endpoint: string;
  bucket: string;
  region: string;
  /** What every object's name begins with. */
  prefix: string;
  accessKeyId: Secret;
  secretAccessKey: Secret;
}

export interface S3Parts {
  settings: S3Settings;
  fetch: Fetch;
  now(): number;
}

const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Copies as objects of an S3-compatible storage, signed with Signature Version 4 over the sha256 of their bytes. */
export function s3Place({ settings, fetch, now }: S3Parts): Place {
  const call = async (
    method: "GET" | "HEAD" | "PUT" | "DELETE",
    sha256: string,
    more: CallOptions = {},
  ): Promise<Response> => {
    const signer = new AwsV4Signer({
      method,
      url: `${settings.endpoint}/${settings.bucket}/${settings.prefix}${sha256.slice(0, 2)}/${sha256}`,
      headers: { "x-amz-content-sha256": more.file ? sha256 : EMPTY_SHA256, ...more.headers },
      accessKeyId: settings.accessKeyId.reveal(),
      secretAccessKey: settings.secretAccessKey.reveal(),
      service: "s3",
      region: settings.region,
      datetime: new Date(now()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const { url, headers } = await signer.sign();
    const signal = more.signal ? { signal: more.signal } : {};
    return fetch(url, {
      method,
      headers,
      redirect: "manual",
      ...signal,
      ...(more.file ? bodyOf(more.file, headers) : {}),
    });
  };
  return {
    keep: async (file, signal) => {
      const { path, sha256 } = file;
      try {
        const there = await call("HEAD", sha256, { signal });
        await there.body?.cancel();
        if (there.status === 200) return;
        const answer = await call("PUT", sha256, { file, signal });
        await answer.body?.cancel();
        if (!answer.ok) throw new Error(`the archive's storage answered ${answer.status}`);
      } finally {
        await rm(path, { force: true });
      }
    },
    open: async (sha256, _bytes, range) => {
      const answer = await call("GET", sha256, range === null ? {} : { headers: { range } });
      if (answer.status === 200 || answer.status === 206) return answer;
      await answer.body?.cancel();
      return answer.status === 416 ? new Response(null, { status: 416 }) : null;
    },
    remove: async (sha256, signal) => {
      const answer = await call("DELETE", sha256, { signal });
      await answer.body?.cancel();
      if (!answer.ok && answer.status !== 404) throw new Error(`the archive's storage answered ${answer.status}`);
    },
  };
}

interface CallOptions {
  headers?: Record<string, string>;
  file?: Spooled;
  signal?: AbortSignal;
}

/**
 * The file, read as fast as it is sent: a blob of it would be read at once, all of it into memory. Its length is said, as S3
 * takes no body without. One request holds up to 5 GB there, which is the most that `max_file` allows.
 */
function bodyOf({ path, bytes }: Spooled, headers: Headers): RequestInit {
  headers.set("content-length", String(bytes));
  return { body: ReadableStream.from(piecesOf(path)) as ReadableStream<Uint8Array>, duplex: "half" } as RequestInit;
}

async function* piecesOf(path: string): AsyncGenerator<Uint8Array> {
  const sweepUp = createSweeper();
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
    yield piece;
    sweepUp(piece.byteLength);
  }
}
