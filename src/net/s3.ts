/** Calls an S3-compatible storage, signed with Signature Version 4. */
import { createReadStream } from "node:fs";
import { AwsV4Signer } from "aws4fetch";
import type { Fetch } from "../platform/runtime.ts";
import type { Secret } from "../platform/secret.ts";

/** A file to upload. */
export interface UploadFile {
  /** The receiver moves or removes the file. */
  path: string;
  /** Hex digits. */
  sha256: string;
  bytes: number;
}

export interface S3Settings {
  /** Without a trailing slash. The bucket follows in the path, which S3-compatible storages accept. */
  endpoint: string;
  bucket: string;
  region: string;
  /** The prefix of every object's name. */
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

/**
 * `name` follows the prefix. Answers of every status are returned as they are; the caller reads or cancels the body.
 */
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
 * Reads the file as fast as it is sent, because a blob would be read into memory at once. Its length is declared, as S3
 * requires. One request holds up to 5 GB there, the most that `max_file` allows.
 */
function uploadBody({ path, bytes }: UploadFile, headers: Headers): RequestInit {
  headers.set("content-length", String(bytes));
  return {
    body: ReadableStream.from(createReadStream(path)) as ReadableStream<Uint8Array>,
    duplex: "half",
  } as RequestInit;
}
