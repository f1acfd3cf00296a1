import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { eventTexts, type EventsDeps } from "../../src/http/api/events.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { openDatabase } from "../../src/store/open.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import { aDelivery } from "../support/a-run.ts";
import { aFolder, anApp, aListeningApp, TOKEN, type TestApp } from "../support/app.ts";
import { anEventStream, type EventStream, type StreamEvent } from "../support/event-stream.ts";
import { mutated } from "../support/fixtures.ts";
import { until } from "../support/until.ts";

const aRun = (id: string, values: Record<string, unknown> = {}): string =>
  JSON.stringify({ run_id: id, status: "completed", ...values });
const bearer = { authorization: `Bearer ${TOKEN}` };
const shown = ({ event, data }: StreamEvent): string => {
  const { run_id, status, sink, state } = data as Record<string, string>;
  return event === "run" ? `run ${run_id} ${status}` : `delivery ${run_id} ${sink} ${state}`;
};
const idsOf = (events: StreamEvent[]): string[] => events.map(({ id }) => id);
/** The next event that is shown so. */
const shownOf = async (stream: EventStream, beginning: string): Promise<string> => {
  for (;;) {
    const text = shown(await stream.next());
    if (text.startsWith(beginning)) return text;
  }
};
const RESET = { reason: expect.stringContaining("no longer known") as string };

