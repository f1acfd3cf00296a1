/**
 * What the pages do and follow, without a browser: sinks, dead deliveries in bulk, artifacts, search, the stream of
 * changes.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { anEventStream, type EventStream } from "../support/event-stream.ts";
import { until } from "../support/until.ts";
import { aReader, aRelay, aTask, login, type Reader, type Relay } from "./relay.ts";

let relay: Relay;
let reader: Reader;
beforeEach(async () => {
  relay = await aRelay();
  reader = await aReader(relay);
});
afterEach(() => relay.close());

const send = (runId: string, values: Record<string, unknown> = {}) =>
  relay.webhook(aTask({ run_id: runId, task_id: runId, ...values }));
const after = (answer: Response): Promise<string> => reader.page(answer.headers.get("location") ?? "none");

describe("a sink", () => {
  test("the page says what a sink answered to a test, and nothing of a test that was not made", async () => {
    const sent = await reader.post("/sinks/http/test");
    const to = sent.headers.get("location") ?? "";
    expect(to).toMatch(/^\/sinks\?sink=http&tested=dlv_/);
    expect(await reader.page(to)).toContain("The test message to http was delivered.");
    expect(JSON.parse(relay.sinkBodies[0] ?? "")).toMatchObject({ type: "run.test" });
    relay.sinkAnswers.push(500);
    const failed = await after(await reader.post("/sinks/http/test"));
    expect(failed).toContain("was not delivered, and is not tried again.");
    expect(failed).toContain("answered 500");
    expect(await reader.page("/sinks?sink=http&tested=dlv_none")).not.toContain("The test message");
    // Listed, but it leads to no run, as there was none.
    expect(await reader.page("/deliveries")).not.toMatch(/href="\/runs\/test_/);
    expect((await reader.post("/sinks/nowhere/test")).status).toBe(404);
  });

  test("a sink that was stopped says so on its page, keeps its deliveries pending, and is resumed there", async () => {
    relay.sinkAnswers.push(410);
    await send("tsk_1");
    await relay.app.deliverDue();
    expect(await reader.page("/sinks")).toContain("Stopped: the sink asked for no more messages.");
    await send("tsk_2");
    await relay.app.deliverDue();
    expect(relay.sinkBodies).toHaveLength(1);
    expect(await after(await reader.post("/sinks/http/resume"))).toContain("http is resumed");
    await relay.app.deliverDue();
    expect(relay.sinkBodies).toHaveLength(2);
    expect(await reader.page("/sinks")).not.toContain("Resume");
    expect((await reader.post("/sinks/nowhere/resume")).status).toBe(404);
  });
});

describe("dead deliveries in bulk", () => {
  beforeEach(async () => {
    relay.sinkAnswers.push(400, 400, 400);
    for (const runId of ["tsk_1", "tsk_2", "tsk_3"]) await send(runId);
    await relay.app.deliverDue();
  });
  const bulk = "/deliveries/redeliver";

  test("a bulk redelivery of dead deliveries is counted first, with nothing sent, and then sent once", async () => {
    expect(await reader.page(`${bulk}?state=dead&sink=http`)).toContain("Redeliver 3 deliveries?");
    await relay.app.deliverDue();
    expect(relay.sinkBodies).toHaveLength(3);
    const done = await reader.post(bulk, { filter: "state=dead&sink=http" });
    expect(done.headers.get("location")).toBe("/deliveries?state=dead&sink=http&queued=3");
    await relay.app.deliverDue();
    expect(relay.sinkBodies).toHaveLength(6);
    expect(await reader.page(`${bulk}?state=dead`)).toContain("Nothing to redeliver");
    expect((await reader.post(bulk, { filter: "state=dead" })).headers.get("location")).toContain("queued=0");
  });

  test.each([
    ["", "state must be given"],
    ["state=pending", "state must be delivered, dead or canceled"],
    ["state=dead&since=yesterday", "since must be a time"],
    ["state=dead&run=tsk_1", "run there is no such filter"],
  ])(
    "a bulk redelivery with the address %j sends nothing, as the address may have been cut short",
    async (filter, said) => {
      const text = (await (await reader.get(`${bulk}?${filter}`)).text()).replace(/<[^>]*>/g, "").replace(/\s+/g, " ");
      expect(text).toContain(said);
      expect((await reader.post(bulk, { filter })).status).toBe(400);
      await relay.app.deliverDue();
      expect(relay.sinkBodies).toHaveLength(3);
    },
  );

  test("a bulk redelivery of dead deliveries to a removed sink has none to send", async () => {
    expect(await reader.page(`${bulk}?state=dead&sink=gone`)).toContain("Nothing to redeliver");
  });
});

describe("a run's artifacts", () => {
  test("a run's page asks Skyvern for the artifacts again, and says so and keeps the known ones when Skyvern does not answer", async () => {
    const payload = aTask();
    await relay.webhook(payload);
    relay.skyvern.addRun({ payload: payload as never, artifacts: [{ artifact_id: "a_1", artifact_type: "har" }] });
    expect(await after(await reader.post("/runs/tsk_v2_1/artifacts/refresh"))).toContain("and lists 1 artifact.");
    await relay.skyvern.close();
    const failed = await reader.post("/runs/tsk_v2_1/artifacts/refresh");
    expect(failed.status).toBe(502);
    expect(await failed.text()).toContain("Skyvern&#39;s list could not be read");
    expect(await reader.page("/runs/tsk_v2_1")).toContain("1 other artifact");
    expect((await reader.post("/runs/tsk_none/artifacts/refresh")).status).toBe(404);
  });
});

describe("search", () => {
  test("the search on the page finds, keeps filters, and says what is wrong with what was typed", async () => {
    await send("tsk_1", { output: { order: "INV-2026-0042" } });
    await send("tsk_2", { status: "failed", failure_reason: "INV-2026-0042 was not there" });
    const found = async (query: string) =>
      [...(await reader.page(`/?${query}`)).matchAll(/<a class="title"[^>]*href="\/runs\/(\w+)"/g)].map(([, id]) => id);
    expect(await found("q=inv-2026-0042")).toEqual(["tsk_2", "tsk_1"]);
    expect(await found("q=inv-2026*&status=failed")).toEqual(["tsk_2"]);
    expect(await found("q=%22not+there%22")).toEqual(["tsk_2"]);
    expect(await reader.page("/?q=nothing")).toContain("No run was received that holds all of these words");
    const wrong = await reader.get("/?q=ab*");
    expect(wrong.status).toBe(400);
    expect(await wrong.text()).toContain("needs at least 3 letters or digits before *");
    expect((await reader.get("/?q=a&q=b")).status).toBe(400);
  });
});

describe("the stream of changes", () => {
  const follow = async (query: string, lastEventId?: string) => {
    const { port } = await started();
    const cookie = await login(relay);
    const headers = { cookie, accept: "text/event-stream", authorization: "" };
    return anEventStream(`http://127.0.0.1:${port}/live?${query}`, {
      headers,
      ...(lastEventId ? { lastEventId } : {}),
    });
  };
  /** What came within more than the time between two looks. */
  const soonAfter = async (stream: EventStream) => {
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    return stream.taken();
  };
  let start: ReturnType<Relay["start"]> | null = null;
  const started = () => (start ??= relay.start());
  beforeEach(() => {
    start = null;
  });

  test("the stream of changes says that something changed after what the page shows, and nothing of what it was", async () => {
    const begin = relay.app.store.lastChange();
    await send("tsk_1");
    const stream = await follow(`after=${begin}`);
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
    expect(stream.headers.get("cache-control")).toBe("no-store");
    const first = await stream.next();
    expect([first.event, first.data]).toEqual(["changed", 1]);
    stream.close();
    // Where it left off there is nothing new.
    await until("all is delivered", async () => (await relay.app.store.backlog()).length === 0);
    const last = relay.app.store.lastChange();
    const again = await follow(`after=${begin}`, last);
    expect(await soonAfter(again)).toBeUndefined();
    await send("tsk_2");
    const { id } = await again.next();
    const since = relay.app.store.changes({ after: last, limit: 100 });
    expect(since.changes.map(({ at }) => at)).toContain(id);
  });

  test("the stream of changes of one run passes over what happens to others", async () => {
    await started();
    const last = relay.app.store.lastChange();
    const stream = await follow(`after=${last}&run=tsk_2`);
    await send("tsk_1");
    expect(await soonAfter(stream)).toBeUndefined();
    stream.close();
    const mine = await follow(`after=${last}&run=tsk_1`);
    expect((await mine.next()).event).toBe("changed");
  });

  test("the stream of changes from a place that is not known any more says at once that something changed", async () => {
    for (const place of ["after=x", "after=6b1f0c92d4e7a3-4711", "after=mg4r7k2a1b2c3d-4711&run=tsk_1"]) {
      const stream = await follow(place);
      expect(await stream.next()).toEqual({ event: "changed", data: 1, id: relay.app.store.lastChange() });
      expect(await soonAfter(stream)).toBeUndefined();
      stream.close();
    }
  });

  test("the stream of changes without a place to begin is refused, and the browser does not come again", async () => {
    expect((await reader.get("/live")).status).toBe(204);
  });
});
