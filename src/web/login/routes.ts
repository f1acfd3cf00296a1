/** Login and logout. */
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { retryAfter } from "../../http/auth.ts";
import { basePathOf } from "../base-path.ts";
import { field, go, type PageContext } from "../page-context.ts";
import { loginPage } from "./page.ts";
import { ownPage } from "./origin.ts";
import { SESSION_LIFE_MS } from "./session.ts";

export function mountLogin({ web, deps, page, sessions, cookieName, open, ownForm, acting }: PageContext): void {
  const { log, gate } = deps;
  const isSecure = deps.publicUrl.startsWith("https:");
  const cookieOptions = {
    path: basePathOf(deps.publicUrl) || "/",
    httpOnly: true,
    sameSite: "Lax",
    secure: isSecure,
  } as const;

  web.get("/login", open, async (c) => {
    const to = ownPage(c.req.query("to"));
    if ((await sessions.read(getCookie(c, cookieName))) !== null) return go(c, to);
    return page(c, { title: "Log in", session: null }, loginPage({ to, fault: null }));
  });

  web.get("/login/:code", open, (c) => {
    // HEAD comes here too, and uses no link up.
    const [token] = deps.tokens;
    const isGood = c.req.method === "GET" && deps.loginLinks.redeem(c.req.param("code"));
    const cookie = isGood && token ? sessions.start(token.reveal()) : null;
    if (cookie === null) {
      const waitMs = gate.refuse(c);
      if (waitMs > 0) c.header("retry-after", retryAfter(waitMs));
      const fault = "This link was used already, or is older than 15 minutes. Log in with a token.";
      return page(c, { title: "Log in", session: null }, loginPage({ to: "/", fault }), waitMs > 0 ? 429 : 401);
    }
    log.info("login.succeeded", { by: "link" });
    setCookie(c, cookieName, cookie, { ...cookieOptions, maxAge: SESSION_LIFE_MS / 1_000 });
    return go(c, "/");
  });

  web.post("/login", ...ownForm, async (c) => {
    const to = ownPage(await field(c, "to"));
    const again = (fault: string, status: 401 | 429) =>
      page(c, { title: "Log in", session: null }, loginPage({ to, fault }), status);
    const admission = gate.admit(c, await field(c, "token"));
    const cookie = admission.isRight ? sessions.start(admission.token) : null;
    if (cookie === null) {
      const waitMs = admission.isRight ? 0 : admission.waitMs;
      if (waitMs === 0) return again("This is not a token of this relay.", 401);
      c.header("retry-after", retryAfter(waitMs));
      return again(`This is not a token of this relay. Wait ${retryAfter(waitMs)} s before you try another.`, 429);
    }
    log.info("login.succeeded", { by: "token" });
    setCookie(c, cookieName, cookie, { ...cookieOptions, maxAge: SESSION_LIFE_MS / 1_000 });
    return go(c, to);
  });

  web.post("/logout", ...acting, async (c) => {
    await sessions.end(c.get("session"));
    deleteCookie(c, cookieName, cookieOptions);
    return go(c, "/login");
  });
}
