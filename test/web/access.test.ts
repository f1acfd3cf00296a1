import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { aReader, aRelay, aTask, form, HOST, login, TOKEN, type Relay } from "./relay.ts";

let relay: Relay;
beforeEach(async () => {
  relay = await aRelay();
});
afterEach(() => relay.close());

const PAGES = [
  "/",
  "/runs/tsk_v2_1",
  "/runs/tsk_v2_1/output.json",
  "/runs/tsk_v2_1/media/recording",
  "/runs/x/receipts/y",
  "/runs/x/receipts/y/raw",
  "/sinks",
  "/deliveries",
  "/deliveries/redeliver?state=dead",
  "/unrecognized",
  "/unrecognized/x",
  "/unrecognized/x/raw",
];

/** Everything that changes something, and the page its form stands on. */
const ACTIONS = [
  ["/runs/tsk_v2_1/redeliver", "/runs/tsk_v2_1"],
  ["/runs/tsk_v2_1/artifacts/refresh", "/runs/tsk_v2_1"],
  ["/sinks/http/test", "/sinks"],
  ["/sinks/http/resume", "/sinks"],
  ["/deliveries/redeliver", "/deliveries"],
  ["/logout", "/"],
] as const;

describe("without a session", () => {
  test.each(PAGES)("the page %s without a session leads to the login and shows nothing", async (path) => {
    await relay.webhook(aTask());
    const answer = await relay.request(path);
    expect(answer.status).toBe(303);
    expect(answer.headers.get("location")).toBe(`/login?to=${encodeURIComponent(path)}`);
    expect(await answer.text()).toBe("");
  });

  test("a background request without a session is answered 401, without a redirect that its script would follow", async () => {
    const stream = await relay.request("/live?after=0", { headers: { accept: "text/event-stream" } });
    expect([stream.status, stream.headers.get("location")]).toEqual([401, null]);
    const part = await relay.request("/?q=a%0d%0ab", { headers: { "hx-request": "true" } });
    expect([part.status, part.headers.get("hx-redirect")]).toEqual([401, "/login?to=%2F%3Fq%3Da%250d%250ab"]);
  });

  test.each(ACTIONS)("the action %s without a session leads back to %s after the login", async (path, page) => {
    const answer = await relay.request(path, form({}));
    expect([answer.status, answer.headers.get("location")]).toEqual([303, `/login?to=${encodeURIComponent(page)}`]);
  });

  test("a form without a session changes nothing and leads to the login, then to the page it stood on", async () => {
    await relay.webhook(aTask());
    await relay.app.deliverDue();
    const answer = await relay.request("/runs/tsk_v2_1/redeliver", form({}));
    expect(answer.status).toBe(303);
    expect(answer.headers.get("location")).toBe(`/login?to=${encodeURIComponent("/runs/tsk_v2_1")}`);
    await relay.app.deliverDue();
    expect(relay.sinkBodies).toHaveLength(1);
  });

  test("webhooks, health and the history API need no session", async () => {
    expect((await relay.webhook(aTask(), "/")).status).toBe(200);
    expect((await relay.request("/healthz")).status).toBe(200);
    expect((await relay.request("/v1/runs")).status).toBe(401);
    expect((await relay.request("/v1/runs", { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(200);
  });
});

describe("the login", () => {
  test("a login with a right token gives a cookie that scripts cannot read and that ends after 12 hours", async () => {
    const answer = await relay.request("/login", form({ token: TOKEN, to: "/runs/tsk_v2_1?queued=1" }));
    expect(answer.status).toBe(303);
    expect(answer.headers.get("location")).toBe("/runs/tsk_v2_1?queued=1");
    const cookie = answer.headers.get("set-cookie") ?? "";
    expect(cookie).toMatch(/^skyvern-relay=ses_[^;]+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Lax$/);
    expect(cookie).not.toContain(TOKEN);
    const session = cookie.split(";")[0] ?? "";
    expect((await relay.request("/", { headers: { cookie: session } })).status).toBe(200);
    relay.clock.ms += 12 * 3_600_000;
    expect((await relay.request("/", { headers: { cookie: session } })).status).toBe(303);
  });

  test("the cookie of a login behind https is bound to this host and to TLS", async () => {
    const secure = await aRelay({ env: { PUBLIC_URL: "https://relay.test" } });
    const answer = await secure.request("/login", form({ token: TOKEN }));
    expect(answer.headers.get("set-cookie")).toMatch(
      /^__Host-skyvern-relay=.*; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
    await secure.close();
  });

  test("a token that has a name logs in with it and without it", async () => {
    const named = await aRelay({ env: { RELAY_TOKEN: `ops:${TOKEN},ops:dev:${TOKEN}x` } });
    for (const token of [TOKEN, `ops:${TOKEN}`, `dev:${TOKEN}x`, `ops:dev:${TOKEN}x`])
      expect((await named.request("/", { headers: { cookie: await login(named, token) } })).status).toBe(200);
    await named.close();
  });

  test("a login with a wrong token says so and makes no session", async () => {
    const answer = await relay.request("/login", form({ token: `${TOKEN}x` }));
    expect(answer.status).toBe(401);
    expect(answer.headers.get("set-cookie")).toBeNull();
    const text = await answer.text();
    expect(text).toContain("This is not a token of this relay.");
    expect(text).not.toContain(`${TOKEN}x`);
  });

  test("the login says after ten wrong tokens when to come again, and takes the right one all the same", async () => {
    for (let i = 0; i < 10; i++)
      expect((await relay.request("/login", form({ token: `wrong ${i}` }))).status).toBe(401);
    const slowed = await relay.request("/login", form({ token: "wrong again" }));
    expect(slowed.status).toBe(429);
    expect(slowed.headers.get("set-cookie")).toBeNull();
    expect(Number(slowed.headers.get("retry-after"))).toBeGreaterThan(20);
    expect((await relay.request("/login", form({ token: TOKEN }))).status).toBe(303);
  });

  test("a session that was logged out is over for every copy of its cookie, and no other session is", async () => {
    const [cookie, other] = [await login(relay), await login(relay)];
    const csrf = await csrfOf(relay, cookie);
    const stream = await relay.request("/live?after=0", { headers: { cookie, accept: "text/event-stream" } });
    const leaving = await relay.request("/logout", form({ csrf }, { cookie }));
    expect([leaving.status, leaving.headers.get("location")]).toEqual([303, "/login"]);
    for (const path of ["/", "/sinks", "/live?after=0"])
      expect((await relay.request(path, { headers: { cookie } })).status).toBe(303);
    expect((await relay.request("/artifacts/tsk_1/recording", { headers: { cookie } })).status).toBe(403);
    expect((await relay.request("/", { headers: { cookie: other } })).status).toBe(200);
    // A page that is still open hears of nothing more.
    await relay.webhook(aTask());
    expect(await stream.text()).not.toContain("changed");
  });

  test.each([
    ["another host", "https://evil.example/"],
    ["a host without a scheme", "//evil.example/"],
    ["a host behind a backslash", "/\\evil.example/"],
    ["a host behind a tab", "/\t/evil.example/"],
    ["a host that appears once the path is resolved", "/.//evil.example/"],
    ["a script", "javascript:alert(1)"],
    ["an address that is no page", "/webhook"],
    ["the login itself", "/login?to=/"],
    ["the logout", "/logout"],
  ])("the login does not lead to %s", async (_what, to) => {
    const answer = await relay.request("/login", form({ token: TOKEN, to }));
    expect(answer.headers.get("location")).toBe("/");
    const shown = await (await relay.request(`/login?to=${encodeURIComponent(to)}`)).text();
    expect(shown).toContain('name="to" value="/"');
  });

  test("the login is refused from another site, whatever token it brings", async () => {
    for (const headers of [
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "", origin: "https://evil.example" },
      { "sec-fetch-site": "same-site" },
    ]) {
      const answer = await relay.request("/login", form({ token: TOKEN }, headers));
      expect(answer.status).toBe(403);
      expect(answer.headers.get("set-cookie")).toBeNull();
    }
  });

  test("a login by somebody who is logged in already goes on at once", async () => {
    const cookie = await login(relay);
    const answer = await relay.request("/login?to=%2Fsinks", { headers: { cookie } });
    expect(answer.headers.get("location")).toBe("/sinks");
  });

  test("a session of one relay means nothing to another", async () => {
    const cookie = await login(relay);
    const other = await aRelay();
    expect((await other.request("/", { headers: { cookie } })).status).toBe(303);
    await other.close();
  });

  test("a changed cookie is no session", async () => {
    const cookie = await login(relay);
    const [id = "", expires = "", signature = ""] = cookie.split("=")[1]?.split(".") ?? [];
    for (const changed of [
      `${id}0.${expires}.${signature}`,
      `${id}.${Number(expires) + 1}.${signature}`,
      `${id}.${expires}.${"A".repeat(43)}`,
      "x",
      "",
    ]) {
      expect((await relay.request("/", { headers: { cookie: `skyvern-relay=${changed}` } })).status).toBe(303);
    }
  });
});

const csrfOf = async (relay: Relay, cookie: string): Promise<string> =>
  /name="csrf" value="([^"]+)"/.exec(await (await relay.request("/", { headers: { cookie } })).text())?.[1] ?? "";

describe("without RELAY_TOKEN", () => {
  test("every page without RELAY_TOKEN is closed and says which variable to set", async () => {
    const closed = await aRelay({ env: { RELAY_TOKEN: undefined } });
    for (const path of [...PAGES, "/login"]) {
      const answer = await closed.request(path);
      expect(answer.status).toBe(403);
      expect(await answer.text()).toContain("RELAY_TOKEN");
    }
    expect((await closed.request("/login", form({ token: "" }))).status).toBe(403);
    await closed.close();
  });
});

describe("forms", () => {
  const redeliver = (fields: Record<string, string>, headers: Record<string, string>) =>
    relay.request("/runs/tsk_v2_1/redeliver", form(fields, headers));

  test.each(ACTIONS)(
    "the form of %s is refused from another site and without the session's own field",
    async (path) => {
      await relay.webhook(aTask());
      await relay.app.deliverDue();
      const cookie = await login(relay);
      const csrf = await csrfOf(relay, cookie);
      const given = { csrf, filter: "state=delivered" };
      expect((await relay.request(path, form(given, { cookie, "sec-fetch-site": "cross-site" }))).status).toBe(403);
      expect((await relay.request(path, form({ ...given, csrf: "" }, { cookie }))).status).toBe(403);
      // And with GET nothing happens.
      expect((await relay.request(path, { headers: { cookie } })).status).toBeGreaterThanOrEqual(400);
      await relay.app.deliverDue();
      expect(relay.sinkBodies).toHaveLength(1);
      expect((await relay.request(path, form(given, { cookie }))).status).toBe(303);
    },
  );

  test("a form without the session's own field is refused", async () => {
    await relay.webhook(aTask());
    const cookie = await login(relay);
    for (const fields of [{}, { csrf: "" }, { csrf: "x".repeat(43) }]) {
      expect((await redeliver(fields, { cookie })).status).toBe(403);
    }
  });

  test("a form with the field of another session is refused", async () => {
    await relay.webhook(aTask());
    const [mine, theirs] = [await login(relay), await login(relay)];
    expect((await redeliver({ csrf: await csrfOf(relay, theirs) }, { cookie: mine })).status).toBe(403);
    expect((await redeliver({ csrf: await csrfOf(relay, mine) }, { cookie: mine })).status).toBe(303);
  });

  test.each([
    ["another site", { "sec-fetch-site": "cross-site" }],
    ["another origin, by a browser that names no site", { "sec-fetch-site": "", origin: "http://relay.test:81" }],
    ["nowhere", { "sec-fetch-site": "", origin: "null" }],
  ])("a form from %s is refused though its field is right", async (_who, headers) => {
    await relay.webhook(aTask());
    const cookie = await login(relay);
    const csrf =
      /name="csrf" value="([^"]+)"/.exec(await (await relay.request("/", { headers: { cookie } })).text())?.[1] ?? "";
    const given: Record<string, string> = { ...headers, cookie };
    // An empty header stands for a missing one.
    const init = form({ csrf }, given);
    const sent = new Headers(init.headers);
    if (given["sec-fetch-site"] === "") sent.delete("sec-fetch-site");
    expect((await relay.request("/runs/tsk_v2_1/redeliver", { ...init, headers: sent })).status).toBe(403);
    sent.set("origin", HOST);
    sent.delete("sec-fetch-site");
    expect((await relay.request("/runs/tsk_v2_1/redeliver", { ...form({ csrf }), headers: sent })).status).toBe(303);
  });

  test("a form beyond a few kilobytes is refused unread", async () => {
    const cookie = await login(relay);
    const csrf = await csrfOf(relay, cookie);
    const large = await redeliver({ csrf, more: "x".repeat(20_000) }, { cookie });
    expect([large.status, await large.text()]).toEqual([403, expect.stringContaining("It is too large.")]);
    // It reaches the route, and there is no such run.
    expect((await redeliver({ csrf, more: "x".repeat(10_000) }, { cookie })).status).toBe(404);
  });

  test("the relay tells as many pages as it may of changes at one time, and another one when one has gone", async () => {
    const cookie = await login(relay);
    const open = () => relay.request("/live?after=0", { headers: { cookie, accept: "text/event-stream" } });
    const readers = [];
    for (let i = 0; i < 64; i += 1) {
      const reader = (await open()).body?.getReader();
      await reader?.read();
      readers.push(reader);
    }
    expect((await open()).status).toBe(204);
    await readers.pop()?.cancel();
    expect((await open()).status).toBe(200);
    for (const reader of readers) await reader?.cancel();
  });

  test("logging out takes the cookie away", async () => {
    const answer = await (await aReader(relay)).post("/logout");
    expect(answer.headers.get("location")).toBe("/login");
    expect(answer.headers.get("set-cookie")).toMatch(/^skyvern-relay=; Max-Age=0; Path=\//);
  });
});

describe("headers", () => {
  test("every page forbids what it does not need, and is not kept by caches", async () => {
    await relay.webhook(aTask());
    const reader = await aReader(relay);
    for (const path of [
      "/",
      "/runs/tsk_v2_1",
      "/runs/tsk_v2_1/output.json",
      "/sinks",
      "/deliveries",
      "/deliveries/redeliver?state=dead",
      "/unrecognized",
      "/runs/none",
      "/login",
      "/live",
    ]) {
      const { headers } = await reader.get(path);
      const policy = headers.get("content-security-policy") ?? "";
      for (const rule of [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "script-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
      ]) {
        expect(policy.split("; ")).toContain(rule);
      }
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      // Were it no-referrer, browsers would send `Origin: null` with our own forms.
      expect(headers.get("referrer-policy")).toBe("same-origin");
    }
  });

  test("pages hold no inline script, style or handler", async () => {
    await relay.webhook(aTask());
    const reader = await aReader(relay);
    for (const path of ["/", "/runs/tsk_v2_1", "/sinks", "/deliveries", "/unrecognized"]) {
      const text = await reader.page(path);
      expect(text).not.toMatch(/<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc="\/assets\/)/i);
      expect(text).not.toMatch(/(?:src|href)="(?:https?:)?\/\/(?!app\.skyvern\.com|portal\.example)/);
    }
  });

  test("assets are open without a session, named by content, and kept by browsers", async () => {
    const text = await (await relay.request("/login")).text();
    const paths = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? "");
    expect(new Set(paths).size).toBe(3);
    // Whoever is logged in gets one more.
    const page = await (await aReader(relay)).page("/");
    paths.push(/"(\/assets\/htmx[^"]+)"/.exec(page)?.[1] ?? "none");
    for (const path of paths) {
      const answer = await relay.request(path);
      expect(answer.status).toBe(200);
      expect(answer.headers.get("cache-control")).toContain("immutable");
    }
  });
});
