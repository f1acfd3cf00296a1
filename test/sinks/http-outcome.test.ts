import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, test } from "vitest";
import { createEgress } from "../../src/net/egress.ts";
import { EgressRefused } from "../../src/net/networks.ts";
import { outcomeOfError, outcomeOfStatus, quote } from "../../src/sinks/http-outcome.ts";

const WHO = 'HTTP sink "crm" (https://crm.example.com)';
const NOW = Date.parse("2026-01-20T12:00:00.000Z");
const answer = (status: number, headers: Record<string, string> = {}) =>
  outcomeOfStatus(status, new Headers(headers), WHO, NOW);

const failed = (cause: unknown) => new TypeError("fetch failed", { cause });
const coded = (code: string, more: object = {}) =>
  Object.assign(new Error("words that say ECONNREFUSED"), { code, ...more });

test.each([200, 201, 202, 204, 299])("the answer %i is delivered, with the status as receipt", (status) => {
  expect(answer(status)).toEqual({ kind: "delivered", receipt: { status } });
});

test.each([408, 425, 500, 502, 503, 504, 520, 599])("the answer %i is tried again", (status) => {
  expect(answer(status)).toEqual({ kind: "retry", reason: `${WHO} answered ${status}` });
});

test("the answer 429 only asks to slow down", () => {
  expect(answer(429)).toEqual({ kind: "retry", throttled: true, reason: `${WHO} answered 429` });
});

test.each([400, 401, 403, 404, 405, 413, 422, 451])("the answer %i is dead", (status) => {
  expect(answer(status)).toEqual({ kind: "dead", reason: `${WHO} answered ${status}` });
});

test("the answer 410 is dead, and marks the sink as gone", () => {
  expect(answer(410)).toMatchObject({ kind: "dead", gone: true });
});

test.each([
  ["120", 120_000],
  ["0", 0],
  ["Tue, 20 Jan 2026 12:00:45 GMT", 45_000],
  ["Tuesday, 20-Jan-26 12:00:45 GMT", 45_000],
  ["Tue, 20 Jan 2026 11:00:00 GMT", 0],
  ["86400", 3_600_000],
  ["99999999999999999999", 3_600_000],
])("Retry-After: %s is a wait of %i ms, an hour at most", (value, wait) => {
  expect(answer(429, { "retry-after": value })).toMatchObject({ kind: "retry", retryAfterMs: wait });
  expect(answer(503, { "retry-after": value })).toMatchObject({ kind: "retry", retryAfterMs: wait });
});

test.each(["", "soon", "-5", "1.5", "2026-01-20"])("Retry-After: %j says nothing of a wait", (value) => {
  expect(answer(429, { "retry-after": value })).not.toHaveProperty("retryAfterMs");
});

test.each([301, 302, 307, 308])(
  "the answer %i is dead and says where it redirects to, without path and query",
  (status) => {
    const outcome = answer(status, { location: "https://user:pw@www.example.com/hooks/abc?token=t0p" });
    expect(outcome).toMatchObject({ kind: "dead" });
    expect(outcome).toHaveProperty(
      "reason",
      expect.stringMatching(/a redirect to https:\/\/www\.example\.com: .*set the final URL/),
    );
    expect(JSON.stringify(outcome)).not.toMatch(/t0p|pw|abc/);
  },
);

describe("errors", () => {
  test.each([
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ENETUNREACH",
    "UND_ERR_CONNECT_TIMEOUT",
    "CERT_HAS_EXPIRED",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  ])("an error with %s among its causes sent nothing, and is retried", (code) => {
    const outcome = outcomeOfError(failed(coded(code)), WHO);
    expect(outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining(code) });
    expect(outcome).not.toHaveProperty("unknown");
  });

  test.each([
    "ECONNRESET",
    "UND_ERR_SOCKET",
    "UND_ERR_HEADERS_TIMEOUT",
    "EPIPE",
    "HPE_INVALID_CONSTANT",
    "UND_ERR_CLOSED",
  ])("an error with %s among its causes may have sent the message, and is retried as unknown", (code) => {
    expect(outcomeOfError(failed(coded(code)), WHO)).toMatchObject({ kind: "retry", unknown: true });
  });

  test("the words of an error's message decide nothing", () => {
    expect(outcomeOfError(failed(new Error("ECONNREFUSED")), WHO)).toMatchObject({ kind: "retry", unknown: true });
  });

  test("a name of which every address refuses the connection counts as refused", () => {
    const both = new AggregateError([coded("ECONNREFUSED"), coded("ECONNREFUSED")]);
    expect(outcomeOfError(failed(both), WHO)).not.toHaveProperty("unknown");
  });

  test("a timeout while connecting sent nothing, and a later one is unknown", () => {
    expect(outcomeOfError(failed(coded("ETIMEDOUT", { syscall: "connect" })), WHO)).not.toHaveProperty("unknown");
    expect(outcomeOfError(failed(coded("ETIMEDOUT", { syscall: "read" })), WHO)).toMatchObject({ unknown: true });
  });

  test("an abort is unknown, whatever was given as its reason", () => {
    for (const reason of [
      new DOMException("", "AbortError"),
      new DOMException("", "TimeoutError"),
      "shutdown",
      undefined,
    ]) {
      expect(outcomeOfError(reason, WHO)).toMatchObject({ kind: "retry", unknown: true });
    }
  });

  test("an address that is off limits is dead, with what to do", () => {
    const outcome = outcomeOfError(
      failed(new EgressRefused('10.0.0.1 is in "private": see ALLOW_PRIVATE_NETWORKS')),
      WHO,
    );
    expect(outcome).toMatchObject({ kind: "dead", reason: expect.stringContaining("ALLOW_PRIVATE_NETWORKS") });
  });
});

