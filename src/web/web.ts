/**
 * The web page: server-rendered, whole without JavaScript, nothing from elsewhere. Whoever knows a token of `RELAY_TOKEN`
 * logs in with it; everything but the login and the assets asks for the session.
 */
import { Hono, type Context, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import type { Log } from "../log.ts";
import { toReport, type Links } from "../report.ts";
import type { Runtime } from "../runtime.ts";
import type { Secret } from "../secret.ts";
import type { Media } from "../skyvern/media.ts";
import { StorageFault, type Store, type StoredRun } from "../store/store.ts";
import { mountAssets } from "./assets/assets.ts";
import { deliveriesPage } from "./deliveries-page.ts";
import { HEADERS, notice, page, type Frame, type Signals } from "./layout.ts";
import { loginPage } from "./login-page.ts";
import { runPath, type Part } from "./markup.ts";
import { mediaOf } from "./media.ts";
import { isOwnOrigin, ownPage } from "./origin.ts";
import { DELIVERY_FILTERS, deliveryFilter, readQuery, RUN_FILTERS, runFilter } from "./query.ts";
import { keptPage, receiptPage } from "./receipt-pages.ts";
import { redeliver } from "../store/redeliver.ts";
import { runPage } from "./run-page.ts";
import { runsPage } from "./runs-page.ts";
import { cookieNameOf, createSessions, SESSION_LIFE_MS, type Session } from "./session.ts";
import { sinksPage, type SinkView } from "./sinks-page.ts";
import { line } from "./text.ts";
import { createThrottle } from "./throttle.ts";

export interface WebParts {
  store: Pick<
    Store,
    | "run"
    | "runs"
    | "receipts"
    | "keptReceipts"
    | "body"
    | "deliveries"
    | "attempts"
    | "redeliver"
    | "backlog"
    | "counts"
  >;
  links: Links;
  sinks: readonly { name: string; kind: string }[];
  /** Empty: every page says which variable to set. */
  tokens: readonly Secret[];
  /** What sessions are signed with: 32 bytes kept in the database. */
  key: Buffer;
  /** Without trailing slash. */
  publicUrl: string;
  media: Pick<Media, "open">;
  runtime: Pick<Runtime, "now" | "newId">;
  log: Log;
  /** Called when deliveries were queued. */
  nudge(): void;
}

const PAGE_SIZE = 50;
/** Bytes; the forms are tiny. */
const FORM_LIMIT = 16_384;
const CLOSED = "Set RELAY_TOKEN, then restart the relay, to open the web page and the history API.";

interface Env {
  Variables: { session: Session };
}

/** Mounts the pages. Their own headers are stricter than the rest's, so this comes before any middleware that sets such. */
export function mountWeb(app: Hono, parts: WebParts): void {
  mountAssets(app);
  app.route("/", createWeb(parts));
}

function createWeb(parts: WebParts): Hono<Env> {
  const { store, sinks, links, runtime, log, tokens } = parts;
  const web = new Hono<Env>({ strict: false });
  const sessions = createSessions({ tokens, key: parts.key, runtime });
  const throttle = createThrottle({ now: runtime.now });
  const isSecure = parts.publicUrl.startsWith("https:");
  const cookieName = cookieNameOf(parts.publicUrl);
  const cookieOptions = { path: "/", httpOnly: true, sameSite: "Lax", secure: isSecure } as const;

  web.onError((error, c) => {
    const isStorage = error instanceof StorageFault;
    log.error("page.crashed", { method: c.req.method, path: c.req.path, error: error.stack ?? error.message });
    const text = isStorage
      ? "The database cannot be read or written right now. Try again in a moment."
      : "The relay met a bug; its log has the details.";
    return page(c, { title: "Error", session: null }, notice("That did not work", text), isStorage ? 503 : 500);
  });

  const open: MiddlewareHandler<Env> = async (c, next) => {
    if (tokens.length === 0)
      return page(c, { title: "Closed", session: null }, notice("The web page is closed", CLOSED), 403);
    return next();
  };
  const guard: MiddlewareHandler<Env> = async (c, next) => {
    const session = sessions.read(getCookie(c, cookieName));
    if (session === null) return go(c, `/login?to=${encodeURIComponent(addressOf(c))}`);
    c.set("session", session);
    return next();
  };
  const refuse = (c: Context<Env>, reason: string) =>
    page(
      c,
      { title: "Refused", session: null },
      notice("That form was refused", `${reason} Go back, reload the page and try again.`),
      403,
    );
  const ownForm: MiddlewareHandler<Env> = async (c, next) => {
    const { "sec-fetch-site": fetchSite, origin, host } = c.req.header();
    if (isOwnOrigin({ fetchSite, origin, host }, parts.publicUrl)) return next();
    return refuse(c, "It did not come from a page of the relay.");
  };
  const sessionForm: MiddlewareHandler<Env> = async (c, next) => {
    if (sessions.isOurForm(c.get("session"), await field(c, "csrf"))) return next();
    return refuse(c, "It belongs to a session that is over.");
  };
  const small = bodyLimit({ maxSize: FORM_LIMIT, onError: (c) => refuse(c, "It is too large.") });
  const reading = [open, guard] as const;
  const acting = [open, small, ownForm, guard, sessionForm] as const;

  const signals = async (): Promise<Signals> => {
    const [dead, kept] = await Promise.all([
      store.deliveries({ state: ["dead"] }, { limit: 1 }),
      store.keptReceipts(1),
    ]);
    return { dead: dead.length > 0, kept: kept.length > 0 };
  };
  const show = async (
    c: Context<Env>,
    frame: Omit<Frame, "session" | "signals">,
    body: Part,
    status: 200 | 400 | 404 = 200,
  ) => page(c, { ...frame, session: c.get("session"), signals: await signals() }, body, status);
  const notFound = (c: Context<Env>, text: string) => show(c, { title: "Not found" }, notice("Not found", text), 404);
  const noRun = (c: Context<Env>) =>
    notFound(c, "The relay does not know this run. It may have been pruned, or its webhook went elsewhere.");

  // --- who is there -------------------------------------------------------------------------------------------------

  web.get("/login", open, (c) => {
    const to = ownPage(c.req.query("to"));
    if (sessions.read(getCookie(c, cookieName)) !== null) return go(c, to);
    return page(c, { title: "Log in", session: null }, loginPage({ to, fault: null }));
  });

  web.post("/login", open, small, ownForm, async (c) => {
    const to = ownPage(await field(c, "to"));
    const again = (fault: string, status: 401 | 429) =>
      page(c, { title: "Log in", session: null }, loginPage({ to, fault }), status);
    const client = clientOf(c);
    const waitMs = throttle.waitMs(client);
    if (waitMs > 0) {
      const seconds = Math.ceil(waitMs / 1_000);
      c.header("retry-after", String(seconds));
      log.warn("login.throttled", { client, wait_ms: waitMs });
      return again(`Too many wrong tokens. Try again in ${seconds} s.`, 429);
    }
    const cookie = sessions.start(await field(c, "token"));
    if (cookie === null) {
      throttle.failed(client);
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

  // --- runs ---------------------------------------------------------------------------------------------------------

  web.get("/", ...reading, async (c) => {
    const { query, faults } = readQuery(new URL(c.req.url).searchParams, RUN_FILTERS);
    const page = { limit: PAGE_SIZE, ...(query.after ? { after: query.after } : {}) };
    const found = faults.length > 0 ? { runs: [], next: null } : await store.runs(runFilter(query), page);
    const runs = found.runs.map(({ state }) => state.run);
    const rows = await Promise.all(
      runs.map(async (run) => ({ run, deliveries: await store.deliveries({ runId: run.run_id }, { limit: 100 }) })),
    );
    const view = { rows, query, faults, older: found.next, sinks, publicUrl: parts.publicUrl };
    return show(c, { title: "Runs", part: "runs" }, runsPage(view), faults.length > 0 ? 400 : 200);
  });

  web.get("/runs", ...reading, (c) => go(c, "/"));

  web.get("/runs/:run_id", ...reading, async (c) => {
    const runId = c.req.param("run_id");
    const stored = await store.run(runId);
    if (stored === null) return noRun(c);
    const [receipts, deliveries] = await Promise.all([
      store.receipts(runId),
      store.deliveries({ runId }, { limit: 1_000 }),
    ]);
    const attempts = await store.attempts(deliveries.map(({ id }) => id));
    const here = linksHere(links, parts.publicUrl);
    const report = toReport(
      {
        run: stored.state.run,
        revision: stored.state.revision,
        artifacts: stored.artifacts,
        artifactsStatus: stored.status,
      },
      here,
    );
    const body = runPage({
      stored,
      report,
      receipts,
      deliveries,
      attempts,
      sinks,
      session: c.get("session"),
      queued: queuedOf(c),
      link: (key) => here.artifact(runId, key),
    });
    return show(c, { title: line(stored.state.run.title ?? runId, 80), part: "runs" }, body);
  });

  web.get("/runs/:run_id/output.json", ...reading, async (c) => {
    const stored = await store.run(c.req.param("run_id"));
    if (stored === null) return noRun(c);
    return c.body(JSON.stringify(stored.state.run.output), 200, {
      ...HEADERS,
      "content-type": "application/json",
      "content-disposition": "attachment",
    });
  });

  web.get("/runs/:run_id/media/:key", ...reading, async (c) => {
    const { run_id: runId, key } = c.req.param();
    const stored = await store.run(runId);
    if (stored === null || !isOf(stored, key)) return notFound(c, "This run has no such picture or film.");
    const range = c.req.header("range") ?? null;
    const owner = { run: stored.state.run, artifacts: stored.artifacts };
    return mediaOf(parts.media, { owner, key, range, signal: c.req.raw.signal });
  });

  web.post("/runs/:run_id/redeliver", ...acting, async (c) => {
    const runId = c.req.param("run_id");
    const sink = await field(c, "sink");
    // "Send to all" of a run that was meant for nobody means every sink there is.
    const told = sink === "" ? await store.deliveries({ runId }, { limit: 1 }) : [];
    const all = told.length > 0 ? null : sinks.map(({ name }) => name);
    const done = await redeliver({ store, sinks, runtime }, runId, sink === "" ? all : [sink]);
    if (!done.ok) {
      return page(
        c,
        { title: "Not sent", part: "runs", session: c.get("session") },
        notice("Nothing was sent", done.reason),
        done.status,
      );
    }
    parts.nudge();
    log.info("run.redelivered", {
      run_id: runId,
      deliveries: done.deliveries.map(({ id }) => id),
      session: c.get("session").id,
    });
    const to = await field(c, "to");
    const back = new URL(to === "" ? runPath(runId) : ownPage(to), "http://relay.invalid");
    back.searchParams.set("queued", String(done.deliveries.length));
    return go(c, `${back.pathname}${back.search}`);
  });

  // --- receipts -----------------------------------------------------------------------------------------------------

  const receiptOf = async (runId: string | undefined, id: string) => {
    const known = runId === undefined ? await store.keptReceipts(1_000) : await store.receipts(runId);
    return known.find((receipt) => receipt.id === id) ?? null;
  };
  const receiptShown = async (c: Context<Env>, runId: string | undefined, id: string) => {
    const receipt = await receiptOf(runId, id);
    if (receipt === null) return notFound(c, "There is no such receipt, or it is understood by now.");
    const base = runId === undefined ? "/kept" : `${runPath(runId)}/receipts`;
    const raw = `${base}/${encodeURIComponent(id)}/raw`;
    const body = receiptPage({ receipt, body: await store.body(id), raw });
    return show(c, { title: "What was received", part: runId === undefined ? "kept" : "runs" }, body);
  };
  const receiptRaw = async (c: Context<Env>, runId: string | undefined, id: string) => {
    const body = (await receiptOf(runId, id)) === null ? null : await store.body(id);
    if (body === null) return notFound(c, "There is no such receipt, or its bytes were pruned.");
    return c.body(new Uint8Array(body), 200, {
      ...HEADERS,
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename="${id}.json"`,
    });
  };

  web.get("/kept", ...reading, async (c) =>
    show(c, { title: "Not understood", part: "kept" }, keptPage(await store.keptReceipts(200))),
  );
  web.get("/kept/:id", ...reading, (c) => receiptShown(c, undefined, c.req.param("id")));
  web.get("/kept/:id/raw", ...reading, (c) => receiptRaw(c, undefined, c.req.param("id")));
  web.get("/runs/:run_id/receipts/:id", ...reading, (c) => receiptShown(c, c.req.param("run_id"), c.req.param("id")));
  web.get("/runs/:run_id/receipts/:id/raw", ...reading, (c) => receiptRaw(c, c.req.param("run_id"), c.req.param("id")));

  // --- sinks and deliveries -----------------------------------------------------------------------------------------

  web.get("/sinks", ...reading, async (c) =>
    show(c, { title: "Sinks", part: "sinks" }, sinksPage(await sinkViews(parts), runtime.now())),
  );

  web.get("/deliveries", ...reading, async (c) => {
    const { query, faults } = readQuery(new URL(c.req.url).searchParams, DELIVERY_FILTERS);
    const found = faults.length > 0 ? [] : await store.deliveries(deliveryFilter(query), pageAfter(query.after));
    const rows = found.slice(0, PAGE_SIZE);
    const last = rows.at(-1);
    const older = found.length > PAGE_SIZE && last ? { at: last.created_at, id: last.id } : null;
    const view = { rows, query, faults, older, sinks, session: c.get("session"), queued: queuedOf(c) };
    return show(c, { title: "Deliveries", part: "deliveries" }, deliveriesPage(view), faults.length > 0 ? 400 : 200);
  });

  return web;
}

/** Always with GET, whatever was asked with. `to` is one of our own pages. */
const go = (c: Context, to: string): Response => c.body(null, 303, { ...HEADERS, location: to });

/** A form's field; whatever else was sent under its name is as nothing. */
async function field(c: Context, name: string): Promise<string> {
  // A body that is no form, whatever it is called, holds no field.
  const form: Record<string, unknown> = await c.req.parseBody().catch(() => ({}));
  const value = form[name];
  return typeof value === "string" ? value : "";
}

/** Where to come back to after the login; of a form, the page it stands on. */
const addressOf = (c: Context): string => {
  const { pathname, search } = new URL(c.req.url);
  return ownPage(`${pathname.replace(/\/redeliver$/, "")}${search}`);
};

const queuedOf = (c: Context): number | null => {
  const text = c.req.query("queued") ?? "";
  return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : null;
};

/** One more than shown, to know whether there is more. */
const pageAfter = (after: ReturnType<typeof readQuery>["query"]["after"]) => ({
  limit: PAGE_SIZE + 1,
  ...(after ? { after } : {}),
});

/** Links that lead to the relay under whatever address it is read at: the session is there, and so is the policy's `self`. */
const linksHere = (links: Links, publicUrl: string): Links => {
  const local = (url: string) => (url.startsWith(`${publicUrl}/`) ? url.slice(publicUrl.length) : url);
  return { run: (runId) => local(links.run(runId)), artifact: (runId, key) => local(links.artifact(runId, key)) };
};

const isOf = ({ state: { run }, artifacts }: StoredRun, key: string): boolean =>
  key === run.recording || run.screenshots.includes(key) || artifacts.some(({ artifact_id }) => artifact_id === key);

/** The other end of the connection: behind a proxy, the proxy. */
const clientOf = (c: Context): string => {
  const env = c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined;
  return env?.incoming?.socket?.remoteAddress ?? "unknown";
};

async function sinkViews({ store, sinks }: WebParts): Promise<SinkView[]> {
  const [backlog, { deliveries }] = await Promise.all([store.backlog(), store.counts()]);
  const names = new Set([...sinks.map(({ name }) => name), ...deliveries.map(({ sink }) => sink)]);
  return Promise.all(
    [...names].map(async (name): Promise<SinkView> => {
      const newest = (state: string[], limit: number) => store.deliveries({ sink: [name], state }, { limit });
      const [delivered, open] = await Promise.all([
        newest(["delivered"], 1),
        newest(["pending", "sending", "dead"], 50),
      ]);
      const own = deliveries.filter(({ sink }) => sink === name).map(({ state, count }) => [state, count] as const);
      return {
        name,
        kind: sinks.find((sink) => sink.name === name)?.kind ?? null,
        backlog: backlog.find(({ sink }) => sink === name) ?? null,
        counts: Object.fromEntries(own),
        lastError: open.find(({ last_error }) => last_error !== null) ?? null,
        lastSuccess: delivered[0] ?? null,
      };
    }),
  );
}