describe("GET /v1/events", () => {
  it("GET /v1/events sends runs and deliveries as they change, in the JSON of the API", async () => {
    const relay = await aListeningApp({}, { standIns: ["http"] });
    const stream = await anEventStream(`${relay.url}/v1/events`);
    expect([stream.status, stream.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    await relay.webhook(aRun("tsk_1"));

    const events: StreamEvent[] = [];
    while (!events.some((event) => shown(event).endsWith("delivered"))) events.push(await stream.next());

    expect(events.map(shown)).toEqual(
      expect.arrayContaining(["run tsk_1 completed", "delivery tsk_1 http pending", "delivery tsk_1 http delivered"]),
    );
    const run = events.findLast(({ event }) => event === "run")?.data;
    expect((await relay.read<{ data: JsonObject[] }>("/v1/runs")).data).toEqual([run]);
    const delivery = events.at(-1)?.data;
    expect((await relay.read<{ data: JsonObject[] }>("/v1/deliveries")).data).toEqual([delivery]);
  });

  it("a client that drops its stream of events again and again misses nothing and sees nothing twice", async () => {
    const relay = await aListeningApp({}, { standIns: ["http"] });
    const control = await anEventStream(`${relay.url}/v1/events`);
    const url = `${relay.url}/v1/events`;
    const seen: StreamEvent[] = [];
    let stream: EventStream = await anEventStream(url);
    const sending = (async () => {
      for (let i = 0; i < 30; i++) await relay.webhook(aRun(`tsk_${i}`));
    })();
    const isDone = (events: StreamEvent[]) =>
      events.filter((event) => shown(event).endsWith("http delivered")).length === 30;
    for (let n = 1; !isDone(seen); n += 1) {
      for (let left = 1 + ((n * 7) % 23); left > 0 && !isDone(seen); left -= 1) seen.push(await stream.next());
      const { id } = seen.at(-1) as StreamEvent;
      stream.close();
      stream = await anEventStream(url, { lastEventId: id });
    }
    await sending;

    const whole = await control.take(seen.length);
    expect(idsOf(seen)).toEqual(idsOf(whole));
    expect(new Set(idsOf(seen)).size).toBe(seen.length);
    expect(seen.filter(({ event }) => event === "delivery")).toEqual(whole.filter(({ event }) => event === "delivery"));
    for (let i = 0; i < 30; i++) expect(seen.map(shown)).toContain(`run tsk_${i} completed`);
  });

  it("a client whose stream of events breaks at any moment misses nothing and sees nothing twice", async () => {
    const relay = await aListeningApp();
    const url = `${relay.url}/v1/events`;
    const control = await anEventStream(url);
    const chance = fc.sample(fc.integer({ min: 0, max: 40 }), { numRuns: 200, seed: 4711 });
    const seen: StreamEvent[] = [];
    let stream = await anEventStream(url);
    await until("both know where they begin", () => control.lastEventId !== "" && stream.lastEventId !== "");
    // Texts of many lengths: the stream breaks within events, too.
    const sending = (async () => {
      for (let i = 0; i < 60; i++) {
        await relay.webhook(aRun(`tsk_${i}`, { output: "x".repeat((chance[i] ?? 0) * 2_000) }));
        await pause(chance[i] ?? 0);
      }
    })();
    for (let n = 60; seen.length < 60; n += 1) {
      await pause(chance[n % chance.length] ?? 0);
      stream.close();
      await stream.ended;
      // Whatever came whole before the end was seen.
      for (let event = stream.taken(); event !== undefined; event = stream.taken()) seen.push(event);
      stream = await anEventStream(url, { lastEventId: stream.lastEventId });
    }
    await sending;

    const whole = await control.take(60);
    expect(idsOf(seen)).toEqual(idsOf(whole));
    expect(seen.map(shown)).toEqual(whole.map(shown));
  });

  it("a client that lost its stream before the first event misses nothing", async () => {
    const relay = await aListeningApp();
    await relay.webhook(aRun("tsk_before"));
    const stream = await anEventStream(`${relay.url}/v1/events`);
    await until("the stream said where it begins", () => stream.lastEventId !== "");
    stream.close();
    await relay.webhook(aRun("tsk_between"));

    const again = await anEventStream(`${relay.url}/v1/events`, { lastEventId: stream.lastEventId });

    expect(shown(await again.next())).toBe("run tsk_between completed");
  });

  it("GET /v1/events takes the last id from the address, too", async () => {
    const relay = await aListeningApp();
    await relay.webhook(aRun("tsk_1"));
    const last = relay.app.store.lastChange();
    await relay.webhook(aRun("tsk_2"));
    const stream = await anEventStream(`${relay.url}/v1/events?last_event_id=${last}`);
    expect(shown(await stream.next())).toBe("run tsk_2 completed");
  });

  it("GET /v1/events without an id begins with what comes", async () => {
    const relay = await aListeningApp();
    await relay.webhook(aRun("tsk_1"));
    const stream = await anEventStream(`${relay.url}/v1/events`);
    await until("the stream has begun", () => stream.lastEventId !== "");
    await relay.webhook(aRun("tsk_2"));
    expect(shown(await stream.next())).toBe("run tsk_2 completed");
  });

  it.each(["4711", "6b1f0c92d4e7a3-4711", "x"])(
    "GET /v1/events sends a reset first when it does not know the id %s, and goes on from there",
    async (lastEventId) => {
      const relay = await aListeningApp();
      await relay.webhook(aRun("tsk_1"));
      const stream = await anEventStream(`${relay.url}/v1/events`, { lastEventId });
      const reset = await stream.next();
      expect([reset.event, reset.data]).toEqual(["reset", RESET]);
      await relay.webhook(aRun("tsk_2"));
      expect(shown(await stream.next())).toBe("run tsk_2 completed");
      stream.close();
      // The reset has an id of its own: whoever loses the stream right after it misses nothing.
      const again = await anEventStream(`${relay.url}/v1/events`, { lastEventId: reset.id });
      expect(shown(await again.next())).toBe("run tsk_2 completed");
    },
  );

  it("GET /v1/events sends a reset first to a client that comes back after a restart", async () => {
    const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
    const before = await aListeningApp(env);
    const first = await anEventStream(`${before.url}/v1/events`);
    await until("the stream has begun", () => first.lastEventId !== "");
    await before.webhook(aRun("tsk_1"));
    const { id } = await first.next();
    await before.stop();
    const relay = await aListeningApp(env);
    const stream = await anEventStream(`${relay.url}/v1/events`, { lastEventId: id });
    expect(await stream.next()).toMatchObject({ event: "reset", data: RESET });
    await relay.webhook(aRun("tsk_2"));
    expect(shown(await stream.next())).toBe("run tsk_2 completed");
  });

  it("GET /v1/events sends a reset to open streams when another process wrote to the database, and goes on", async () => {
    const { kind, path } = { kind: "sqlite" as const, path: join(aFolder(), "relay.db") };
    const relay = await aListeningApp({ DATABASE_URL: `sqlite:${path}` }, { standIns: ["http"] });
    const streams = [await anEventStream(`${relay.url}/v1/events`), await anEventStream(`${relay.url}/v1/events`)];
    await until("both streams have begun", () => streams.every(({ lastEventId }) => lastEventId !== ""));
    await relay.webhook(aRun("tsk_1"));
    for (const stream of streams) while (!shown(await stream.next()).endsWith("delivered"));

    const beside = createSqlStore(await openDatabase({ kind, path }, "beside"));
    await beside.redeliver("tsk_1", [{ id: "dlv_z", sink: "http", kind: "http", cause: "redelivery" }], Date.now());
    await beside.close();

    for (const stream of streams) expect(await stream.next()).toMatchObject({ event: "reset", data: RESET });
    await relay.webhook(aRun("tsk_2"));
    for (const stream of streams) expect(await shownOf(stream, "run tsk_2")).toBe("run tsk_2 completed");
  });

  it("GET /v1/events keeps output that would break the format in one line", async () => {
    const relay = await aListeningApp();
    const stream = await anEventStream(`${relay.url}/v1/events`);
    await until("the stream has begun", () => stream.lastEventId !== "");
    const summary = "one\n\nid: 99\nevent: run\rdata: x\u2028: y";
    await relay.webhook(mutated("task_v2.completed", { summary }));
    expect((await stream.next()).data).toMatchObject({ summary });
    expect(stream.lastEventId).toBe(relay.app.store.lastChange());
  });

  it("a stream of events ends when the relay stops", async () => {
    const relay = await aListeningApp();
    const stream = await anEventStream(`${relay.url}/v1/events`);
    // Without timers no connection is closed by force.
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    await relay.stop();
    await stream.ended;
  });

  it("GET /v1/events is refused beyond 32 streams, and taken again when one has gone", async () => {
    const relay = await anApp();
    const open = async () => relay.app.fetch(new Request("http://relay.test/v1/events", { headers: bearer }));
    const streams = await Promise.all(Array.from({ length: 32 }, open));
    const readers = streams.flatMap((response) => response.body?.getReader() ?? []);
    await Promise.all(readers.map((reader) => reader.read()));

    const refused = await open();

    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "30"]);
    expect(await refused.json()).toMatchObject({ status: 503 });
    await readers[0]?.cancel();
    const letIn = await open();
    expect(letIn.status).toBe(200);
    await letIn.body?.cancel();
    await Promise.all(readers.map((reader) => reader.cancel()));
  });

  it("a stream of events that no client reads takes none of the 32 places", async () => {
    const relay = await anApp();
    const head = () => relay.app.fetch(new Request("http://relay.test/v1/events", { method: "HEAD", headers: bearer }));
    for (let n = 0; n < 40; n++) expect((await head()).status).toBe(200);
  });

  it.each(["1.5", "", "a b", "x".repeat(65)])(
    "GET /v1/events answers 400 to the Last-Event-ID %j and names it",
    async (id) => {
      const relay = await anApp();
      const answer = await relay.get("/v1/events", { "last-event-id": id });
      const { errors } = answer.json<{ errors: { parameter: string }[] }>();
      expect([answer.status, errors.map(({ parameter }) => parameter)]).toEqual([400, ["last-event-id"]]);
    },
  );

  it("GET /v1/events needs the token", async () => {
    const relay = await anApp();
    expect((await relay.get("/v1/events", { authorization: "" })).status).toBe(401);
  });
});

