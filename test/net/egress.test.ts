import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { gzipSync } from "node:zlib";
import { SMTPServer } from "smtp-server";
import { afterEach, describe, expect, test } from "vitest";
import { createEgress, type Egress, type EgressOptions } from "../../src/net/egress.ts";
import { EgressRefused, parseCidr, refusedRange } from "../../src/net/networks.ts";
import { BodyTooLong, viaFetch, type HttpClient, type HttpRequest } from "../../src/net/http-client.ts";

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

function egressWith(options: Partial<EgressOptions> = {}): Egress {
  const egress = createEgress({ allow: [], ...options });
  open.push(egress);
  return egress;
}

/** Answers 200 with the Host header it saw; `/away` redirects. */
async function startServer(host = "127.0.0.1"): Promise<{ port: number; seen: string[] }> {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    seen.push(request.url ?? "");
    if (request.url === "/away") response.writeHead(302, { location: "/secret" }).end();
    else response.end(request.headers.host);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  open.push({
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  });
  return { port: (server.address() as AddressInfo).port, seen };
}

const answers = (...addresses: string[]) =>
  addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));

async function refusalOf(promise: Promise<unknown>): Promise<EgressRefused> {
  const error: unknown = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(EgressRefused);
  return error as EgressRefused;
}

/** How many connections this process began to anywhere while `act` ran. */
async function connectionsDuring(act: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const onSocket = () => void (count += 1);
  subscribe("net.client.socket", onSocket);
  try {
    await act();
  } finally {
    unsubscribe("net.client.socket", onSocket);
  }
  return count;
}

test("these tests see the connections that are made", async () => {
  const { port } = await startServer();
  const egress = egressWith({ allow: ["127.0.0.1"] });
  const act = async () => void (await (await egress.fetch(`http://127.0.0.1:${port}/`)).text());
  expect(await connectionsDuring(act)).toBe(1);
});

