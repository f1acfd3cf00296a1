/** Pages under a path of PUBLIC_URL, behind a real proxy that strips it. */
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aRelay, aTask, TOKEN, type Relay } from "./relay.ts";

const BASE = "/tools/relay";
let relay: Relay;
let origin: string;
let close: () => void;

/** Strips the path and passes on the rest, as `location /tools/relay/ { proxy_pass http://relay/; }` has nginx do. */
beforeEach(async () => {
  const proxy = createServer((incoming, answer) => {
    const path = incoming.url ?? "/";
    if (path !== BASE && !path.startsWith(`${BASE}/`)) return void answer.writeHead(404).end("another program's");
    const { method, headers } = incoming;
    const to = { port, host: "127.0.0.1", method, headers, path: path.slice(BASE.length) || "/" };
    const passed = request(to, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  relay = await aRelay({ env: { PUBLIC_URL: origin + BASE }, file: "receive: { labels: [customer] }" });
  const { port } = await relay.start();
  close = () => void proxy.close();
});
afterEach(async () => {
  close();
  await relay.close();
});

/** A browser: it keeps the cookie for its path, and goes where it is sent. */
function aBrowser() {
  let cookie = "";
  let path = "";
  const go = async (address: string, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(address, origin);
    const sent = cookie !== "" && `${url.pathname}/`.startsWith(`${path}/`) ? { cookie } : {};
    const answer = await fetch(url, {
      ...init,
      redirect: "manual",
      headers: { origin, ...sent, ...(init.headers as Record<string, string>) },
    });
    const set = answer.headers.get("set-cookie");
    if (set !== null) {
      cookie = set.split(";")[0] ?? "";
      path = /;\s*path=([^;]*)/i.exec(set)?.[1] ?? "";
    }
    const location = answer.headers.get("location");
    return location === null ? answer : go(new URL(location, url).href);
  };
  const post = (address: string, fields: Record<string, string>) =>
    go(address, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams(fields).toString(),
    });
  return { go, post, cookiePath: () => path };
}

/** Addresses in attributes of a page; what a reader typed stands in others. */
const addressesIn = (page: string): string[] =>
  [...page.matchAll(/\s([a-z-]+)="((?:\/|https?:)[^"]*)"/g)].flatMap(([, name, address = ""]) =>
    name === "value" ? [] : [address.replaceAll("&amp;", "&")],
  );

test("every page, asset, form, link and redirect stays under the path of PUBLIC_URL, and so does the cookie", async () => {
  const { go, post, cookiePath } = aBrowser();
  await relay.webhook(aTask({ summary: 'href="/evil" <a href="/evil">' }), "/webhook?customer=42");
  await relay.webhook({ nothing: "known" });
  relay.sinkAnswers.push(400);
  await relay.app.deliverDue();

  const login = await go(`${BASE}/runs/tsk_v2_1?x=1`);
  expect(login.url).toBe(`${origin}${BASE}/login?to=%2Fruns%2Ftsk_v2_1%3Fx%3D1`);
  const action = /action="([^"]*)"/.exec(await login.text())?.[1] ?? "";
  const run = await post(action, { token: TOKEN, to: "/runs/tsk_v2_1" });
  expect([run.status, run.url, cookiePath()]).toEqual([200, `${origin}${BASE}/runs/tsk_v2_1`, BASE]);
  expect(await run.text()).toContain("href=&quot;/evil&quot;");

  const seen = new Set<string>();
  const toSee = [
    `${BASE}/`,
    `${BASE}/sinks`,
    `${BASE}/deliveries?state=dead`,
    `${BASE}/unrecognized`,
    `${BASE}/?q=${encodeURIComponent("/x")}`,
  ];
  for (let address = toSee.shift(); address !== undefined && seen.size < 80; address = toSee.shift()) {
    if (seen.has(address)) continue;
    seen.add(address);
    const stop = new AbortController();
    const answer = await go(address, { signal: stop.signal });
    const isPage = (answer.headers.get("content-type") ?? "").startsWith("text/html");
    const found = isPage ? addressesIn(await answer.text()) : [];
    stop.abort();
    expect([address, answer.status]).toEqual([address, expect.toBeOneOf([200, 404, 405])]);
    expect(answer.url.startsWith(`${origin}${BASE}/`)).toBe(true);
    const own = found.filter((one) => one.startsWith("/") || one.startsWith(origin));
    expect(own.filter((one) => !one.replace(origin, "").startsWith(`${BASE}/`))).toEqual([]);
    toSee.push(...own.filter((one) => !one.endsWith("/logout") && !/\/(redeliver|refresh|test|resume)$/.test(one)));
  }
  expect(seen).toContain(`${BASE}/?label=customer%3A42`);
  expect([...seen].some((address) => address.startsWith(`${BASE}/assets/`))).toBe(true);
  expect([...seen].some((address) => address.startsWith(`${BASE}/live?`))).toBe(true);

  const page = await (await go(`${BASE}/runs/tsk_v2_1`)).text();
  const csrf = /name="csrf" value="([^"]+)"/.exec(page)?.[1] ?? "";
  const resent = await post(`${BASE}/runs/tsk_v2_1/redeliver`, { csrf });
  expect([resent.status, new URL(resent.url).pathname]).toEqual([200, `${BASE}/runs/tsk_v2_1`]);
  expect((await post(`${BASE}/logout`, { csrf })).url).toBe(`${origin}${BASE}/login`);
});

test("links in messages lead under the path of PUBLIC_URL, and open there", async () => {
  await relay.webhook(aTask({}));
  await relay.app.deliverDue();
  const { data } = JSON.parse(relay.sinkBodies[0] ?? "") as { data: { run_url: string } };
  expect(data.run_url).toBe(`${origin}${BASE}/runs/tsk_v2_1`);
  expect((await aBrowser().go(data.run_url)).url).toContain(`${BASE}/login`);
});

test("a script that asks without a session is sent to the login under the path of PUBLIC_URL", async () => {
  const answer = await fetch(`${origin}${BASE}/sinks`, { headers: { "hx-request": "true" } });
  expect([answer.status, answer.headers.get("hx-redirect")]).toEqual([401, `${BASE}/login?to=%2Fsinks`]);
});

test("the cookie over TLS is for the path of PUBLIC_URL, under a name that says so", async () => {
  const secure = await aRelay({ env: { PUBLIC_URL: "https://example.com/tools/relay/" } });
  const answer = await secure.request("/login", {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded", origin: "https://example.com" },
    body: new URLSearchParams({ token: TOKEN }).toString(),
  });
  expect(answer.headers.get("set-cookie")).toMatch(/^__Secure-skyvern-relay=ses_.*Path=\/tools\/relay;.*Secure/);
  await secure.close();
});

test.each(["/", "/login", "/v1/runs", "/openapi.json", "/healthz", "/artifacts/a/b"])(
  "the address %s asks for TLS of its own host alone, not of others under it",
  async (path) => {
    const { headers } = await relay.request(path);
    expect(headers.get("strict-transport-security") ?? "").not.toContain("includeSubDomains");
  },
);
