/** The bytes of artifacts. */
import { timingSafeEqual } from "node:crypto";
import type { StandInAnswer, StandInArtifact, StandInCall } from "./model.ts";
import type { SkyvernState } from "./state.ts";
import { authorize, detail } from "./answer.ts";
import { bytesOf, findArtifact, sign } from "./artifacts.ts";

/** Serves bytes to a key, or to a signature that has not expired. */
export function content(state: SkyvernState, call: StandInCall, id: string): StandInAnswer {
  const { query, headers } = call;
  if (headers["x-api-key"] === undefined && query.has("sig")) {
    if (state.storage === "local") return detail(503, "Artifact URL signing is not configured");
    if (!isSigned(state, id, query)) return detail(403, "Invalid or expired artifact URL");
  } else {
    const organization = authorize(state, call);
    if (typeof organization !== "string") return organization;
  }
  const artifact = findArtifact(state.runs.values(), id)?.artifact;
  if (!artifact || artifact.archived === true) return detail(404, `Artifact not found ${id}`);
  return ranged(bytesOf(artifact), contentHeaders(artifact), headers.range);
}

function isSigned(state: SkyvernState, id: string, query: URLSearchParams): boolean {
  const expiry = Number(query.get("expiry"));
  const given = Buffer.from(query.get("sig") ?? "");
  const right = Buffer.from(sign(id, expiry));
  return given.length === right.length && timingSafeEqual(given, right) && expiry * 1000 > state.now();
}

/** The content type follows the kind of artifact, not its bytes (contract §4). */
function contentHeaders(artifact: StandInArtifact): Record<string, string> {
  const name = artifact.filename ?? artifact.artifact_id;
  if (artifact.artifact_type === "download") {
    return {
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(name)}`,
    };
  }
  if (/^screenshot_(llm|action|final)$/.test(artifact.artifact_type)) return { "content-type": "image/png" };
  if (/^(browser_console|skyvern)_log$/.test(artifact.artifact_type))
    return { "content-type": "text/plain; charset=utf-8" };
  if (artifact.artifact_type !== "recording") return { "content-type": "application/json" };
  const isWebm = Buffer.from(bytesOf(artifact)).subarray(0, 4).toString("hex") === "1a45dfa3";
  return { "content-type": isWebm ? "video/webm" : "video/mp4" };
}

function ranged(bytes: Uint8Array, headers: Record<string, string>, range: string | undefined): StandInAnswer {
  const all = { ...headers, "accept-ranges": "bytes" };
  const match = /^bytes=(\d*)-(\d*)$/.exec(range ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return { status: 200, headers: all, body: bytes };
  const size = bytes.byteLength;
  const start = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (start > end) return { status: 416, headers: { ...all, "content-range": `bytes */${size}` }, body: "" };
  const contentRange = { "content-range": `bytes ${start}-${end}/${size}` };
  return { status: 206, headers: { ...all, ...contentRange }, body: bytes.subarray(start, end + 1) };
}
