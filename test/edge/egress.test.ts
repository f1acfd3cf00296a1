/** What of the egress guard there is where the platform resolves names and connects. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { edgeFetch } from "../../src/edge/egress.ts";

async function aServer(answer: { status: number; location?: string } | "silent"): Promise<string> {
  const server = createServer((_request, response) => {
    if (answer === "silent") return;
    response.writeHead(answer.status, answer.location ? { location: answer.location } : {}).end("hello");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it.each([
  ["http://127.0.0.1/", "loopback"],
  ["http://2130706433/", "loopback"],
  ["http://0x7f.1/", "loopback"],
  ["https://10.1.2.3/", "private"],
  ["http://169.254.169.254/latest/meta-data", "link-local"],
  ["http://[::1]/", "loopback"],
  ["http://[::ffff:10.0.0.1]/", "ipv4-mapped"],
  ["http://[fd00::1]/", "unique-local"],
  ["http://localhost/", "not a name of the public internet"],
  ["http://LOCALHOST./", "not a name of the public internet"],
  ["http://db.internal/", "not a name of the public internet"],
  ["http://printer.local/", "not a name of the public internet"],
  ["http://intranet/", "not a name of the public internet"],
  ["ftp://example.com/", "http and https"],
  ["data:text/plain,hello", "http and https"],
])("the edge refuses to fetch %s: %s", async (url, why) => {
  const refused = edgeFetch({ allow: [], trusted: [] })(url);
  await expect(refused).rejects.toMatchObject({
    name: "EgressRefused",
    message: expect.stringContaining(why) as string,
  });
});

it("an address is reached when its network is allowed, or its origin trusted", async () => {
  const url = await aServer({ status: 200 });
  expect((await edgeFetch({ allow: ["127.0.0.0/8"], trusted: [] })(url)).status).toBe(200);
  expect((await edgeFetch({ allow: [], trusted: [url] })(url)).status).toBe(200);
  await expect(edgeFetch({ allow: ["10.0.0.0/8"], trusted: ["http://127.0.0.1:1"] })(url)).rejects.toThrow(/loopback/);
});

it("a redirect comes back as it is, whatever the caller asked for", async () => {
  const url = await aServer({ status: 302, location: "http://10.0.0.1/" });
  const answer = await edgeFetch({ allow: ["127.0.0.0/8"], trusted: [] })(url, { redirect: "follow" });
  expect([answer.status, answer.headers.get("location")]).toEqual([302, "http://10.0.0.1/"]);
});

it("a fetch of the edge ends when no answer begins in time, and when its caller gives up", async () => {
  const url = await aServer("silent");
  const fetch = edgeFetch({ allow: ["127.0.0.0/8"], trusted: [], timeoutMs: 50 });
  await expect(fetch(url)).rejects.toMatchObject({ name: "TimeoutError" });
  await expect(fetch(url, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
});
