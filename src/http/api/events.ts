/**
 * `GET /v1/events`: runs and deliveries as they change, as server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Links } from "../../domain/report.ts";
import type { Runtime } from "../../platform/runtime.ts";
import type { ChangesPage } from "../../store/contract/changes.ts";
import type { DeliveryStore } from "../../store/contract/deliveries.ts";
import type { RunStore } from "../../store/contract/runs.ts";
import { badParameter, deliveryJson, problemAnswer, rowToReport, guarded } from "./schemas.ts";
import { problem } from "../problem.ts";
import { followChanges } from "../../store/history/follow.ts";
import { EVENT_STREAM, toStream, StreamPlaces } from "../stream.ts";

export interface EventsDeps {
  store: Pick<RunStore, "changes" | "lastChange" | "run"> & Pick<DeliveryStore, "delivery">;
  links: Links;
  runtime: Pick<Runtime, "sleep">;
  /** Aborts when the relay stops, which ends the streams. */
  stopping: AbortSignal;
}

/** The most streams open at one time. */
const MAX_STREAMS = 32;
const LOOK_MS = 250;
/** Proxies close a connection that is silent for a minute. */
const HEARTBEAT_MS = 15_000;
const PAGE_SIZE = 100;

const EXAMPLE = `retry: 1000

id: 6b1f0c92d4e7a3-4711
event: run
data: {"run_id":"tsk_v2_565346328529285494","status":"completed"}

id: 6b1f0c92d4e7a3-4712
event: delivery
data: {"id":"dlv_019bd1a2b3c400000a1b2c3d","sink":"finance","state":"delivered"}

: heartbeat

`;

/** An event id that this relay wrote: the name of the ring, and a number. Any other id belongs to another relay. */
const eventId = z
  .string()
  .regex(/^[\w-]{1,64}$/, "must be the id of an event, letters, digits and -")
  .optional();

const getEvents = guarded({
  operationId: "streamEvents",
  method: "get",
  path: "/events",
  summary: "Runs and deliveries as they change, as server-sent events",
  description:
    "`event: run` holds a run in the form of `GET /v1/runs`, as it is when the event is sent. `event: " +
    "delivery` holds a " +
    ("delivery in its new state: queued, after each attempt, dead or canceled. A client that returns with " +
      "`Last-Event-ID` ") +
    ("gets every later event once. Without it the stream begins now. `event: reset` comes first when the relay " +
      "no longer ") +
    ("knows that place (it was restarted, another process wrote to its database, or too much came since): read " +
      "the lists ") +
    "again; the stream continues from now.",
  request: {
    headers: z.object({
      "last-event-id": eventId.openapi({ type: "string", description: "The id of the last event that was seen." }),
    }),
    query: z.strictObject({
      last_event_id: eventId.openapi({
        type: "string",
        description: "The same as `Last-Event-ID`, for clients that cannot set a header.",
      }),
    }),
  },
  responses: {
    200: {
      description: "It does not end. A comment comes at least every 15 s.",
      content: { "text/event-stream": { schema: z.string(), example: EXAMPLE } },
    },
    ...badParameter,
    503: problemAnswer(`${MAX_STREAMS} streams are open already.`),
  },
});

export function mountEvents(app: OpenAPIHono, deps: EventsDeps): void {
  const places = new StreamPlaces(MAX_STREAMS);
  app.openapi(getEvents, async (c) => {
    if (places.isFull) {
      c.header("retry-after", "30");
      return problem(c, 503, `${MAX_STREAMS} event streams are open already.`);
    }
    const after = c.req.valid("header")["last-event-id"] ?? c.req.valid("query").last_event_id ?? null;
    const pieces = (signal: AbortSignal) => places.take(eventTexts(deps, after, signal));
    return c.body(toStream(pieces, AbortSignal.any([deps.stopping, c.req.raw.signal])), 200, {
      ...EVENT_STREAM,
      "cache-control": "no-store",
    });
  });
}

/** Yields the stream's text until the signal aborts. `last` is the id of the last event seen; null starts now. */
export async function* eventTexts(
  { store, links, runtime }: Omit<EventsDeps, "stopping">,
  last: string | null,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const after = last ?? store.lastChange();
  // An id without an event is remembered by the client, so a client that loses the stream before the first event misses
  // nothing.
  yield `retry: 1000\n${last === null ? `id: ${after}\n` : ""}\n`;
  const pages = followChanges(
    { store, runtime },
    { after, lookMs: LOOK_MS, heartbeatMs: HEARTBEAT_MS, limit: PAGE_SIZE },
    signal,
  );
  for await (const page of pages) {
    if (page === null) yield ": heartbeat\n\n";
    else if (!page.isKnown) yield `id: ${page.last}\n${reset("the changes since that event are no longer known")}`;
    for (const change of page?.changes ?? []) yield await eventText(change, { store, links });
  }
}

const reset = (reason: string): string => `event: reset\ndata: ${JSON.stringify({ reason })}\n\n`;

/** JSON contains no line ends, so it is one `data` line. A run or delivery that was removed since is skipped. */
async function eventText(
  { at, change }: ChangesPage["changes"][number],
  { store, links }: Pick<EventsDeps, "store" | "links">,
): Promise<string> {
  if (change.kind === "delivery") {
    const delivery = change.delivery ?? (await store.delivery(change.id));
    return delivery ? `id: ${at}\nevent: delivery\ndata: ${JSON.stringify(deliveryJson(delivery))}\n\n` : "";
  }
  const run = await store.run(change.id);
  return run ? `id: ${at}\nevent: run\ndata: ${JSON.stringify(rowToReport(run, links))}\n\n` : "";
}