describe("the guarded fetch", () => {
  const open: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((close) => close()));
  });
  const egress = () => {
    const egress = createEgress({ allow: ["127.0.0.1"] });
    open.push(() => egress.close());
    return egress;
  };
  async function startRaw(onSocket: (socket: Socket) => void): Promise<number> {
    const server = createServer(onSocket);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    open.push(() => new Promise((resolve) => server.close(resolve)));
    return (server.address() as AddressInfo).port;
  }
  const post = (url: string) =>
    egress()
      .fetch(url, { method: "POST", body: "x" })
      .then(
        () => null,
        (error: unknown) => outcomeOfError(error, WHO),
      );

  test("a guarded fetch to a closed port is not unknown", async () => {
    const port = await startRaw(() => {});
    await open.pop()?.();
    const outcome = await post(`http://127.0.0.1:${port}/`);
    expect(outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining("ECONNREFUSED") });
    expect(outcome).not.toHaveProperty("unknown");
  });

  test("a guarded fetch whose connection ends in the middle of the request is unknown", async () => {
    const port = await startRaw((socket) => socket.once("data", () => socket.destroy()));
    expect(await post(`http://127.0.0.1:${port}/`)).toMatchObject({ kind: "retry", unknown: true });
  });

  test("a guarded fetch with an answer that is not HTTP is unknown", async () => {
    const port = await startRaw((socket) => socket.once("data", () => socket.end("hello\r\n\r\n")));
    expect(await post(`http://127.0.0.1:${port}/`)).toMatchObject({ kind: "retry", unknown: true });
  });

  test("a guarded fetch to a server that does not speak TLS is not unknown", async () => {
    const port = await startRaw((socket) => socket.once("data", () => socket.end("220 mail ready\r\n")));
    const outcome = await post(`https://127.0.0.1:${port}/`);
    expect(outcome).toMatchObject({ kind: "retry" });
    expect(outcome).not.toHaveProperty("unknown");
  });
});

describe("quotes", () => {
  test("the words of the other side are quoted as one line of printable text", () => {
    expect(quote("a\r\nb\u0000\u202ec\u001b[31m  d\u2028e", [])).toBe("a b c [31m d e");
  });

  test("the words of the other side are quoted up to 200 characters, with a mark", () => {
    expect(quote("x".repeat(500), [])).toBe(`${"x".repeat(199)}…`);
  });

  test("the words of the other side are quoted without secrets, also without one that was cut off at the end", () => {
    expect(quote("bad token s3cr3t-value!", ["s3cr3t-value"])).toBe("bad token [secret]!");
    expect(quote("bad token s3cr3t-v", ["s3cr3t-value"])).toBe("bad token [secret]");
  });
});

describe("secrets spelled in another way", () => {
  const SECRET = "p@ss/W0rd+secret";
  it.each([
    ["percent escapes", encodeURIComponent(SECRET)],
    ["JSON escapes", String.raw`p\u0040ss\/W0rd+secret`],
    ["HTML", "p&#64;ss&#x2f;W0rd+secret"],
    ["another case", SECRET.toUpperCase()],
    ["two lines", "p@ss/W0\r\n rd+secret"],
    ["base64", Buffer.from(SECRET).toString("base64")],
  ])("a secret that an answer spells in another way is not quoted: %s", (_how, spelt) => {
    expect(quote(`you sent ${spelt}, no`, [SECRET])).toBe("[secret]");
  });
});
