/** What no Skyvern sends, or only once in a blue moon, over a real connection to a listening relay. */
import { request } from "node:http";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { aListeningApp, type TestApp } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes, signatureOf } from "../support/fixtures.ts";
import { rawConnection } from "../support/raw-http.ts";
import { until } from "../support/until.ts";

const BODY = '{"run_id":"tsk_1","status":"completed"}';
const MB = 1_000_000;

/** Everything in the database that a webhook could have left. */
async function stored({ read }: TestApp): Promise<{ runs: number; unrecognized: number; deliveries: number }> {
  const [runs, unrecognized, deliveries] = await Promise.all(
    ["/v1/runs", "/v1/receipts/unrecognized", "/v1/deliveries"].map((path) => read<{ data: JsonObject[] }>(path)),
  );
  return {
    runs: runs?.data.length ?? -1,
    unrecognized: unrecognized?.data.length ?? -1,
    deliveries: deliveries?.data.length ?? -1,
  };
}
const NOTHING = { runs: 0, unrecognized: 0, deliveries: 0 };

async function post(url: string, body: string | Uint8Array, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/webhook`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-skyvern-signature": signatureOf(body), ...headers },
    body: Buffer.from(body),
  });
  return { status: response.status, body: (await response.json()) as JsonObject };
}

describe("a signature", () => {
  const right = signatureOf(BODY);
  it.each([
    ["missing", []],
    ["empty", [""]],
    ["wrong", ["0".repeat(64)]],
    ["of another key", [signatureOf(BODY, "another key")]],
    ["of the empty key", [signatureOf(BODY, "")]],
    ["of another body", [signatureOf(`${BODY} `)]],
    ["one digit short", [right.slice(0, -1)]],
    ["one digit long", [`${right}0`]],
    ["in capitals", [right.toUpperCase()]],
    ["with a prefix", [`sha256=${right}`]],
    ["in base64", [Buffer.from(right, "hex").toString("base64")]],
    ["not ASCII", [`${right.slice(0, -1)}\u00e9`]],
    ["in full-width digits", [`\u00ef\u00bc\u0090${right.slice(3)}`]],
    ["endless", ["a".repeat(8_000)]],
    ["sent twice", [right, right]],
    ["sent twice, once wrong", ["0".repeat(64), right]],
    ["with another one behind a comma", [`${right},${"0".repeat(64)}`]],
  ] as [string, string[]][])(
    "a webhook with a bad signature is answered 401 in a few words, and nothing is stored: %s",
    async (_what, signatures) => {
      const relay = await aListeningApp();
      const connection = await rawConnection(relay.port);

      connection.socket.write(
        Buffer.from(
          `POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n` +
            `${signatures.map((value) => `x-skyvern-signature: ${value}\r\n`).join("")}\r\n${BODY}`,
          "latin1",
        ),
      );

      const { status, headers, body } = await connection.answer();
      expect([status, headers["content-type"]]).toEqual([401, "application/json"]);
      expect(Object.keys(JSON.parse(body) as JsonObject)).toEqual(["error"]);
      expect(body.length).toBeLessThan(120);
      expect(body).not.toContain(right);
      expect(await stored(relay)).toEqual(NOTHING);
    },
  );

  it("a right signature is accepted beside a wrong timestamp, which is not signed", async () => {
    const relay = await aListeningApp();

    const answer = await post(relay.url, BODY, { "x-skyvern-timestamp": "-99999999999999999999" });

    expect(answer).toEqual({ status: 200, body: { run_id: "tsk_1", result: "accepted" } });
  });

  it("a signature of any of several keys is right, and the receipt names the key", async () => {
    const relay = await aListeningApp({ SKYVERN_API_KEY: `first-key,${FIXTURE_KEY}` });

    expect((await post(relay.url, BODY)).status).toBe(200);
    expect(
      (await post(relay.url, `${BODY} `, { "x-skyvern-signature": signatureOf(`${BODY} `, "first-key") })).status,
    ).toBe(200);

    expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({
      receipts: [{ key: "SKYVERN_API_KEY[2]" }, { key: "SKYVERN_API_KEY[1]" }],
    });
  });
});

describe("a genuine body", () => {
  const nested = (depth: number): string =>
    `{"run_id":"tsk_1","status":"completed","output":${"[".repeat(depth)}${"]".repeat(depth)}}`;
  it.each([
    ["empty", ""],
    ["cut off", fixtureBytes("task_v2.completed").subarray(0, 1000)],
    ["not JSON", "run_id=tsk_1&status=completed"],
    ["with a byte order mark", `\uFEFF${BODY}`],
    ["in UTF-16", Buffer.from(BODY, "utf16le")],
    ["a list", `[${BODY}]`],
    ["nested 10,000 levels deep", nested(10_000)],
    ["nested 2,000,000 levels deep", nested(2_000_000)],
    ["nested and never closed", "[".repeat(100_000)],
    [
      "with bytes that are no UTF-8",
      Buffer.from([...Buffer.from('{"run_id":"tsk_1","status":"completed","output":"'), 0xff, 0xc3, 0x28, 0x22, 0x7d]),
    ],
    ["with a NUL outside of a text", `${BODY}\0`],
    ["with a bare NUL in a text", '{"run_id":"tsk_\0","status":"completed"}'],
    ["with NaN", '{"run_id":"tsk_1","status":"completed","output":NaN}'],
    ["with no-break spaces", `{\u00A0"run_id":"tsk_1"}`],
    ["of a thousand objects", `${BODY}\n`.repeat(1000)],
    ["whose id no address can hold", '{"run_id":".","status":"completed"}'],
    ["whose id would lead up", '{"run_id":"..","status":"completed"}'],
  ])("a genuine body that is no run is stored and answered 202: %s", async (_what, body) => {
    const relay = await aListeningApp();

    expect(await post(relay.url, body)).toEqual({ status: 202, body: { result: "unrecognized" } });

    expect(await stored(relay)).toEqual({ ...NOTHING, unrecognized: 1 });
    expect((await post(relay.url, BODY)).status).toBe(200);
  });

  it.each([
    [
      "with duplicate keys, of which the last counts",
      '{"run_id":"tsk_0","status":"failed","run_id":"tsk_1","status":"completed"}',
    ],
    [
      "with huge numbers",
      `{"run_id":"tsk_1","status":"completed","step_count":1e400,"output":[1e400,-1e400,${"9".repeat(5000)},0.${"1".repeat(5000)}]}`,
    ],
    [
      "with halves of surrogate pairs",
      String.raw`{"run_id":"tsk_1","status":"completed","prompt":"\ud800","output":{"\udfff":["\ud800\ud800"]}}`,
    ],
    [
      "with escaped NULs",
      String.raw`{"run_id":"tsk_1","status":"completed","prompt":"a\u0000b","output":{"\u0000":"\u0000"},"failure_reason":"\u0000"}`,
    ],
    ["nested 990 levels deep", nested(990)],
    ["with a million members", `{"run_id":"tsk_1","status":"completed","output":[${"0,".repeat(1_000_000)}0]}`],
    ["with a text of 8 MB", `{"run_id":"tsk_1","status":"completed","summary":"${"x".repeat(8 * MB)}"}`],
    [
      "with 100,000 errors",
      `{"run_id":"tsk_1","status":"completed","errors":[${Array(100_000).fill('{"error_code":"A"}').join()}]}`,
    ],
    [
      "with keys that mean something to JavaScript",
      '{"run_id":"tsk_1","status":"completed","output":{"__proto__":{"x":1},"constructor":1,"toString":2},"parameters":{"__proto__":1}}',
    ],
  ])("an odd but genuine body is accepted, shown and delivered: %s", async (_what, body) => {
    const relay = await aListeningApp({}, { standIns: ["http", "slack", "smtp"] });

    expect(await post(relay.url, body)).toEqual({ status: 200, body: { run_id: "tsk_1", result: "accepted" } });

    await until("all is delivered", async () => {
      const { data } = await relay.read<{ data: JsonObject[] }>("/v1/deliveries?state=delivered");
      return data.length === 3;
    });
    expect((await relay.read("/v1/runs/tsk_1"))["status"]).toBe("completed");
    expect(relay.standIns.http.requests).toMatchObject([{ verified: true }]);
    expect(() => JSON.parse(relay.standIns.http.requests[0]?.body ?? "") as unknown).not.toThrow();
  });
});

describe("a body over the limit", () => {
  const big = Buffer.alloc(11 * MB, " ");

  it("a body over the limit that is announced by its length is answered 413 before it is read, and the connection goes on", async () => {
    const relay = await aListeningApp();

    const answer = await post(relay.url, big);

    expect(answer).toEqual({ status: 413, body: { error: "the body is over 10000000 bytes" } });
    expect((await post(relay.url, BODY)).status).toBe(200);
    expect(await stored(relay)).toMatchObject({ runs: 1, unrecognized: 0 });
  });

  it("a body over the limit that is not announced, in chunks, is answered 413 as well", async () => {
    const relay = await aListeningApp();

    const status = await new Promise<number>((resolve, reject) => {
      const sending = request(
        `${relay.url}/webhook`,
        { method: "POST", headers: { "x-skyvern-signature": signatureOf(big), "transfer-encoding": "chunked" } },
        (response) => {
          response.resume();
          response.on("end", () => resolve(response.statusCode ?? 0));
        },
      );
      sending.on("error", reject);
      for (let at = 0; at < big.length; at += 64 * 1024) sending.write(big.subarray(at, at + 64 * 1024));
      sending.end();
    });

    expect(status).toBe(413);
    expect((await post(relay.url, BODY)).status).toBe(200);
    expect(await stored(relay)).toMatchObject({ runs: 1, unrecognized: 0 });
  });

  it("a body over the limit that never ends is answered 413 while it comes, and not taken any further", async () => {
    const relay = await aListeningApp();
    const connection = await rawConnection(relay.port);
    connection.write(
      `POST /webhook HTTP/1.1\r\nhost: relay\r\nx-skyvern-signature: ${"0".repeat(64)}\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    const chunk = Buffer.concat([Buffer.from("100000\r\n"), Buffer.alloc(0x100000, " "), Buffer.from("\r\n")]);
    let sent = 0;
    const pump = () => {
      while (sent < 500 && !connection.socket.destroyed && connection.socket.write(chunk)) sent += 1;
      if (sent < 500 && !connection.socket.destroyed) connection.socket.once("drain", pump);
    };
    pump();

    expect((await connection.answer()).status).toBe(413);
    await connection.closed;

    expect(sent).toBeLessThan(500);
    expect((await post(relay.url, BODY)).status).toBe(200);
  });

  it("the limit of a body is counted in bytes, and a body of just that size is accepted", async () => {
    const relay = await aListeningApp({}, { file: "receive: { body_limit: 1KB }" });
    const body = (bytes: number): string => {
      const rest = bytes - Buffer.byteLength('{"run_id":"tsk_1","status":"completed","summary":""}');
      return `{"run_id":"tsk_1","status":"completed","summary":"${"é".repeat(rest / 2)}${rest % 2 === 1 ? "x" : ""}"}`;
    };
    expect(Buffer.byteLength(body(1000))).toBe(1000);

    expect((await post(relay.url, body(1001))).status).toBe(413);
    expect((await post(relay.url, body(1000))).status).toBe(200);
  });
});

