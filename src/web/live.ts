/** `GET /live`: tells an open page that something changed, as server-sent events. What, it reads from the page itself. */
import { streamOf } from "../stream.ts";
import { HEADERS } from "./layout.ts";
import type { Kit, WebParts } from "./kit.ts";

/** Open at one time; each asks the database once a second. */
const MAX_STREAMS = 64;
const LOOK_MS = 1_000;
/** Proxies close what is silent for a minute. */
const HEARTBEAT_MS = 20_000;
/** A browser comes back by itself, and is asked for its session anew. */
const LIFE_MS = 600_000;
const PAGE_SIZE = 1_000;

export function mountLive({ web, parts, reading }: Kit): void {
  let open = 0;
  web.get("/live", ...reading, (c) => {
    const after = numberOf(c.req.header("last-event-id")) ?? numberOf(c.req.query("after"));
    // "No Content" tells a browser not to come again.
    if (after === null || open >= MAX_STREAMS) return c.body(null, 204, HEADERS);
    const run = c.req.query("run") ?? null;
    // Counted once it is read: a HEAD, or a browser that went at once, never gets so far.
    const pieces = async function* (signal: AbortSignal) {
      open += 1;
      try {
        yield* changeTexts(parts, { after, run, signal });
      } finally {
        open -= 1;
      }
    };
    return c.body(streamOf(pieces, AbortSignal.any([parts.stopping, c.req.raw.signal])), 200, {
      ...HEADERS,
      "content-type": "text/event-stream",
      // The connection ends with the stream: a relay that stops need not wait for it.
      connection: "close",
      // nginx would keep events back.
      "x-accel-buffering": "no",
    });
  });
}

interface Follow {
  /** Id of the last event that the page already shows. */
  after: number;
  /** Only what happens to this run. */
  run: string | null;
  signal: AbortSignal;
}

async function* changeTexts(
  { store, runtime }: Pick<WebParts, "store" | "runtime">,
  { after, run, signal }: Follow,
): AsyncGenerator<string, void> {
  // Of another database, or of one that was restored: from now on.
  let last = Math.min(after, (await store.eventRange()).last);
  yield `retry: 3000\nid: ${last}\n\n`;
  let silentMs = 0;
  for (let lifeMs = 0; lifeMs < LIFE_MS && !signal.aborted; lifeMs += LOOK_MS) {
    const changes = await store.changes({ after: last, limit: PAGE_SIZE });
    last = changes.last;
    if (run === null ? changes.runIds.length > 0 : changes.runIds.includes(run)) {
      silentMs = 0;
      yield `event: changed\nid: ${last}\ndata: 1\n\n`;
    } else if (silentMs >= HEARTBEAT_MS) {
      silentMs = 0;
      // The id is remembered though it is no event: whoever comes back need not hear again what was nothing to them.
      yield `id: ${last}\n: heartbeat\n\n`;
    }
    await runtime.sleep(LOOK_MS, signal);
    silentMs += LOOK_MS;
  }
}

const numberOf = (text: string | undefined): number | null => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : null);