describe("addresses that are not public", () => {
  test.each([
    ["http://127.0.0.1/", "loopback"],
    ["http://127.1/", "loopback"],
    ["http://2130706433/", "loopback"],
    ["http://0x7f000001/", "loopback"],
    ["http://0x7f.0.0.1/", "loopback"],
    ["http://017700000001/", "loopback"],
    ["http://0177.0.0.1/", "loopback"],
    ["http://127.0.0.1./", "loopback"],
    ["http://①②⑦.0.0.1/", "loopback"],
    ["https://127.8.9.10:8443/", "loopback"],
    ["http://0.0.0.0/", "unspecified"],
    ["http://0/", "unspecified"],
    ["http://10.0.0.1/", "private"],
    ["http://172.16.0.1/", "private"],
    ["http://192.168.1.1/", "private"],
    ["http://0xc0a80101/", "private"],
    ["http://169.254.169.254/latest/meta-data/", "linkLocal"],
    ["http://2852039166/", "linkLocal"],
    ["http://100.64.0.1/", "carrierGradeNat"],
    ["http://224.0.0.1/", "multicast"],
    ["http://255.255.255.255/", "broadcast"],
    ["http://192.0.2.1/", "reserved"],
    ["http://198.18.0.1/", "reserved"],
    ["http://240.0.0.1/", "reserved"],
    ["http://[::1]/", "loopback"],
    ["http://[::]/", "unspecified"],
    ["http://[::ffff:127.0.0.1]/", "ipv4Mapped"],
    ["http://[::ffff:7f00:1]/", "ipv4Mapped"],
    ["http://[::ffff:8.8.8.8]/", "ipv4Mapped"],
    ["http://[::127.0.0.1]/", "not global unicast"],
    ["http://[fe80::1]/", "linkLocal"],
    ["http://[fd00::1]/", "uniqueLocal"],
    ["http://[fdaa:0:1::3]/", "uniqueLocal"],
    ["http://[64:ff9b::7f00:1]/", "rfc6052"],
    ["http://[64:ff9b:1::7f00:1]/", "rfc6052"],
    ["http://[::ffff:0:127.0.0.1]/", "rfc6145"],
    ["http://[2002:7f00:1::]/", "6to4"],
    ["http://[2001:0:7f00:1::]/", "teredo"],
    ["http://[2001:db8::1]/", "reserved"],
    ["http://[ff02::1]/", "multicast"],
    ["http://[100::1]/", "discard"],
    ["http://[fec0::1]/", "deprecatedSiteLocal"],
    ["http://0x7f.1:8022/", "loopback"],
    ["http://0300.0250.1.1/", "private"],
    ["http://[0:0:0:0:0:ffff:a9fe:a9fe]/", "ipv4Mapped"],
    ["http://[64:ff9b::169.254.169.254]/", "rfc6052"],
    ["http://[2002:a9fe:a9fe::]/", "6to4"],
    ["http://127。0。0。1/", "loopback"],
    ["http:127.0.0.1/", "loopback"],
    ["http:\\\\127.0.0.1/", "loopback"],
    ["HTTP://LOCALHOST:80/", "loopback"],
  ])(
    "an address that is not public is refused however it is written, before anything is sent: %s",
    async (url, range) => {
      let reason = "";
      const egress = egressWith();
      const act = async () => void ({ reason } = await refusalOf(egress.fetch(url)));
      expect(await connectionsDuring(act)).toBe(0);
      expect(reason).toContain(
        `is not a public address (${range.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)})`,
      );
      expect(reason).toContain("ALLOW_PRIVATE_NETWORKS");
    },
  );

  test.each([
    ["a trailing dot", "http://localhost./", ["127.0.0.1"]],
    ["a name of the cloud's own", "http://metadata.google.internal./computeMetadata/v1/", ["169.254.169.254"]],
    ["a name that hides an address", "http://127.0.0.1.nip.example/", ["127.0.0.1"]],
    ["the second of its addresses", "http://two.example/", ["93.184.215.14", "10.0.0.1"]],
    ["an IPv6 address beside a public one", "http://six.example/", ["93.184.215.14", "fd00::1"]],
    ["an IPv4-mapped answer", "http://mapped.example/", ["::ffff:10.0.0.1"]],
    ["an answer with a zone", "http://zone.example/", ["fe80::1%eth0"]],
    ["an answer in decimal", "http://odd.example/", ["2130706433"]],
    ["an answer that is no address", "http://odd.example/", ["nonsense"]],
    ["all addresses", "http://any.example/", ["0.0.0.0"]],
  ])("a name with %s is refused before anything is sent", async (_what, url, addresses) => {
    const egress = egressWith({ lookup: async () => answers(...addresses) });
    const act = async () => void (await refusalOf(egress.fetch(url)));
    expect(await connectionsDuring(act)).toBe(0);
  });

  test.each([
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1@93.184.215.14/",
    "http://example.com:80%40127.0.0.1/",
    "http://user:password@[::1]:8080/",
    "http://127.0.0.1:80\\@93.184.215.14/",
    "http://[::1",
    "http://1.2.3.4.5/",
    "http://256.0.0.1/",
    "//127.0.0.1/",
    "",
  ])(
    "%j, which is no URL, or hides its host behind a user or a port, is refused before anything is sent",
    async (url) => {
      const egress = egressWith({ lookup: async () => answers("127.0.0.1") });
      const act = () => expect(egress.fetch(url)).rejects.toBeInstanceOf(Error);
      expect(await connectionsDuring(act)).toBe(0);
    },
  );
});

test.each(["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1"])(
  "the address %s is public",
  (address) => {
    expect(refusedRange(address, [])).toBeNull();
  },
);

test.each([
  "file:///etc/passwd",
  "FILE://localhost/etc/passwd",
  "ftp://example.com/",
  "gopher://127.0.0.1:6379/_FLUSHALL",
  "data:text/plain,x",
  "blob:https://example.com/1",
  "ws://127.0.0.1/",
  "javascript:alert(1)",
])("%s is refused, as only http and https are fetched", async (url) => {
  const egress = egressWith();
  const act = async () => expect((await refusalOf(egress.fetch(url))).reason).toContain("http and https");
  expect(await connectionsDuring(act)).toBe(0);
});

test("localhost is refused by what it resolves to", async () => {
  const { reason } = await refusalOf(egressWith().fetch("http://localhost:8080/"));
  expect(reason).toContain("localhost");
  expect(reason).toContain("(loopback)");
});

test("a name is refused when any of its addresses is, and the reason names host and address", async () => {
  const egress = egressWith({ lookup: async () => answers("8.8.8.8", "10.1.2.3") });
  const { reason } = await refusalOf(egress.fetch("http://both.example/"));
  expect(reason).toContain("both.example (10.1.2.3)");
});

