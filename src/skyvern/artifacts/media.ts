/** A run's pictures, recording and files as bytes, from Skyvern or else from the relay's own copies. */
import { remember } from "../../platform/rate-limit.ts";
import { mayPass } from "../api-call.ts";
import type { Log } from "../../platform/log.ts";
import type { Permit } from "../../net/http-client.ts";
import { EgressRefused } from "../../net/networks.ts";
import { followRedirects } from "../../net/redirects.ts";
import type { Artifact, ArtifactKey, Run } from "../../domain/run.ts";
import type { Fetch, Runtime } from "../../platform/runtime.ts";
import { isArtifactId, parseArtifactId } from "./artifact-url.ts";
import type { SkyvernClient } from "../client.ts";
import { resolveArtifactUrl, type ArtifactLocation } from "./artifact-link.ts";
import { BundleFault, isZip, openMember } from "./bundle.ts";
import { HEAD_BYTES, peek, readUpTo, typeOfBytes, type Bytes } from "./bytes.ts";
import { listIdOf, listRelevantArtifacts } from "./relevant-artifacts.ts";
import { withDeadline } from "../../platform/abortable.ts";

/** The relay's own copies of artifacts. */
export interface Copies {
  /** Status 200 or 206, or 416 without content; null when there is no copy. */
  open(runId: string, key: ArtifactKey, range: string | null): Promise<Response | null>;
  has(runId: string, key: ArtifactKey): Promise<boolean>;
}

export interface MediaDeps {
  client: SkyvernClient;
  /** The guarded fetch, because the URL is on a host that Skyvern named. */
  fetch: Fetch;
  /** Rejects where `fetch` would not go: no reader is sent there either. */
  permit: Permit;
  now: Runtime["now"];
  log: Log;
  copies?: Copies;
}

export interface MediaOptions {
  /** A `Range` header, passed on as it is. */
  range?: string | null;
  signal?: AbortSignal;
}

/**
 * `content`: status 200 or 206; the caller reads or cancels its body. `unsatisfiable`: the range holds nothing. `gone`:
 * it cannot be read, `temporary` when a later try may find it.
 */
export type Opened =
  | { kind: "content"; content: Response }
  | { kind: "unsatisfiable" }
  | { kind: "gone"; reason: string; temporary: boolean };

export type ReadResult =
  /** `type` is judged by the bytes, null for neither picture nor recording. */
  { kind: "bytes"; type: string | null; bytes: Buffer } | { kind: "too_large" } | { kind: "unavailable" };

/** A run with the artifacts that Skyvern lists for it. */
export interface Owner {
  run: Run;
  artifacts: readonly Artifact[];
}

export interface Media {
  /**
   * A URL to redirect a browser to. Null when it must be streamed, has a copy, or cannot be read, which `open` tells.
   */
  link(owner: Owner, key: ArtifactKey, signal?: AbortSignal): Promise<string | null>;
  /** The bytes as a stream, from Skyvern or the copies. Never throws for what the other side does. */
  open(owner: Owner, key: ArtifactKey, options?: MediaOptions): Promise<Opened>;
  /** The same, only from Skyvern. */
  fetch(owner: Owner, key: ArtifactKey, options?: MediaOptions): Promise<Opened>;
  /** All of its bytes, if there are at most `maxBytes`. */
  read(owner: Owner, key: ArtifactKey, maxBytes: number, signal: AbortSignal): Promise<ReadResult>;
}

/** A URL that expires within this time is not used any more. */
const MARGIN_MS = 60_000;
/** How long a location without an expiry is reused. */
const UNKNOWN_LIFE_MS = 60_000;
const MAX_KNOWN = 1_000;

/** Reads artifacts. It remembers for a while where each lies. */
export class LinkedMedia implements Media {
  readonly #deps: MediaDeps;
  readonly #known = new Map<string, { location: ArtifactLocation; until: number }>();

  constructor(deps: MediaDeps) {
    this.#deps = deps;
  }

