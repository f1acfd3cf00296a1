/** Requests that are never whole: they are cut off, and keep nobody out. */
import { Hono } from "hono";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Bodies } from "../../src/http/bodies.ts";
import { listen, TIMEOUTS } from "../../src/http/listen.ts";
import { aListeningApp } from "../support/app.ts";
import { mutated, signatureOf } from "../support/fixtures.ts";
import { rawConnection, type RawConnection } from "../support/raw-http.ts";
import { until } from "../support/until.ts";

const MB = 1024 * 1024;
const headers = (length: number): string =>
  `POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-length: ${length}\r\nx-skyvern-signature: ${"0".repeat(64)}\r\n\r\n`;

/** Of a connection that this side never ends: only a destroyed one refuses what is sent. */
const untilDestroyed = async ({ socket }: RawConnection): Promise<void> => {
  await until("the relay destroys the connection", () => socket.destroyed || (socket.write("x"), false), 10_000);
};

afterEach(() => vi.useRealTimers());

const post = async (url: string, runId: string): Promise<number> => {
  const body = mutated("task_v1.completed", { run_id: runId, task_id: runId });
  const init = { method: "POST", headers: { "x-skyvern-signature": signatureOf(body) }, body };
  return (await fetch(`${url}/webhook`, init)).status;
};

describe("bodies that are not finished", () => {
  it("unfinished bodies are evicted for a genuine webhook when they use up the budget", async () => {
    const relay = await aListeningApp();
    // Each lacks its last byte: large enough to use up the room, then small enough to fill what is left of it.
    const sizes = [...Array<number>(150).fill(200 * 1024), ...Array<number>(220).fill(1_000)];
    const held: RawConnection[] = [];
    for (const size of sizes) {
      const one = await rawConnection(relay.port);
      one.write(headers(size + 1));
      one.write(Buffer.alloc(size, "x"));
      held.push(one);
    }
    await until("the room to be used up", () => held.some(({ socket }) => socket.bytesRead > 0));
    const startedAt = performance.now();
    let status = 0;
    for (let n = 0; status !== 200 && n < 20; n += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      status = await post(relay.url, "tsk_genuine");
    }
    expect(status).toBe(200);
    // Nothing was cut off by then for being slow.
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  });

  it("a webhook for which there is no room is answered 503 and counted as overloaded", async () => {
    const relay = await aListeningApp();
    // Large bodies may use 21 of the 24 MB together.
    const bodies = await Promise.all([1, 2, 3].map(() => rawConnection(relay.port)));
    for (const body of bodies) {
      body.write(headers(9 * MB));
      body.write(Buffer.alloc(9 * MB - 1, "x"));
    }
    const { status, headers: answered } = await Promise.race(bodies.map((body) => body.answer()));
    expect([status, answered["retry-after"]]).toEqual([503, "5"]);
    expect((await relay.get("/metrics")).text).toContain('skyvern_relay_webhooks_total{result="overloaded"} 1\n');
  });

  it("unfinished bodies are cut off with 408 when nothing more comes, and their connections are destroyed", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    const relay = await aListeningApp();
    const connection = await rawConnection(relay.port);
    connection.socket.allowHalfOpen = true;
    connection.write(headers(5 * MB).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n"));
    await until("the relay reads the body", () => connection.socket.bytesRead > 0);
    const cut = connection.answer();
    vi.advanceTimersByTime(7_000);
    expect((await cut).status).toBe(408);
    await untilDestroyed(connection);
  });
});

describe("a body that is refused", () => {
  it.each([
    ["over the limit, by what it declares", headers(200 * MB), 413],
    ["without a signature", headers(5 * MB).replace(/x-skyvern-signature: \w+\r\n/, ""), 401],
  ])("a body %s is refused before any of it came", async (_what, text, status) => {
    const relay = await aListeningApp();
    const connection = await rawConnection(relay.port);
    connection.write(text);
    expect((await connection.answer()).status).toBe(status);
  });
});

