/** One call to an S3-compatible storage, signed with Signature Version 4. */
import { createReadStream } from "node:fs";
import { AwsV4Signer } from "aws4fetch";
import type { Fetch } from "../platform/runtime.ts";
import type { Secret } from "../platform/secret.ts";

/** A file that is to be kept somewhere. */
export interface UploadFile {
  /** Whoever takes the file moves or removes it. */
  path: string;
  /** Hex. */
  sha256: string;
  bytes: number;
}

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

export interface S3Deps {
  settings: S3Settings;
  fetch: Fetch;
  now(): number;
}

export interface S3CallOptions {
  headers?: Record<string, string>;
  /** The object's bytes. */
  file?: UploadFile;
  signal?: AbortSignal;
}

/** `name` stands behind the prefix. Answers of every status come back as they are; the caller reads or cancels the body. */
export type S3Call = (
  method: "GET" | "HEAD" | "PUT" | "DELETE",
  name: string,
  options?: S3CallOptions,
) => Promise<Response>;

const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export function s3Call({ settings, fetch, now }: S3Deps): S3Call {
  return async (method, name, { headers: more = {}, file, signal } = {}) => {
    const signer = new AwsV4Signer({
      method,
      url: `${settings.endpoint}/${settings.bucket}/${settings.prefix}${name}`,
      headers: { "x-amz-content-sha256": file?.sha256 ?? EMPTY_SHA256, ...more },
      accessKeyId: settings.accessKeyId.reveal(),
      secretAccessKey: settings.secretAccessKey.reveal(),
      service: "s3",
      region: settings.region,
      datetime: new Date(now()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const { url, headers } = await signer.sign();
    const body = file ? uploadBody(file, headers) : {};
    return fetch(url, { method, headers, redirect: "manual", ...(signal ? { signal } : {}), ...body });
  };
}

/**
 * The file, read as fast as it is sent: a blob of it would be read at once, all of it into memory. Its length is said, as S3
 * takes no body without. One request holds up to 5 GB there, which is the most that `max_file` allows.
 */
function uploadBody({ path, bytes }: UploadFile, headers: Headers): RequestInit {
  headers.set("content-length", String(bytes));
  return {
    body: ReadableStream.from(createReadStream(path)) as ReadableStream<Uint8Array>,
    duplex: "half",
  } as RequestInit;
}