  async link(owner: Owner, key: ArtifactKey, signal?: AbortSignal): Promise<string | null> {
    // Where a redirect leads, nobody sees whether all of the bytes come.
    if ((await this.#deps.copies?.has(owner.run.run_id, key)) === true) return null;
    const location = await this.#find(owner.run, key, signal);
    if (location.kind !== "redirect") return null;
    // Skyvern's type is that of the kind of artifact, whatever the bytes are (contract §4): a ZIP is no picture.
    if (isPicture(owner, key) && parseArtifactId(location.url) !== null) return null;
    return inBundle(owner, key) === null ? location.url : null;
  }

  /**
   * The bytes of an id never change, so their copy goes first: nothing that Skyvern or a storage sends can break off
   * behind its status. A place may hold something else by now, so Skyvern goes first there.
   */
  async open(owner: Owner, key: ArtifactKey, options: MediaOptions = {}): Promise<Opened> {
    if (isArtifactId(key)) return (await this.#openCopy(owner, key, options)) ?? this.fetch(owner, key, options);
    const opened = await this.fetch(owner, key, options);
    return opened.kind === "gone" ? ((await this.#openCopy(owner, key, options)) ?? opened) : opened;
  }

  /** A remembered URL may have died, so it is resolved again once. */
  async fetch(owner: Owner, key: ArtifactKey, options: MediaOptions = {}): Promise<Opened> {
    const name = cacheKey(owner.run, key);
    const wasKnown = this.#known.has(name);
    const opened = await this.#fetchOnce(owner, key, options);
    if (opened.kind !== "gone") return opened;
    this.#known.delete(name);
    return wasKnown && !options.signal?.aborted ? this.#fetchOnce(owner, key, options) : opened;
  }

  async read(owner: Owner, key: ArtifactKey, maxBytes: number, signal: AbortSignal): Promise<ReadResult> {
    try {
      const opened = await this.open(owner, key, { signal });
      if (opened.kind !== "content") return { kind: "unavailable" };
      const bytes = await readUpTo(opened.content, maxBytes);
      return bytes === null ? { kind: "too_large" } : { kind: "bytes", type: typeOfBytes(bytes), bytes };
    } catch {
      // The connection broke or the time was over while reading.
      return { kind: "unavailable" };
    }
  }

  async #fetchOnce(owner: Owner, key: ArtifactKey, options: MediaOptions): Promise<Opened> {
    const { run } = owner;
    const { signal } = options;
    const { client, copies } = this.#deps;
    const location = await this.#find(run, key, signal);
    if (location.kind === "gone") return location;
    const range = rangeFor(owner, key, options.range);
    const request = { ...(signal ? { signal } : {}), range };
    const opened =
      location.kind === "redirect"
        ? await fetchUrl(this.#deps, { run, key, url: location.url, ...request })
        : await stream(client, run, location.artifactId, request);
    if (opened.kind === "content" && isUselessPart(opened.content, range)) {
      await opened.content.body?.cancel();
      return range === undefined ? gone(BROKEN, true) : this.#fetchOnce(owner, key, { ...options, range: null });
    }
    const whole = isPicture(owner, key) || (!isArtifactId(key) && (await copies?.has(run.run_id, key)) === true);
    return begun(opened, { whole, member: () => nameInBundle(this.#deps, owner, key, signal) });
  }

  async #openCopy(owner: Owner, key: ArtifactKey, { range, signal }: MediaOptions): Promise<Opened | null> {
    const { copies } = this.#deps;
    const copy = (await copies?.open(owner.run.run_id, key, rangeFor(owner, key, range) ?? null)) ?? null;
    if (copy === null) return null;
    if (copy.status === 416) return { kind: "unsatisfiable" };
    const member = () => nameInBundle(this.#deps, owner, key, signal);
    const opened = await begun({ kind: "content", content: copy }, { whole: isPicture(owner, key), member });
    return opened.kind === "gone" ? null : opened;
  }

  async #find(run: Run, key: ArtifactKey, signal: AbortSignal | undefined): Promise<ArtifactLocation> {
    const { client, now } = this.#deps;
    const name = cacheKey(run, key);
    const kept = this.#known.get(name);
    if (kept && kept.until > now()) return kept.location;
    this.#known.delete(name);
    const found = await resolveArtifactUrl({ run, key, client, now, ...(signal ? { signal } : {}) });
    const location = await permitted(this.#deps, { run, key, location: found, ...(signal ? { signal } : {}) });
    const until = knownUntil(location, now());
    if (until > now()) remember(this.#known, name, { location, until }, MAX_KNOWN);
    return location;
  }
}

const cacheKey = (run: Run, key: ArtifactKey): string => JSON.stringify([run.run_id, key]);

function knownUntil(location: ArtifactLocation, now: number): number {
  if (location.kind === "gone") return now;
  if (location.kind === "stream" || location.expiresAt === null) return now + UNKNOWN_LIFE_MS;
  return location.expiresAt - MARGIN_MS;
}

/**
 * The type of a picture can be judged only from its start, and pictures are small, so they are always fetched whole. A
 * part of a ZIP is no part of its member. Of several ranges the parts would come in an envelope of their own.
 */
const rangeFor = (owner: Owner, key: ArtifactKey, range: string | null | undefined): string | undefined =>
  isPicture(owner, key) || inBundle(owner, key) !== null || !/^bytes=\d*-\d*$/.test(range ?? "")
    ? undefined
    : (range ?? undefined);

/** Its name in the ZIP in which Skyvern keeps it, as far as its row was stored; else null. */
const inBundle = ({ artifacts }: Owner, key: ArtifactKey): string | null =>
  artifacts.find(({ artifact_id }) => artifact_id === key)?.bundle ?? null;

/** Asks Skyvern where the stored row does not say it: a ZIP is no picture, and a download may well be one. */
async function nameInBundle(
  { client }: MediaDeps,
  owner: Owner,
  key: ArtifactKey,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const known = inBundle(owner, key);
  if (known !== null || !isPicture(owner, key)) return known;
  const { run } = owner;
  const listed = await listRelevantArtifacts(client.with({ organization: run.organization_id }), listIdOf(run), signal);
  return listed.ok ? (listed.rows.find(({ artifact_id }) => artifact_id === key)?.bundle_key ?? null) : null;
}

/** A part that nobody asked for, or of compressed bytes, which only the whole unpacks. */
const isUselessPart = ({ status, headers }: Response, range: string | undefined): boolean =>
  status === 206 && (range === undefined || headers.has("content-encoding"));

/** True when a key names a screenshot, by itself or in the run's lists. */
export const isPicture = ({ run, artifacts }: Owner, key: ArtifactKey): boolean =>
  /^screenshot-\d+$/.test(key) ||
  run.screenshots.includes(key) ||
  artifacts.some(({ artifact_id, type }) => artifact_id === key && type.startsWith("screenshot"));

interface UrlRequest {
  run: Run;
  key: ArtifactKey;
  url: string;
  range: string | undefined;
  signal?: AbortSignal;
}

/** Follows redirects, each hop by the guarded fetch and without Skyvern's key. */
async function fetchUrl({ fetch, log }: MediaDeps, request: UrlRequest): Promise<Opened> {
  const { run, key, range, signal } = request;
  try {
    const headers = { "accept-encoding": "identity", ...(range === undefined ? {} : { range }) };
    const answer = await followRedirects(new URL(request.url), (url) =>
      fetch(url, { redirect: "manual", headers, ...(signal ? { signal } : {}) }),
    );
    if (answer === null) return gone("Its storage redirects in a circle.", false);
    if (answer.status === 200 || answer.status === 206) return { kind: "content", content: answer };
    await answer.body?.cancel();
    return answer.status === 416
      ? { kind: "unsatisfiable" }
      : gone(`Its storage answered ${answer.status}.`, answer.status >= 500);
  } catch (error) {
    if (!(error instanceof EgressRefused)) return gone("Its storage did not answer.", true);
    // The operator should know where it points, but not whoever opens the link.
    log.warn("media.refused", { run_id: run.run_id, artifact: key, reason: error.reason });
    return gone(REFUSED, false);
  }
}

/** A name's addresses are known within this time, or the reader is not sent there. */
const PERMIT_TIMEOUT_MS = 5_000;

/**
 * The relay sends no reader to a URL to which it would not go itself: it streams Skyvern's own copy of the artifact, if
 * that has an id.
 */
async function permitted(
  { permit, log }: MediaDeps,
  { run, key, location, signal }: { run: Run; key: ArtifactKey; location: ArtifactLocation; signal?: AbortSignal },
): Promise<ArtifactLocation> {
  if (location.kind !== "redirect") return location;
  const { url } = location;
  try {
    await withDeadline(PERMIT_TIMEOUT_MS, signal, (inTime) => permit(url, inTime));
    return location;
  } catch (error) {
    const refused = error instanceof EgressRefused;
    if (refused) log.warn("media.refused", { run_id: run.run_id, artifact: key, reason: error.reason });
    const artifactId = isArtifactId(key) ? key : parseArtifactId(location.url);
    if (artifactId !== null) return { kind: "stream", artifactId };
    return { kind: "gone", reason: refused ? REFUSED : "Its storage did not answer.", temporary: !refused };
  }
}

const REFUSED = "It is at an address that the relay may not reach.";

interface Begin {
  /** A picture is read whole, because half of it is of no use. So is an artifact that a copy may replace. */
  whole: boolean;
  /** Its name in the ZIP, asked for where its bytes are one; null: it is the ZIP itself. */
  member?: () => Promise<string | null>;
}

/**
 * What was promised by its status, once its first bytes are there: a storage may break off, or say `gzip` of what is
 * none, and Skyvern may answer a member with its bundle. Of what is not read whole, what breaks off later ends the
 * answer.
 */
async function begun(opened: Opened, { whole, member = async () => null }: Begin): Promise<Opened> {
  if (opened.kind !== "content" || opened.content.body === null) return opened;
  try {
    const { body, status, headers } = await unpacked(opened.content, opened.content.body, member);
    const first = await peek(body, whole ? MAX_WHOLE_BYTES : HEAD_BYTES);
    // Compressed content is never empty, and decompression does not notice that all of it is missing.
    if (first.head.length === 0 && headers.has("content-encoding")) return gone(BROKEN, true);
    return { kind: "content", content: new Response(first.body, { status, headers }) };
  } catch (error) {
    return error instanceof BundleFault ? gone(error.message, false) : gone(BROKEN, true);
  }
}

/** What describes the ZIP and not its member. */
const OF_BUNDLE = ["content-length", "content-encoding", "etag", "accept-ranges", "content-range"];

async function unpacked(content: Response, whole: Bytes, member: () => Promise<string | null>) {
  const { status, headers } = content;
  const { head, body } = await peek(whole, HEAD_BYTES);
  const name = isZip(head) ? await member() : null;
  if (name === null) return { body, status, headers };
  const own = new Headers(headers);
  for (const header of OF_BUNDLE) own.delete(header);
  return { body: openMember(body, name), status: 200, headers: own };
}

const BROKEN = "Its bytes broke off, or are packed in a way that they do not say.";

/** No screenshot is larger. What is larger is passed on from this size. */
const MAX_WHOLE_BYTES = 10_000_000;

const gone = (reason: string, temporary: boolean): Opened => ({ kind: "gone", reason, temporary });

async function stream(
  client: SkyvernClient,
  run: Run,
  artifactId: string,
  { range, signal }: { range: string | undefined; signal?: AbortSignal },
): Promise<Opened> {
  const options = { ...(signal ? { signal } : {}), ...(range === undefined ? {} : { range }) };
  const content = await client.with({ organization: run.organization_id }).openContent(artifactId, options);
  if (content.ok) return { kind: "content", content: content.value };
  const { status, reason } = content.fault;
  return status === 416 ? { kind: "unsatisfiable" } : gone(reason, mayPass(content.fault));
}
