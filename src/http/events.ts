/** `GET /v1/events`: runs and deliveries as they change, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Links } from "../report.ts";
import type { Runtime } from "../runtime.ts";
import type { Store, StoredEvent } from "../store/store.ts";
import { badParameter, closed, deliveryJson, fault, reportOf, security } from "./api.ts";
import { problem } from "./problem.ts";
import { streamOf } from "../stream.ts";

export interface EventsParts {
  store: Pick<Store, "events" | "eventRange">;
  links: Links;
  runtime: Pick<Runtime, "sleep">;
  /** Aborts when the relay stops: streams end then. */
  stopping: AbortSignal;
}

/** Open at one time; each asks the database a few times a second. */
const MAX_STREAMS = 32;
const LOOK_MS = 250;
/** Proxies close what is silent for a minute. */
const HEARTBEAT_MS = 15_000;
const PAGE_SIZE = 100;

const EXAMPLE = `retry: 1000

id: 4711
event: run
data: {"run_id":"tsk_v2_565346328529285494","status":"completed"}

id: 4712
event: delivery
data: {"id":"dlv_019bd1a2b3c400000a1b2c3d","sink":"finance","state":"delivered"}

: heartbeat

`;

/** Of an event, written by us: a whole number. */
const eventId = z
  .string()
  .regex(/^\d{1,15}$/, "must be the id of an event, a whole number")
  .transform(Number)
  .optional();

const getEvents = createRoute({
  operationId: "streamEvents",
  method: "get",
  path: "/events",
  summary: "Runs and deliveries as they change, as server-sent events",
  description:
    "`event: run` holds a run as `GET /v1/runs` lists it, as it is when the event is sent. `event: delivery` holds a delivery as " +
    "it became: queued, after each attempt, dead or canceled. Ids count up; whoever comes back with `Last-Event-ID` gets " +
    "everything since, each event once. Without it the stream begins now. When what came since is not kept any more, or the " +
    "database is another, `event: reset` comes first: read the lists again; what is kept follows.",
  security,
  request: {
    headers: z.object({
      "last-event-id": eventId.openapi({ type: "string", description: "The id of the last event that was seen." }),
    }),
    query: z.strictObject({
      last_event_id: eventId.openapi({ type: "string", description: "The same, for whom a header is out of reach." }),
    }),
  },
  responses: {
    200: {
      description: "It does not end. A comment comes at least every 15 s.",
      content: { "text/event-stream": { schema: z.string(), example: EXAMPLE } },
    },
    ...badParameter,
    503: fault(`${MAX_STREAMS} streams are open already.`),
    ...closed,
  },
});

export function mountEvents(app: OpenAPIHono, parts: EventsParts): void {
  let open = 0;
  app.openapi(getEvents, async (c) => {
    if (open >= MAX_STREAMS) {
      c.header("retry-after", "30");
      return problem(c, 503, `${MAX_STREAMS} event streams are open already.`);
    }
    const after = c.req.valid("header")["last-event-id"] ?? c.req.valid("query").last_event_id ?? null;
    // Counted once it is read: a HEAD, or a client that went at once, never gets so far.
    const pieces = async function* (signal: AbortSignal) {
      open += 1;
      try {
        yield* eventTexts(parts, after, signal);
      } finally {
        open -= 1;
      }
    };
    return c.body(streamOf(pieces, AbortSignal.any([parts.stopping, c.req.raw.signal])), 200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      // The connection ends with the stream: a relay that stops need not wait for it.
      connection: "close",
      // nginx would keep them back.
      "x-accel-buffering": "no",
    });
  });
}

/** The stream's text, piece by piece, until the signal aborts. `last`: the id of the last event seen; null begins now. */
export async function* eventTexts(
  { store, links, runtime }: Omit<EventsParts, "stopping">,
  last: number | null,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const range = await store.eventRange();
  let after = last ?? range.last;
  // An id alone is no event, but is remembered: who loses the stream before the first event misses nothing.
  yield `retry: 1000\n${last === null ? `id: ${after}\n` : ""}\n`;
  if (after > range.last) {
    yield reset("the relay never sent that event: its database is another");
    after = Math.max(0, range.first - 1);
  }
  let silentMs = 0;
  while (!signal.aborted) {
    const page = await store.events({ after, limit: PAGE_SIZE });
    // Ids have no gaps but what was forgotten.
    if (page.first !== null && page.first > after + 1) yield reset("events since then are not kept any more");
    after = page.last;
    if (page.events.length > 0) {
      silentMs = 0;
      yield page.events.map((event) => eventText(event, links)).join("");
      continue;
    }
    if (silentMs >= HEARTBEAT_MS) {
      silentMs = 0;
      yield ": heartbeat\n\n";
    }
    await runtime.sleep(LOOK_MS, signal);
    silentMs += LOOK_MS;
  }
}

const reset = (reason: string): string => `event: reset\ndata: ${JSON.stringify({ reason })}\n\n`;

/** JSON has no line ends of its own, so it is one `data` line. */
function eventText(event: StoredEvent, links: Links): string {
  const data = event.kind === "run" ? reportOf(event.run, links) : deliveryJson(event.delivery);
  return `id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(data)}\n\n`;
}