test("an allowed network is reached, and its neighbours are not", async () => {
  const { port } = await startServer();
  const egress = egressWith({ allow: ["127.0.0.1/32"] });
  expect(await (await egress.fetch(`http://127.0.0.1:${port}/`)).text()).toBe(`127.0.0.1:${port}`);
  await refusalOf(egress.fetch(`http://127.0.0.2:${port}/`));
});

test("the connection goes to the address that was checked, resolved once, and keeps the name in its Host header", async () => {
  const { port } = await startServer();
  let asked = 0;
  const lookup = async () => answers(asked++ === 0 ? "127.0.0.1" : "10.0.0.1");
  const egress = egressWith({ allow: ["127.0.0.1"], lookup });
  const response = await egress.fetch(`http://hooks.example:${port}/`);
  expect(await response.text()).toBe(`hooks.example:${port}`);
  expect(asked).toBe(1);
});

test("a name that later answers with a loopback address is refused at its next connection", async () => {
  const { port, seen } = await startServer("0.0.0.0");
  let address = "127.0.0.1";
  const egress = egressWith({ allow: ["127.0.0.1"], lookup: async () => answers(address) });
  const first = await egress.fetch(`http://rebind.example:${port}/first`, { headers: { connection: "close" } });
  await first.text();
  address = "127.0.0.2";
  await refusalOf(egress.fetch(`http://rebind.example:${port}/second`));
  expect(seen).toEqual(["/first"]);
});

test("an origin named as infrastructure is reached wherever it resolves, and other ports of it are not", async () => {
  const trusted = await startServer();
  const other = await startServer();
  const egress = egressWith({
    trusted: [`http://skyvern.internal:${trusted.port}/api`],
    lookup: async () => answers("127.0.0.1"),
  });
  expect((await egress.fetch(`http://skyvern.internal:${trusted.port}/`)).status).toBe(200);
  await refusalOf(egress.fetch(`http://skyvern.internal:${other.port}/`));
});

test("a redirect is never followed, whatever the caller asks", async () => {
  const { port, seen } = await startServer();
  const egress = egressWith({ allow: ["127.0.0.0/8"] });
  const response = await egress.fetch(`http://127.0.0.1:${port}/away`, { redirect: "follow" });
  expect(response.status).toBe(302);
  expect(response.headers.get("location")).toBe("/secret");
  expect(seen).toEqual(["/away"]);
});

test("a request to a name without an address fails as not found, and not as refused", async () => {
  const error: unknown = await egressWith({ lookup: async () => [] })
    .fetch("http://nowhere.example/")
    .catch((error: unknown) => error);
  expect((error as Error).cause).toMatchObject({ code: "ENOTFOUND" });
});

test("a server that never answers runs into the time limit", async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push({
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  });
  const egress = egressWith({ allow: ["127.0.0.1"], timeoutMs: 100 });
  const error: unknown = await egress
    .fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    .catch((error: unknown) => error);
  expect((error as Error).cause).toMatchObject({ code: "UND_ERR_HEADERS_TIMEOUT" });
});

