/**
 * An S3-compatible storage on loopback that takes nothing on trust: it computes the signature anew (Signature Version
 * 4), wants the sha256 and the length of what it is given, and compares both with the bytes.
 * {@link https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html}
 */
import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { parseRange } from "../../src/archive/blob-store.ts";

export interface S3StandIn {
  url: string;
  /** By path: `/bucket/name`. */
  objects: Map<string, Buffer>;
  /** Method and path of each call. */
  calls: string[];
  /** The next calls get these statuses, and nothing is done. */
  faults: number[];
}

export const ACCESS_KEY_ID = "AKIDEXAMPLE";
export const SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const REGION = "eu-central-1";

export async function startS3(): Promise<S3StandIn> {
  const objects = new Map<string, Buffer>();
  const calls: string[] = [];
  const faults: number[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => void chunks.push(chunk));
    request.on("end", () => {
      calls.push(`${request.method} ${request.url}`);
      const fault = faults.shift();
      if (fault !== undefined) return void response.writeHead(fault).end();
      const body = Buffer.concat(chunks);
      const wrong = faultOf(request, body);
      if (wrong !== null) return void response.writeHead(403).end(wrong);
      answer(objects, request, body, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, objects, calls, faults };
}

function answer(objects: S3StandIn["objects"], request: IncomingMessage, body: Buffer, response: ServerResponse) {
  const path = request.url ?? "";
  if (request.method === "PUT") {
    if (request.headers["content-length"] !== String(body.length)) return void response.writeHead(411).end();
    objects.set(path, body);
    return void response.writeHead(200).end();
  }
  if (request.method === "DELETE") {
    // As S3 does, also of what is not there.
    objects.delete(path);
    return void response.writeHead(204).end();
  }
  const object = objects.get(path);
  if (!object) return void response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
  const range = parseRange(request.headers.range ?? null, object.length);
  if (range === "none") return void response.writeHead(416).end();
  const part = range ? object.subarray(range.start, range.end + 1) : object;
  const more = range ? { "content-range": `bytes ${range.start}-${range.end}/${object.length}` } : {};
  response.writeHead(range ? 206 : 200, {
    ...more,
    "content-length": part.length,
    "content-type": "binary/octet-stream",
  });
  response.end(request.method === "HEAD" ? undefined : part);
}

const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();

/** What is wrong with a request's signature or body, or null. */
function faultOf(request: IncomingMessage, body: Buffer): string | null {
  const { headers, method = "", url = "" } = request;
  const given =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? "",
    );
  if (!given) return "no signature";
  const [, id, day = "", region = "", signed = "", signature] = given;
  const date = String(headers["x-amz-date"]);
  if (id !== ACCESS_KEY_ID || region !== REGION || !date.startsWith(day)) return "wrong credential";
  for (const name of ["host", "x-amz-content-sha256", "x-amz-date"]) {
    if (!signed.split(";").includes(name)) return `${name} is not signed`;
  }
  if (headers["x-amz-content-sha256"] !== sha256(body)) return "the body is not what was signed";
  const path = new URL(url, "http://s3").pathname;
  const lines = signed.split(";").map((name) => `${name}:${String(headers[name]).trim()}\n`);
  const canonical = [method, path, "", lines.join(""), signed, sha256(body)].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", date, scope, sha256(canonical)].join("\n");
  const key = hmac(hmac(hmac(hmac(`AWS4${SECRET_ACCESS_KEY}`, day), region), "s3"), "aws4_request");
  return hmac(key, text).toString("hex") === signature ? null : "the signature does not match";
}
