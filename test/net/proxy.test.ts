/** Requests through a real CONNECT proxy. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage } from "node:http";
import { createServer as createHttps } from "node:https";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createEgress } from "../../src/net/egress.ts";
import { isProxied } from "../../src/net/proxy.ts";
import { aFolder } from "../support/app.ts";
import { configOf, faultsOf } from "../config/source.ts";

interface Proxy {
  url: string;
  /** What it was asked for. */
  targets: string[];
}

/** Sends every tunnel to one server, whatever name was asked for: it is the proxy that resolves. */
async function aProxy(to: number, { login, status = 200 }: { login?: string; status?: number } = {}): Promise<Proxy> {
  const targets: string[] = [];
  const server = createHttp((_request, response) => void response.writeHead(405).end());
  server.on("connect", (request: IncomingMessage, client: Socket) => {
    targets.push(request.url ?? "");
    client.on("error", () => {});
    if (
      login !== undefined &&
      request.headers["proxy-authorization"] !== `Basic ${Buffer.from(login).toString("base64")}`
    )
      return void client.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    if (status !== 200) return void client.end(`HTTP/1.1 ${status} No\r\n\r\n`);
    const target = connect(to, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      target.pipe(client).pipe(target);
    });
    target.on("error", () => client.destroy());
    client.on("close", () => target.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, targets };
}

async function aTlsServer(): Promise<number> {
  const folder = aFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert];
  execFileSync("openssl", [...made, "-subj", "/CN=api.example", "-addext", "subjectAltName=DNS:api.example"], {
    stdio: "ignore",
  });
  const options = { key: readFileSync(key), cert: readFileSync(cert) };
  const server = createHttps(options, (request, response) => response.end(`hello ${request.headers.host}`));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

const PUBLIC = async () => [{ address: "93.184.215.14", family: 4 }];
const egressBy = (url: string, lookup: () => Promise<{ address: string; family: number }[]>, except: string[] = []) => {
  const egress = createEgress({ allow: [], proxy: { url, except }, lookup });
  onTestFinished(() => egress.close());
  return egress;
};
const failing = (egress: ReturnType<typeof egressBy>, url: string): Promise<string> =>
  egress.fetch(url).then(
    () => "answered",
    (error: Error) =>
      `${error.message} ${String((error.cause as Error | undefined)?.message)} ${String(error.cause instanceof Error ? error.cause.cause : "")}`,
  );

describe("a request through HTTPS_PROXY", () => {
  it("a request through HTTPS_PROXY speaks TLS with the target itself, whose certificate is checked by its own name", async () => {
    const proxy = await aProxy(await aTlsServer());
    const said = await failing(egressBy(proxy.url, PUBLIC), "https://api.example/x");
    expect(said).toMatch(/self-signed certificate/);
    expect(proxy.targets).toEqual(["api.example:443"]);
  });

  it("a request through HTTPS_PROXY logs in with the user and password of its address, and says so where they are missing", async () => {
    const to = await aTlsServer();
    const proxy = await aProxy(to, { login: "relay:p@ss" });
    expect(await failing(egressBy(proxy.url, PUBLIC), "https://api.example/")).toMatch(
      /wants user and password: put them into HTTPS_PROXY/,
    );
    const known = proxy.url.replace("://", "://relay:p%40ss@");
    expect(await failing(egressBy(known, PUBLIC), "https://api.example/")).toMatch(/self-signed/);
  });

  it("a request through HTTPS_PROXY that fails names the proxy that refuses or is away", async () => {
    const proxy = await aProxy(1, { status: 403 });
    expect(await failing(egressBy(proxy.url, PUBLIC), "https://api.example/")).toMatch(
      /the proxy 127\.0\.0\.1:\d+ answered 403/,
    );
    expect(await failing(egressBy("http://127.0.0.1:1", PUBLIC), "https://api.example/")).toMatch(
      /could not be reached/,
    );
  });

  it.each([
    ["https://10.0.0.1/", PUBLIC],
    ["https://169.254.169.254/latest/meta-data/", PUBLIC],
    ["https://[::1]/", PUBLIC],
    ["https://inside.example/", async () => [{ address: "10.1.2.3", family: 4 }]],
    ["https://localhost/", async () => Promise.reject(new Error("ENOTFOUND"))],
    ["https://vault.internal/", async () => Promise.reject(new Error("ENOTFOUND"))],
  ])(
    "a request to %s through HTTPS_PROXY is refused by the guard all the same, and the proxy is never asked",
    async (url, lookup) => {
      const proxy = await aProxy(1);
      const egress = egressBy(proxy.url, lookup);
      await expect(egress.fetch(url)).rejects.toThrow(/is not a public address|ENOTFOUND|fetch failed/);
      await expect(egress.request(url, { signal: AbortSignal.timeout(5_000) })).rejects.toThrow(
        /is not a public address|ENOTFOUND/,
      );
      expect(proxy.targets).toEqual([]);
    },
  );

  it("a request goes through HTTPS_PROXY to a name that only the proxy can resolve", async () => {
    const proxy = await aProxy(await aTlsServer());
    await failing(
      egressBy(proxy.url, async () => Promise.reject(new Error("ENOTFOUND"))),
      "https://api.example/",
    );
    expect(proxy.targets).toEqual(["api.example:443"]);
  });

  it("a request to what NO_PROXY names, and to an http address, does not go through HTTPS_PROXY", async () => {
    const proxy = await aProxy(1);
    const egress = createEgress({ allow: ["127.0.0.1"], proxy: { url: proxy.url, except: ["127.0.0.0/8"] } });
    onTestFinished(() => egress.close());
    await expect(egress.fetch("https://127.0.0.1:1/")).rejects.toThrow("fetch failed");
    await expect(egress.fetch("http://127.0.0.1:1/")).rejects.toThrow("fetch failed");
    expect(proxy.targets).toEqual([]);
  });
});

it.each([
  ["*", "a.example", true],
  ["example.com", "example.com", true],
  ["example.com", "api.example.com", true],
  [".example.com", "api.example.com", true],
  ["*.example.com", "api.example.com", true],
  ["example.com", "notexample.com", false],
  ["EXAMPLE.com", "api.Example.com", true],
  ["example.com:8443", "example.com", false],
  ["example.com:443", "example.com", true],
  ["10.0.0.0/8", "10.1.2.3", true],
  ["10.0.0.0/8", "11.1.2.3", false],
  ["fd00::/8", "[fd00::1]", true],
  ["192.168.0.1", "192.168.0.1", true],
])("the item %s of NO_PROXY excepts %s: %s", (item, host, isExcepted) => {
  expect(isProxied({ url: "http://p", except: [item] }, host, "443")).toBe(!isExcepted);
});

describe("the variables", () => {
  it("the proxy variables are read in capitals and in small letters, and show no password", () => {
    const config = configOf({ https_proxy: "relay:s3cret@proxy.example:3128", NO_PROXY: "a.example, 10.0.0.0/8" });
    expect(config.proxy?.url.reveal()).toBe("http://relay:s3cret@proxy.example:3128/");
    expect(config.proxy?.except).toEqual(["a.example", "10.0.0.0/8"]);
    expect(JSON.stringify(config)).not.toContain("s3cret");
  });

  it.each(["ftp://proxy", "http://", "http://proxy/path"])("HTTPS_PROXY %j is a fault", (HTTPS_PROXY) => {
    expect(faultsOf({ HTTPS_PROXY })).toEqual([
      { where: "HTTPS_PROXY", message: expect.stringContaining("address of a proxy") },
    ]);
  });
});