test("a TLS connection asks for the name, not for the address it is pinned to", async () => {
  const asked: string[] = [];
  const server = createTlsServer({
    SNICallback: (name, done) => {
      asked.push(name);
      done(new Error("no certificate here"));
    },
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push({ close: () => new Promise((resolve) => server.close(resolve)) });
  const egress = egressWith({ allow: ["127.0.0.1"], lookup: async () => answers("127.0.0.1") });
  await expect(egress.fetch(`https://hooks.example:${(server.address() as AddressInfo).port}/`)).rejects.toThrow(
    "fetch failed",
  );
  expect(asked).toEqual(["hooks.example"]);
});

test("a certificate without a trusted authority is not accepted", async () => {
  // A mail server in TLS from the start, which brings a self-signed certificate with it.
  const server = new SMTPServer({ secure: true, logger: false, closeTimeout: 0 });
  server.on("error", () => {});
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
  open.push({ close: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  const egress = egressWith({ allow: ["127.0.0.1"] });
  const error: unknown = await egress
    .fetch(`https://127.0.0.1:${(server.server.address() as AddressInfo).port}/`)
    .catch((error: unknown) => error);
  expect((error as Error).cause).toMatchObject({ code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY|CERT_/) });
});

test.each(["10.0.0.0/8", "fd00::/8", "127.0.0.1", "::1", "0.0.0.0/0"])("%s is a network", (text) => {
  expect(parseCidr(text)).not.toBeNull();
});

test.each([
  "",
  "10.0.0.0/33",
  "fd00::/129",
  "10.0/8",
  "0x7f.0.0.1",
  "example.com",
  "10.0.0.0/",
  "10.0.0.0/8/8",
  "fe80::1%eth0",
])("%j is not a network", (text) => {
  expect(parseCidr(text)).toBeNull();
  expect(() => createEgress({ allow: [text] })).toThrow("is not a network");
});

describe("an answer that is wanted whole", () => {
  const question = (more: Partial<HttpRequest> = {}): HttpRequest => ({
    headers: { accept: "application/json" },
    signal: new AbortController().signal,
    maxBytes: 200_000,
    ...more,
  });
  const ways = [
    ["by undici's request", ({ request }: Egress): HttpClient => request],
    ["by fetch", ({ fetch }: Egress): HttpClient => viaFetch(fetch)],
  ] as const;

  async function serve(listener: RequestListener): Promise<URL> {
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    open.push({
      close: () =>
        new Promise((resolve) => {
          server.close(resolve);
          server.closeAllConnections();
        }),
    });
    return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/a?b=c`);
  }

  describe.each(ways)("%s", (_way, clientOf) => {
    const client = () => clientOf(egressWith({ allow: ["127.0.0.1"] }));

    test.each([
      ["short", { "content-length": "6" }, "[1, 2]"],
      ["of unknown length", {}, "[1, 2]"],
      ["long", { "content-length": "100002" }, JSON.stringify("x".repeat(100_000))],
      ["empty", { "content-length": "0" }, ""],
    ])("a whole answer that is %s comes with its status and headers", async (_name, headers, body) => {
      const url = await serve((_request, response) =>
        response.writeHead(418, { ...headers, "x-of": "theirs" }).end(body),
      );
      const answer = await client()(url, question());
      expect([answer.status, answer.headers.get("x-of"), answer.headers.get("x-no")]).toEqual([418, "theirs", null]);
      expect([answer.body.toString(), answer.missing]).toEqual([body, null]);
    });

    test("a request for a whole answer sends its body and headers to the path and query asked for", async () => {
      const url = await serve((request, response) => {
        let body = "";
        request.on("data", (chunk: Buffer) => (body += chunk.toString()));
        request.on("end", () =>
          response.end(JSON.stringify([request.method, request.url, request.headers["x-of"], body])),
        );
      });
      const { body } = await client()(url, question({ method: "POST", headers: { "x-of": "ours" }, body: "Grüße" }));
      expect(JSON.parse(body.toString())).toEqual(["POST", "/a?b=c", "ours", "Grüße"]);
    });

    test("a whole answer is unpacked though the request did not ask for compression", async () => {
      const url = await serve((_request, response) =>
        response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("[1, 2]")),
      );
      const { body, missing } = await client()(url, question());
      expect([body.toString(), missing]).toEqual(["[1, 2]", null]);
    });

    test("a whole answer is no longer than was asked for, packed or not", async () => {
      const url = await serve((request, response) => {
        if (request.headers["x-of"] === "packed")
          response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(1_000_000)));
        else response.writeHead(200).end("x".repeat(1_000_000));
      });
      for (const headers of [{ "x-of": "packed" }, {}] as Record<string, string>[]) {
        const { status, body, missing } = await client()(url, question({ headers }));
        expect([status, missing?.why]).toEqual([200, expect.any(BodyTooLong)]);
        expect(body.length).toBeLessThanOrEqual(200_000);
      }
    });

    test("a whole answer that announces more than was asked for is not waited for", async () => {
      const url = await serve((_request, response) =>
        response.writeHead(200, { "content-length": "200001" }).write("x"),
      );
      const { status, missing } = await client()(url, question());
      expect([status, missing?.why]).toEqual([200, expect.any(BodyTooLong)]);
    });

    test.each([
      ["is too long", "x".repeat(300_000), 10_000],
      ["does not end in time", "x", 1_000],
    ])("the connection of an answer that %s is closed", async (_what, body, ms) => {
      const closed = Promise.withResolvers<void>();
      const url = await serve((_request, response) => {
        response
          .once("close", () => closed.resolve())
          .writeHead(200)
          .write(body);
      });
      const { missing } = await client()(url, question({ signal: AbortSignal.timeout(ms) }));
      expect(missing).not.toBeNull();
      await closed.promise;
    });

    test("a hint that comes before the answer is not taken for it", async () => {
      const url = await serve((request, response) => {
        response.writeEarlyHints({ link: "</style.css>; rel=preload" });
        if (request.method === "POST") setTimeout(() => request.socket.destroy(), 20);
        else response.writeHead(201).end("there");
      });
      const { status, body } = await client()(url, question());
      expect([status, body.toString()]).toEqual([201, "there"]);
      await expect(client()(url, question({ method: "POST", body: "x" }))).rejects.toBeInstanceOf(Error);
    });

    test("a whole answer has its status though it breaks off", async () => {
      const url = await serve((_request, response) => {
        response.writeHead(200, { "content-length": "100" }).write("[1");
        setTimeout(() => response.destroy(), 20);
      });
      const { status, body, missing } = await client()(url, question());
      expect([status, body.toString()]).toEqual([200, "[1"]);
      expect(missing).not.toBeNull();
    });

    test("a whole answer has its status though its end was not waited for", async () => {
      const url = await serve((_request, response) => response.writeHead(200, { "content-length": "100" }).write("[1"));
      const { status, missing } = await client()(url, question({ signal: AbortSignal.timeout(1_000) }));
      expect([status, missing?.why]).toEqual([200, expect.objectContaining({ name: "TimeoutError" })]);
    });

    test("a request fails as timed out when no answer comes in time, and when the time was over before", async () => {
      const url = await serve(() => {});
      for (const signal of [AbortSignal.timeout(50), AbortSignal.abort(new DOMException("late", "TimeoutError"))])
        await expect(client()(url, question({ signal }))).rejects.toMatchObject({ name: "TimeoutError" });
    });

    test("a request fails when the connection breaks before an answer", async () => {
      const url = await serve((request) => request.socket.destroy());
      const error: unknown = await client()(url, question()).catch((error: unknown) => error);
      expect(String((error as Error).cause ?? error)).toMatch(/other side closed|ECONNRESET/);
    });

    test("a whole answer is not followed when it redirects", async () => {
      const url = await serve((_request, response) => response.writeHead(302, { location: "/secret" }).end("moved"));
      expect(await client()(url, question())).toMatchObject({ status: 302, missing: null });
    });

    test("a request for a whole answer is refused where fetch is", async () => {
      const { port } = await startServer();
      await refusalOf(clientOf(egressWith())(new URL(`http://127.0.0.1:${port}/`), question()));
      await refusalOf(clientOf(egressWith())(new URL("ftp://example.com/"), question()));
    });
  });

  test("a request for a whole answer ends in time while the name is being resolved", async () => {
    const { request } = egressWith({ lookup: () => new Promise(() => {}) });
    const asked = request(new URL("http://slow.example/"), question({ signal: AbortSignal.timeout(50) }));
    await expect(asked).rejects.toMatchObject({ name: "TimeoutError" });
  });

  test("a request that was given up while the name was being resolved is never sent", async () => {
    const { port, seen } = await startServer();
    const found = Promise.withResolvers<ReturnType<typeof answers>>();
    const { request } = egressWith({ allow: ["127.0.0.1"], lookup: () => found.promise });
    const late = request(new URL(`http://slow.example:${port}/late`), question({ signal: AbortSignal.timeout(20) }));
    await expect(late).rejects.toMatchObject({ name: "TimeoutError" });
    found.resolve(answers("127.0.0.1"));
    await request(new URL(`http://slow.example:${port}/next`), question());
    expect(seen).toEqual(["/next"]);
  });

  test("requests for whole answers use their connections again", async () => {
    const { port } = await startServer();
    const { request } = egressWith({ allow: ["127.0.0.1"] });
    const count = await connectionsDuring(async () => {
      for (let n = 0; n < 20; n++)
        await request(new URL(`http://127.0.0.1:${port}/`), question({ method: "POST", body: "x" }));
    });
    expect(count).toBeLessThanOrEqual(2);
  });
});