describe("the byte budget", () => {
  const contextOf = (body: ReadableStream<Uint8Array>) =>
    ({ env: {}, req: { raw: { body } } }) as unknown as Parameters<Bodies["read"]>[0];
  const aSender = () => {
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const stream = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
    return {
      context: contextOf(stream),
      send: (bytes: number) => controller.enqueue(new Uint8Array(bytes)),
      end: () => controller.close(),
    };
  };
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  /** Resolves with the body. Whoever has it never ends, so that its bytes stay counted. */
  const read = (bodies: Bodies, c: ReturnType<typeof contextOf>, limit: number) =>
    new Promise<unknown>((resolve) => {
      void bodies.read(c, limit, (body) => {
        resolve(body);
        return new Promise(() => {});
      });
    });

  it("the byte budget is taken from the body that progressed least for its age", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    const bodies = new Bodies(100_000);
    const [slow, fast, next] = [aSender(), aSender(), aSender()];
    const slowBody = read(bodies, slow.context, MB);
    slow.send(40_000);
    await settle();
    vi.advanceTimersByTime(900);
    const fastBody = read(bodies, fast.context, MB);
    fast.send(40_000);
    await settle();
    vi.advanceTimersByTime(300);
    const nextBody = read(bodies, next.context, MB);
    next.send(40_000);
    next.end();
    expect(await nextBody).toHaveLength(40_000);
    expect(await slowBody).toBe("over_budget");
    fast.end();
    expect(await fastBody).toHaveLength(40_000);
  });

  it("the byte budget is not taken from a body that has only begun", async () => {
    const bodies = new Bodies(50_000);
    const [first, second] = [aSender(), aSender()];
    const firstBody = read(bodies, first.context, MB);
    first.send(40_000);
    await settle();
    const secondBody = read(bodies, second.context, MB);
    second.send(40_000);
    expect(await secondBody).toBe("over_budget");
    first.end();
    expect(await firstBody).toHaveLength(40_000);
  });

  it("the byte budget is released with each body that was not read to its end", async () => {
    const bodies = new Bodies(50_000);
    for (let n = 0; n < 5; n += 1) {
      const sender = aSender();
      const body = read(bodies, sender.context, 30_000);
      sender.send(40_000);
      expect(await body).toBe("too_large");
    }
    const [held, sender] = [aSender(), aSender()];
    void read(bodies, held.context, MB);
    const body = read(bodies, sender.context, MB);
    sender.send(49_000);
    sender.end();
    expect(await body).toHaveLength(49_000);
    held.end();
  });

  it("the byte budget is released when whoever has the body ends, also by throwing", async () => {
    const bodies = new Bodies(50_000);
    const held = aSender();
    void read(bodies, held.context, MB);
    held.send(5_000);
    await settle();
    for (let n = 0; n < 3; n += 1) {
      const sender = aSender();
      const used = bodies.read(sender.context, MB, (body) => {
        throw new Error(`has ${body.length} bytes`);
      });
      sender.send(40_000);
      sender.end();
      await expect(used).rejects.toThrow("has 40000 bytes");
    }
    held.end();
  });

  it.each([
    ["a body that brings less than 1 kB/s", 4_000, 12],
    ["a body that takes longer than half a minute", 400_000, 32],
  ])("the byte budget is not held by %s", async (_what, bytesEvery4s, endedBy) => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    const bodies = new Bodies(10 * MB);
    const sender = aSender();
    const ended: unknown[] = [];
    void read(bodies, sender.context, 10 * MB).then((body) => ended.push(body));
    let seconds = 0;
    for (; ended.length === 0 && seconds < 60; seconds += 1) {
      if (seconds % 4 === 0) sender.send(bytesEvery4s);
      await settle();
      vi.advanceTimersByTime(1_000);
      await settle();
    }
    expect(ended).toEqual(["too_slow"]);
    expect(seconds).toBeLessThanOrEqual(endedBy);
    expect(seconds).toBeGreaterThan(endedBy === 32 ? 25 : 4);
  });
});

describe("on a socket", () => {
  /** The relay's own time-outs, twenty times as fast. */
  const fast = Object.fromEntries(Object.entries(TIMEOUTS).map(([name, ms]) => [name, ms / 20])) as typeof TIMEOUTS;
  const aServer = async (timeouts = fast) => {
    const app = new Hono();
    app.post("/read", async (c) => c.text(`${(await c.req.arrayBuffer()).byteLength}`));
    app.on(["POST", "GET"], "/unread", (c) => c.text("answered"));
    const server = await listen(app, { host: "127.0.0.1", port: 0 }, timeouts);
    onTestFinished(() => server.close());
    return server.port;
  };
  const open = async (port: number, text: string) => {
    const connection = await rawConnection(port);
    // Whatever the relay does, this side neither ends nor destroys.
    connection.socket.allowHalfOpen = true;
    connection.write(text);
    return { ...connection, startedAt: performance.now() };
  };

  it.each([
    ["headers are not whole", "POST /read HTTP/1.1\r\nhost: relay\r\nx: ", fast.headersTimeout],
    ["body is not whole", "POST /read HTTP/1.1\r\nhost: relay\r\ncontent-length: 9\r\n\r\nab", fast.requestTimeout],
  ])("a request whose %s is answered 408 in time, and its connection destroyed", async (_what, text, afterMs) => {
    const connection = await open(await aServer(), text);
    expect((await connection.answer()).status).toBe(408);
    const answeredAfter = performance.now() - connection.startedAt;
    expect(answeredAfter).toBeGreaterThanOrEqual(afterMs - 50);
    expect(answeredAfter).toBeLessThan(afterMs + 5_000);
    await untilDestroyed(connection);
  });

  // Of a GET the library under the relay looks after no body.
  it.each(["POST", "GET"])(
    "a %s that was answered before it was whole has its connection destroyed",
    async (method) => {
      // No time-out of a request helps here.
      const connection = await open(
        await aServer(TIMEOUTS),
        `${method} /unread HTTP/1.1\r\nhost: relay\r\ncontent-length: 9999\r\n\r\nab`,
      );
      expect((await connection.answer()).body).toBe("answered");
      await untilDestroyed(connection);
    },
  );
});