describe("a stream's text", () => {
  const links = { run: (id: string) => id, artifact: (id: string) => id };

  /** The pieces of a stream over a real store, on a clock on which a sleep passes at once. */
  async function pieces(relay: TestApp, last: string | null, sleep: EventsDeps["runtime"]["sleep"] = async () => {}) {
    const gone = new AbortController();
    const parts = { store: relay.app.store, links, runtime: { sleep } };
    return { texts: eventTexts(parts, last, gone.signal), gone };
  }

  it("a stream of events has a comment at least every 15 s while nothing happens", async () => {
    const relay = await anApp();
    let slept = 0;
    const { texts } = await pieces(relay, null, async (ms) => void (slept += ms));
    await texts.next();
    for (let n = 1; n <= 3; n++) {
      expect((await texts.next()).value).toBe(": heartbeat\n\n");
      expect(slept).toBeLessThanOrEqual(n * 15_000);
    }
  });

  it("a stream of events sends a reset when more changes came than are remembered, and another when it happens again", async () => {
    const relay = await anApp();
    const { store } = relay.app;
    await relay.webhook(aRun("tsk_1"));
    let made = 0;
    /** More changes than are remembered. */
    const overtake = async (): Promise<void> => {
      for (let i = 0; i < 12; i++) {
        const fresh = Array.from({ length: 1_000 }, () => aDelivery(`dlv_${(made += 1)}`, "nobody"));
        await store.redeliver("tsk_1", fresh, 5);
      }
    };
    const { texts } = await pieces(relay, store.lastChange());
    const next = async () => ((await texts.next()).value ?? "").split("\n").slice(0, 2);
    await texts.next();
    await overtake();
    expect(await next()).toEqual([`id: ${store.lastChange()}`, "event: reset"]);
    await relay.webhook(aRun("tsk_2"));
    expect(await next()).toEqual([`id: ${store.lastChange()}`, "event: run"]);
    await overtake();
    expect(await next()).toEqual([`id: ${store.lastChange()}`, "event: reset"]);
  });

  it("a stream of events ends at once when its reader has gone", async () => {
    const relay = await anApp();
    const { texts, gone } = await pieces(relay, null, () => new Promise(() => {}));
    await texts.next();
    gone.abort();
    expect((await texts.next()).done).toBe(true);
  });
});
