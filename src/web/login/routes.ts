/** Who is there. */
import type { Context } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { createRateLimit } from "../../platform/rate-limit.ts";
import { field, go, type PageContext } from "../page-context.ts";
import { loginPage } from "./page.ts";
import { ownPage } from "./origin.ts";
import { SESSION_LIFE_MS } from "./session.ts";

export function mountLogin({ web, deps, page, sessions, cookieName, open, ownForm, acting }: PageContext): void {
  const { log, runtime } = deps;
  const failures = createRateLimit({ now: runtime.now, burst: 10, everyMs: 30_000 });
  const isSecure = deps.publicUrl.startsWith("https:");
  const cookieOptions = { path: "/", httpOnly: true, sameSite: "Lax", secure: isSecure } as const;

  web.get("/login", open, (c) => {
    const to = ownPage(c.req.query("to"));
    if (sessions.read(getCookie(c, cookieName)) !== null) return go(c, to);
    return page(c, { title: "Log in", session: null }, loginPage({ to, fault: null }));
  });

  web.get("/login/:code", open, (c) => {
    const client = clientAddress(c);
    // HEAD comes here too, and uses no link up.
    const [token] = deps.tokens;
    const isGood = c.req.method === "GET" && deps.loginLinks.redeem(c.req.param("code"));
    const cookie = isGood && token ? sessions.start(token.reveal()) : null;
    if (cookie === null) {
      log.warn("login.failed", { client, reason: "the link does not work, or not any more" });
      const fault = "This link was used already, or is older than 15 minutes. Log in with a token.";
      return page(c, { title: "Log in", session: null }, loginPage({ to: "/", fault }), 401);
    }
    log.info("login.succeeded", { client, by: "link" });
    setCookie(c, cookieName, cookie, { ...cookieOptions, maxAge: SESSION_LIFE_MS / 1_000 });
    return go(c, "/");
  });

  web.post("/login", ...ownForm, async (c) => {
    const to = ownPage(await field(c, "to"));
    const again = (fault: string, status: 401 | 429) =>
      page(c, { title: "Log in", session: null }, loginPage({ to, fault }), status);
    const client = clientAddress(c);
    const waitMs = failures.waitMs(client);
    if (waitMs > 0) {
      const seconds = Math.ceil(waitMs / 1_000);
      c.header("retry-after", String(seconds));
      log.warn("login.throttled", { client, wait_ms: waitMs });
      return again(`Too many wrong tokens. Try again in ${seconds} s.`, 429);
    }
    const cookie = sessions.start(await field(c, "token"));
    if (cookie === null) {
      failures.count(client);
      log.warn("login.failed", { client });
      return again("This is not a token of this relay.", 401);
    }
    log.info("login.succeeded", { client });
    setCookie(c, cookieName, cookie, { ...cookieOptions, maxAge: SESSION_LIFE_MS / 1_000 });
    return go(c, to);
  });

  web.post("/logout", ...acting, (c) => {
    deleteCookie(c, cookieName, cookieOptions);
    return go(c, "/login");
  });
}

/** The other end of the connection: behind a proxy, the proxy. */
const clientAddress = (c: Context): string => {
  const env = c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined;
  return env?.incoming?.socket?.remoteAddress ?? "unknown";
};
