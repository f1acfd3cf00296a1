/**
 * `GET /live`: notifies an open page of changes, as server-sent events. The script then reads the changes from the page
 * itself.
 */
import { getCookie } from "hono/cookie";
import { followChanges } from "../store/history/follow.ts";
import { EVENT_STREAM, toStream, StreamPlaces } from "../http/stream.ts";
import { HEADERS } from "./layout.ts";
import type { PageContext, WebDeps } from "./page-context.ts";

/** The most streams open at one time. */
const MAX_STREAMS = 64;
const LOOK_MS = 1_000;
/** Proxies close a connection that is silent for a minute. */
const HEARTBEAT_MS = 20_000;
/** How long a stream lives. The browser then reconnects, and its session is checked again. */
const LIFE_MS = 600_000;
const PAGE_SIZE = 1_000;

export function mountLive({ web, deps, reading, sessions, cookieName }: PageContext): void {
  const places = new StreamPlaces(MAX_STREAMS);
  web.get("/live", ...reading, (c) => {
    const after = c.req.header("last-event-id") ?? c.req.query("after") ?? null;
    // "No Content" tells a browser not to reconnect.
    if (after === null || places.isFull) return c.body(null, 204, HEADERS);
    const run = c.req.query("run") ?? null;
    const cookie = getCookie(c, cookieName);
    const isOver = async () => (await sessions.read(cookie)) === null;
    const pieces = (signal: AbortSignal) => places.take(changeTexts(deps, { after, run, signal, isOver }));
    const ends = AbortSignal.any([deps.stopping, c.req.raw.signal, AbortSignal.timeout(LIFE_MS)]);
    return c.body(toStream(pieces, ends), 200, { ...HEADERS, ...EVENT_STREAM });
  });
}

interface FollowInput {
  /** The id of the last change that the page shows. */
  after: string;
  /** Follows only this run. */
  run: string | null;
  signal: AbortSignal;
  /** Whether the session has ended that the stream was opened with. */
  isOver(): Promise<boolean>;
}

async function* changeTexts(
  { store, runtime }: Pick<WebDeps, "store" | "runtime">,
  { after, run, signal, isOver }: FollowInput,
): AsyncGenerator<string, void> {
  yield `retry: 3000\n\n`;
  const pages = followChanges(
    { store, runtime },
    { after, lookMs: LOOK_MS, heartbeatMs: HEARTBEAT_MS, limit: PAGE_SIZE },
    signal,
  );
  let last = after;
  for await (const page of pages) {
    if (await isOver()) return;
    last = page?.last ?? last;
    // The id is no longer known, so the page may show outdated data.
    const isNews =
      page !== null &&
      (!page.isKnown ||
        page.changes.some(
          ({ change }) =>
            run === null || (change.kind === "run" ? change.id : (change.delivery?.run_id ?? run)) === run,
        ));
    if (isNews) yield `event: changed\nid: ${last}\ndata: 1\n\n`;
    // The id is remembered without an event, so a reader that returns does not get changes of other runs again.
    else if (page === null) yield `id: ${last}\n: heartbeat\n\n`;
  }
}
