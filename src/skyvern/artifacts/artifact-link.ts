/**
 * Resolves a URL for an artifact that works at this moment. URLs die within an hour, so a link in a message is resolved
 * when somebody clicks it.
 */
import { isJsonObject, type Json, type JsonObject } from "../../platform/json.ts";
import type { ArtifactKey, Run } from "../../domain/run.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { parseArtifactId, parseExpiry, isArtifactId, parseWebUrl } from "./artifact-url.ts";
import type { SkyvernClient } from "../client.ts";
import { mayPass, type SkyvernFault } from "../api-call.ts";
import { listIdOf, listRelevantArtifacts } from "./relevant-artifacts.ts";

/**
 * Where an artifact can be read right now. `redirect`: an http(s) URL that needs no key, dead at `expiresAt` (epoch
 * milliseconds, null when unknown). `stream`: only the relay can read it, by {@link SkyvernClient.openContent}. `gone`:
 * it cannot be read; `temporary` when a later try may find it.
 */
export type ArtifactLocation =
  | { kind: "redirect"; url: string; expiresAt: number | null }
  | { kind: "stream"; artifactId: string }
  | { kind: "gone"; reason: string; temporary: boolean };

export interface ResolveRequest {
  run: Run;
  key: ArtifactKey;
  client: SkyvernClient;
  now: Runtime["now"];
  signal?: AbortSignal;
}

/**
 * Resolves a fresh URL for one artifact of a run. Never throws for what Skyvern answers, and returns no other scheme.
 */
export function resolveArtifactUrl(request: ResolveRequest): Promise<ArtifactLocation> {
  const resolving = { ...request, client: request.client.with({ organization: request.run.organization_id }) };
  if (isArtifactId(resolving.key)) return resolveById(resolving, resolving.key);
  const place = PLACE.exec(resolving.key);
  if (!place) return Promise.resolve(gone("The link names no artifact."));
  return resolveByPlace(resolving, place[1] ?? "recording", Number(place[2] ?? 1));
}

const PLACE = /^(?:recording|(screenshot|file)-([1-9]\d{0,3}))$/;

const gone = (reason: string): ArtifactLocation => ({ kind: "gone", reason, temporary: false });
const goneBy = (fault: SkyvernFault): ArtifactLocation => ({
  kind: "gone",
  reason: fault.reason,
  temporary: mayPass(fault),
});

/** `fresh` is a URL that Skyvern gave just now, used when Skyvern lacks the signed-url call. */
async function resolveById(
  resolving: ResolveRequest,
  id: string,
  fresh: string | null = null,
): Promise<ArtifactLocation> {
  const signed = await resolving.client.signedUrl(id, resolving.signal);
  if (signed.ok) return handOut(resolving, id, signed.value.url, signed.value.expiresAt);
  const { fault } = signed;
  // 404: Skyvern is older than v1.0.47, or has no such artifact; 503: it has no signing keys.
  if (fault.status !== 404 && fault.status !== 503) return goneBy(fault);
  if (fresh !== null) return handOut(resolving, id, fresh);
  return resolveFromLists(resolving, id);
}

/** Looks the artifact up in the run's list, then in the run itself, and finally asks for its first byte. */
async function resolveFromLists(resolving: ResolveRequest, id: string): Promise<ArtifactLocation> {
  const listed = await listRelevantArtifacts(resolving.client, listIdOf(resolving.run), resolving.signal);
  const row = listed.ok ? listed.rows.find(({ artifact_id }) => artifact_id === id) : undefined;
  if (row?.archived === true) return gone(ARCHIVED);
  if (row) return handOut(resolving, id, row.signed_url ?? "");
  const run = await resolving.client.getRun(resolving.run.run_id, resolving.signal);
  const url = run.ok ? urlOfArtifact(run.value, id) : null;
  if (url !== null) return handOut(resolving, id, url);
  const probe = await resolving.client.openContent(id, {
    range: "bytes=0-0",
    ...(resolving.signal ? { signal: resolving.signal } : {}),
  });
  // 416: the artifact exists and is empty.
  if (!probe.ok) return probe.fault.status === 416 ? { kind: "stream", artifactId: id } : goneBy(probe.fault);
  await probe.value.body?.cancel();
  return { kind: "stream", artifactId: id };
}

const ARCHIVED = "Skyvern archived it: its bytes cannot be had through the API.";

