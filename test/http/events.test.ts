import { setTimeout as pause } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { eventTexts, type EventsParts } from "../../src/http/events.ts";
import type { JsonObject } from "../../src/json.ts";
import { anApp, aListeningApp, TOKEN, type TestApp } from "../support/app.ts";
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
const idsOf = (events: StreamEvent[]): number[] => events.map(({ id }) => Number(id));

describe("GET /v1/events", () => {
  it("tells of runs and deliveries as they change, in the JSON of the API", async () => {
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

  it("a client that drops its stream again and again misses nothing and sees nothing twice", async () => {
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

  it("a client whose connection breaks at any moment misses nothing and sees nothing twice", async () => {
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

  it("a client that lost the stream before the first event misses nothing", async () => {
    const relay = await aListeningApp();
    await relay.webhook(aRun("tsk_before"));
    const stream = await anEventStream(`${relay.url}/v1/events`);
    await until("the stream said where it begins", () => stream.lastEventId !== "");
    stream.close();
    await relay.webhook(aRun("tsk_between"));

    const again = await anEventStream(`${relay.url}/v1/events`, { lastEventId: stream.lastEventId });

    expect(shown(await again.next())).toBe("run tsk_between completed");
  });

  it("takes the id from the address, too", async () => {
    const relay = await aListeningApp();
    for (const id of ["tsk_1", "tsk_2"]) await relay.webhook(aRun(id));
    const stream = await anEventStream(`${relay.url}/v1/events?last_event_id=1`);
    expect(shown(await stream.next())).toBe("run tsk_2 completed");
  });

  it("begins with what comes, without an id", async () => {
    const relay = await aListeningApp();
    await relay.webhook(aRun("tsk_1"));
    const stream = await anEventStream(`${relay.url}/v1/events`);
    await until("the stream has begun", () => stream.lastEventId !== "");
    await relay.webhook(aRun("tsk_2"));
    expect(shown(await stream.next())).toBe("run tsk_2 completed");
  });

  it("sends a reset first when the id is of another database", async () => {
    const relay = await aListeningApp();
    await relay.webhook(aRun("tsk_1"));
    const stream = await anEventStream(`${relay.url}/v1/events`, { lastEventId: "4711" });
    const [reset, first] = await stream.take(2);
    expect([reset?.event, reset?.data]).toEqual(["reset", { reason: expect.stringContaining("another") as string }]);
    expect(shown(first as StreamEvent)).toBe("run tsk_1 completed");
  });

  it("keeps output that would break the format in one line", async () => {
    const relay = await aListeningApp();
    const stream = await anEventStream(`${relay.url}/v1/events`);
    await until("the stream has begun", () => stream.lastEventId !== "");
    const summary = "one\n\nid: 99\nevent: run\rdata: x\u2028: y";
    await relay.webhook(mutated("task_v2.completed", { summary }));
    expect((await stream.next()).data).toMatchObject({ summary });
    expect(stream.lastEventId).toBe("1");
  });

  it("ends when the relay stops", async () => {
    const relay = await aListeningApp();
    const stream = await anEventStream(`${relay.url}/v1/events`);
    const stopping = Date.now();
    await relay.stop();
    await stream.ended;
    expect(Date.now() - stopping).toBeLessThan(1_900);
  });

  it("is refused beyond 32 streams, and let in again when one has gone", async () => {
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

  it("that nobody reads takes no place", async () => {
    const relay = await anApp();
    const head = () => relay.app.fetch(new Request("http://relay.test/v1/events", { method: "HEAD", headers: bearer }));
    for (let n = 0; n < 40; n++) expect((await head()).status).toBe(200);
  });

  it.each(["x", "-1", "1.5", "", "9".repeat(16)])("Last-Event-ID %j is answered 400 and named", async (id) => {
    const relay = await anApp();
    const answer = await relay.get("/v1/events", { "last-event-id": id });
    const { errors } = answer.json<{ errors: { parameter: string }[] }>();
    expect([answer.status, errors.map(({ parameter }) => parameter)]).toEqual([400, ["last-event-id"]]);
  });

  it("needs the token", async () => {
    const relay = await anApp();
    expect((await relay.get("/v1/events", { authorization: "" })).status).toBe(401);
  });
});

describe("a stream's text", () => {
  const links = { run: (id: string) => id, artifact: (id: string) => id };

  /** The pieces of a stream over a real store, on a clock on which a sleep passes at once. */
  async function pieces(relay: TestApp, last: number | null, sleep: EventsParts["runtime"]["sleep"] = async () => {}) {
    const gone = new AbortController();
    const parts = { store: relay.app.store, links, runtime: { sleep } };
    return { texts: eventTexts(parts, last, gone.signal), gone };
  }

  it("has a comment at least every 15 s while nothing happens", async () => {
    const relay = await anApp();
    let slept = 0;
    const { texts } = await pieces(relay, null, async (ms) => void (slept += ms));
    await texts.next();
    for (let n = 1; n <= 3; n++) {
      expect((await texts.next()).value).toBe(": heartbeat\n\n");
      expect(slept).toBeLessThanOrEqual(n * 15_000);
    }
  });

  it("sends a reset before what is kept when events since then were forgotten, and again when it is overtaken", async () => {
    const relay = await anApp();
    for (let i = 1; i <= 6; i++) await relay.webhook(aRun(`tsk_${i}`));
    const { events, eventRange } = relay.app.store;
    let first = 4;
    /** As if all before `first` were forgotten. */
    relay.app.store.eventRange = async () => ({ ...(await eventRange()), first });
    relay.app.store.events = (page) => events({ after: Math.max(page.after, first - 1), limit: 1 });
    const { texts } = await pieces(relay, 1);
    const next = async () => ((await texts.next()).value ?? "").split("\n").slice(0, 2);
    await texts.next();
    expect(await next()).toEqual(["event: reset", expect.stringContaining("not kept") as string]);
    expect(await next()).toEqual(["id: 4", "event: run"]);
    first = 6;
    expect((await next())[0]).toBe("event: reset");
    expect((await next())[0]).toBe("id: 6");
  });

  it("ends at once when its reader has gone", async () => {
    const relay = await anApp();
    const { texts, gone } = await pieces(relay, null, () => new Promise(() => {}));
    await texts.next();
    gone.abort();
    expect((await texts.next()).done).toBe(true);
  });
});