describe("a connection", () => {
  const head = (length: number): string =>
    `POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-length: ${length}\r\nx-skyvern-signature: ${signatureOf(BODY)}\r\n\r\n`;

  it("a connection that brings its body byte by byte is waited for, and holds up no other", async () => {
    const relay = await aListeningApp();
    const slow = await rawConnection(relay.port);
    slow.socket.setNoDelay(true);
    slow.write(head(BODY.length));
    for (const letter of BODY.slice(0, -1)) slow.write(letter);

    expect((await post(relay.url, `${BODY} `)).status).toBe(200);
    slow.write(BODY.slice(-1));

    expect((await slow.answer()).status).toBe(200);
  });

  it("a connection that ends in the middle of a body leaves nothing behind", async () => {
    const relay = await aListeningApp();
    for (const part of [head(BODY.length).slice(0, 40), head(BODY.length), head(BODY.length) + BODY.slice(0, -1)]) {
      const connection = await rawConnection(relay.port);
      connection.write(part);
      await new Promise<void>((resolve) => connection.socket.end(resolve));
      await connection.closed;
      const reset = await rawConnection(relay.port);
      reset.write(part);
      reset.socket.resetAndDestroy();
    }

    expect(await stored(relay)).toEqual(NOTHING);
    expect((await post(relay.url, BODY)).status).toBe(200);
    expect(await stored(relay)).toMatchObject({ runs: 1 });
  });

  it("a connection carries one request after the other", async () => {
    const relay = await aListeningApp();
    const connection = await rawConnection(relay.port);

    connection.write(head(BODY.length) + BODY + head(BODY.length) + BODY);

    expect((await connection.answer()).status).toBe(200);
    expect((await connection.answer()).status).toBe(200);
  });

  it("a connection that asks whether to continue is answered 100", async () => {
    const relay = await aListeningApp();
    const connection = await rawConnection(relay.port);

    connection.write(head(BODY.length).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n"));
    await until("the relay says go on", () => connection.socket.bytesRead > 0);
    connection.write(BODY);

    expect((await connection.answer()).status).toBe(200);
  });

  it.each<[string, string, number?]>([
    ["is not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
    ["has no version", "POST /webhook\r\n\r\n"],
    ["has a bad header", "POST /webhook HTTP/1.1\r\nhost: relay\r\nbad header\r\n\r\n"],
    ["has two lengths", "POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
    ["has a length that is no number", "POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-length: -1\r\n\r\n"],
    [
      "has a length and chunks",
      "POST /webhook HTTP/1.1\r\nhost: relay\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["has chunks that are none", "POST /webhook HTTP/1.1\r\nhost: relay\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
    ["has a host that is none", "POST /webhook HTTP/1.1\r\nhost: a b\r\ncontent-length: 0\r\n\r\n"],
    ["has no host", "POST /webhook HTTP/1.1\r\n\r\n"],
    ["has endless headers", `POST /webhook HTTP/1.1\r\nhost: relay\r\nx: ${"a".repeat(100_000)}\r\n\r\n`, 431],
  ])("a request that %s is refused in JSON, and its connection ended", async (_what, bytes, wanted = 400) => {
    const relay = await aListeningApp();
    const connection = await rawConnection(relay.port);

    connection.socket.write(Buffer.from(bytes, "latin1"));

    const { status, body } = await connection.answer();
    expect(status).toBe(wanted);
    expect((JSON.parse(body) as JsonObject)["error"]).toMatch(wanted === 431 ? /headers are over 16384 bytes/ : /HTTP/);
    await connection.closed;
    expect(await stored(relay)).toEqual(NOTHING);
    expect((await post(relay.url, BODY)).status).toBe(200);
  });
});

it("a load balancer's probe in HTTP/1.0, which names no host, is answered", async () => {
  const relay = await aListeningApp();
  for (const path of ["/healthz", "/readyz"]) {
    const connection = await rawConnection(relay.port);
    connection.write(`GET ${path} HTTP/1.0\r\n\r\n`);
    expect(await connection.answer()).toMatchObject({ status: 200, body: '{"status":"ok"}' });
    await connection.closed;
  }
});

it("memory stays bounded while 40 bodies of 9 MB come in, refused ones and stored ones", async () => {
  const relay = await aListeningApp();
  const body = Buffer.alloc(9 * MB, "x");
  const signature = signatureOf(body);
  const before = process.memoryUsage();

  // Two at one time: a third would find no room.
  const send = (...signatures: string[]) =>
    Promise.all(signatures.map((given) => post(relay.url, body, { "x-skyvern-signature": given })));
  for (let round = 0; round < 10; round++) {
    const answers = [...(await send(signature, "0".repeat(64))), ...(await send(signature, "bad"))];
    expect(answers.map(({ status }) => status)).toEqual([202, 401, 202, 401]);
  }

  const after = process.memoryUsage();
  expect(after.rss - before.rss).toBeLessThan(400 * MB);
}, 300_000);