async function resolveByPlace(resolving: ResolveRequest, place: string, n: number): Promise<ArtifactLocation> {
  const run = await resolving.client.getRun(resolving.run.run_id, resolving.signal);
  if (!run.ok) return goneBy(run.fault);
  if (place === "recording" && run.value["recording_archived"] === true) return gone(ARCHIVED);
  const { url, id } = atPlace(run.value, place, n);
  if (id !== null) return resolveById(resolving, id, url);
  if (url === null) return gone(`Skyvern's run no longer names a ${place === "recording" ? place : `${place} ${n}`}.`);
  const web = parseWebUrl(url);
  if (web) return { kind: "redirect", url: web.href, expiresAt: parseExpiry(url) };
  return resolveLocal(resolving, place, url);
}

/** A `file:` URL points to Skyvern's own disk; the list may have the same file under an id. */
async function resolveLocal(resolving: ResolveRequest, place: string, uri: string): Promise<ArtifactLocation> {
  const listed = await listRelevantArtifacts(resolving.client, listIdOf(resolving.run), resolving.signal);
  if (!listed.ok) return goneBy(listed.fault);
  const rows = listed.rows.filter(({ artifact_type }) => (TYPES_AT[place] ?? []).includes(artifact_type));
  const row =
    rows.find((row) => row.uri === uri) ??
    rows.find((row) => lastSegment(row.uri ?? "") === lastSegment(uri)) ??
    (place === "recording" ? rows.at(-1) : undefined);
  if (!row) return gone("Skyvern keeps it on its own disk and lists no artifact for it.");
  return row.archived === true ? gone(ARCHIVED) : { kind: "stream", artifactId: row.artifact_id };
}

const TYPES_AT: Record<string, readonly string[]> = {
  recording: ["recording"],
  screenshot: ["screenshot_action", "screenshot_final"],
  file: ["download", "pdf"],
};

const lastSegment = (uri: string): string => uri.slice(uri.lastIndexOf("/") + 1);

/** Redirects to a URL that a browser can open; anything else is streamed. */
function handOut(resolving: ResolveRequest, id: string, url: string, said: number | null = null): ArtifactLocation {
  const web = parseWebUrl(url);
  const expiresAt = said ?? parseExpiry(url);
  const dead = expiresAt !== null && expiresAt <= resolving.now();
  if (!web || dead || isForeign(web, resolving.client.origin)) return { kind: "stream", artifactId: id };
  return { kind: "redirect", url: web.href, expiresAt };
}

/**
 * A self-hosted Skyvern without its own address configured signs URLs of the cloud's host, which does not know them
 * (contract §5).
 */
const isForeign = (url: URL, origin: string): boolean =>
  isCloud(url.hostname) && !isCloud(new URL(origin).hostname) && parseArtifactId(url.href) !== null;

const isCloud = (hostname: string): boolean => hostname === "skyvern.com" || hostname.endsWith(".skyvern.com");

/** What GET run holds for a place: its URL and, where there is one, the artifact's id. */
function atPlace(run: JsonObject, place: string, n: number): { url: string | null; id: string | null } {
  if (place === "recording") return urlAndId(run["recording_url"], null);
  const list = run[place === "screenshot" ? "screenshot_urls" : "downloaded_files"];
  const item = Array.isArray(list) ? list[n - 1] : null;
  return isJsonObject(item) ? urlAndId(item["url"], item["artifact_id"]) : urlAndId(item, null);
}

function urlAndId(url: Json | undefined, id: Json | undefined): { url: string | null; id: string | null } {
  const text = typeof url === "string" && url !== "" ? url : null;
  const given = typeof id === "string" && isArtifactId(id) ? id : null;
  return { url: text, id: given ?? (text === null ? null : parseArtifactId(text)) };
}

function urlOfArtifact(run: JsonObject, id: string): string | null {
  const lists = [run["screenshot_urls"], run["downloaded_files"]].map((list) =>
    Array.isArray(list) ? list.length : 0,
  );
  const places: [string, number][] = [
    ["recording", 1],
    ...Array.from({ length: lists[0] ?? 0 }, (_, index): [string, number] => ["screenshot", index + 1]),
    ...Array.from({ length: lists[1] ?? 0 }, (_, index): [string, number] => ["file", index + 1]),
  ];
  const found = places.map(([place, n]) => atPlace(run, place, n)).find((item) => item.id === id);
  return found?.url ?? null;
}
