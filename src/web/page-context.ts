/** What the routes of the pages share: login and form checks, and how a page is sent. */
import type { Context, Hono, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { html } from "hono/html";
import { getCookie } from "hono/cookie";
import type { Log } from "../platform/log.ts";
import type { Links } from "../domain/report.ts";
import type { Circuit, Delivery, Outcome, Run } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Secret } from "../platform/secret.ts";
import type { Media } from "../skyvern/artifacts/media.ts";
import type { DeliveryStore } from "../store/contract/deliveries.ts";
import type { ReceiptStore } from "../store/contract/receipts.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import type { RunStore } from "../store/contract/runs.ts";
import type { StatsStore } from "../store/contract/stats.ts";
import type { TokenGate } from "../http/auth.ts";
import type { AssetTexts } from "./assets/assets.ts";
import { HEADERS, notice, type PageFrame, type SendPage, type NavBadges } from "./layout.ts";
import type { Part } from "./markup.ts";
import type { EndedSessions } from "./login/ended-sessions.ts";
import type { LoginLinks } from "./login/links.ts";
import { isOwnOrigin, ownPage } from "./login/origin.ts";
import { cookieNameOf, createSessions, type Session, type Sessions } from "./login/session.ts";

export interface WebDeps {
  assets: AssetTexts;
  store: Pick<RunStore, "run" | "runs" | "listItems" | "searchFault" | "changes" | "lastChange"> &
    Pick<ReceiptStore, "receipt" | "receipts" | "unrecognizedReceipts" | "body"> &
    Pick<DeliveryStore, "deliveries" | "attempts" | "redeliver" | "redeliverAll" | "redeliverable"> &
    Pick<StatsStore, "backlog" | "counts" | "runCounts" | "deliveryTimes"> &
    Pick<ReconcileStore, "listedRun">;
  links: Links;
  sinks: readonly { name: string; kind: string }[];
  /** Empty: every page says which variable to set. */
  tokens: readonly Secret[];
  /** Asks for the tokens, and slows who guesses them. */
  gate: TokenGate;
  ended: EndedSessions;
  loginLinks: LoginLinks;
  /** The key that signs sessions: 32 bytes stored in the database. */
  key: Buffer;
  /** Without a trailing slash. */
  publicUrl: string;
  /** How often Skyvern's list is read where no webhook can arrive; null where they can. */
  listEveryMs: number | null;
  /** The address for webhooks. */
  webhookUrl(): string;
  media: Pick<Media, "open">;
  runtime: Pick<Runtime, "now" | "newId" | "sleep">;
  log: Log;
  /** Called when deliveries were queued. */
  nudge(): void;
  circuit(sink: string): Promise<Circuit>;
  /** Resumes a sink. */
  resume(sink: string): Promise<void>;
  /** Makes one immediate attempt of a marked test result, outside the outbox. */
  sendTest(sink: string): Promise<{ delivery: Delivery; outcome: Outcome }>;
  /**
   * Reads a run's artifacts from Skyvern again and saves them. Never fails; `reason` says why Skyvern's list could not
   * be read.
   */
  refresh(run: Run, signal: AbortSignal): Promise<{ reason: string | null }>;
  /** Aborts when the relay stops, which ends the streams. */
  stopping: AbortSignal;
}

export interface WebEnv {
  Variables: { session: Session };
}

type Guards = readonly [MiddlewareHandler<WebEnv>, ...MiddlewareHandler<WebEnv>[]];

export interface PageContext {
  web: Hono<WebEnv>;
  deps: WebDeps;
  page: SendPage;
  sessions: Sessions;
  cookieName: string;
  /** Requires that a token is configured. */
  open: MiddlewareHandler<WebEnv>;
  /** Refuses forms that are too large or come from another site. */
  ownForm: Guards;
  /** Requires a session. */
  reading: Guards;
  /** Requires a session, and a form that belongs to it. */
  acting: Guards;
  show(
    c: Context<WebEnv>,
    frame: Omit<PageFrame, "session" | "navBadges">,
    body: Part,
    status?: Status,
  ): Promise<Response>;
  /** Answers with 404 and a page that says what is missing, why that may be, and where to go. */
  notFound(c: Context<WebEnv>, missing: Missing): Promise<Response>;
}
type Status = 200 | 400 | 404 | 409 | 502;

interface Missing {
  title: string;
  /** A paragraph each. */
  why: Part[];
  next: { href: string; label: string };
}

export const PAGE_SIZE = 50;
/** The most bytes of a form; real forms are tiny. */
const FORM_LIMIT = 16_384;
const CLOSED = "Set RELAY_TOKEN, then restart the relay, to open the web page and the history API.";

export function createPageContext(web: Hono<WebEnv>, deps: WebDeps, page: SendPage): PageContext {
  const { store, tokens, runtime } = deps;
  const sessions = createSessions({ tokens, key: deps.key, runtime, ended: deps.ended });
  const cookieName = cookieNameOf(deps.publicUrl);

  const open: MiddlewareHandler<WebEnv> = async (c, next) => {
    if (tokens.length === 0)
      return page(c, { title: "Closed", session: null }, notice("The web page is closed", CLOSED), 403);
    return next();
  };
  const refuse = (c: Context, reason: string) =>
    page(
      c,
      { title: "Refused", session: null },
      notice("The form was refused", `${reason} Go back, reload the page and try again.`),
      403,
    );
  const guard: MiddlewareHandler<WebEnv> = async (c, next) => {
    const session = await sessions.read(getCookie(c, cookieName));
    if (session === null) return toLogin(c);
    c.set("session", session);
    return next();
  };
  const isOurs: MiddlewareHandler<WebEnv> = async (c, next) => {
    const { "sec-fetch-site": fetchSite, origin, host } = c.req.header();
    if (isOwnOrigin({ fetchSite, origin, host }, deps.publicUrl)) return next();
    return refuse(c, "It did not come from a page of the relay.");
  };
  const isOfSession: MiddlewareHandler<WebEnv> = async (c, next) => {
    if (sessions.isOurForm(c.get("session"), await field(c, "csrf"))) return next();
    return refuse(c, "Its session has ended.");
  };
  const small = bodyLimit({ maxSize: FORM_LIMIT, onError: (c) => refuse(c, "It is too large.") });

  const navBadges = async (): Promise<NavBadges> => {
    const [dead, unrecognized] = await Promise.all([
      store.deliveries({ state: ["dead"] }, { limit: 1 }),
      store.unrecognizedReceipts({ limit: 1 }),
    ]);
    return { dead: dead.length > 0, unrecognized: unrecognized.length > 0 };
  };
  const show: PageContext["show"] = async (c, frame, body, status = 200) =>
    page(c, { ...frame, session: c.get("session"), navBadges: await navBadges() }, body, status);
  return {
    web,
    deps,
    page,
    sessions,
    cookieName,
    open,
    ownForm: [open, small, isOurs],
    reading: [open, guard],
    acting: [open, small, isOurs, guard, isOfSession],
    show,
    notFound: (c, { title, why: [first = "", ...rest], next: { href, label } }) => {
      const more = rest.map((text) => html`<p class="soft">${text}</p>`);
      const button = html`<p><a class="button" href="${href}">${label}</a></p>`;
      return show(c, { title }, notice(title, first, [more, button]), 404);
    },
  };
}

/**
 * Redirects to the login. A background request of the script gets a status or header instead, as it cannot show the
 * page.
 */
function toLogin(c: Context): Response {
  const login = `/login?to=${encodeURIComponent(returnAddress(c))}`;
  const headers = c.req.header();
  if (headers["hx-request"] === undefined && headers["accept"] !== "text/event-stream") return go(c, login);
  return c.body(null, 401, { ...HEADERS, ...(headers["hx-request"] === undefined ? {} : { "hx-redirect": login }) });
}

/** Where the login returns to; for a form, the page that holds it. */
function returnAddress(c: Context): string {
  const { pathname, search } = new URL(c.req.url);
  const path = c.req.method === "GET" ? pathname : pathname.replace(/^(\/runs\/[^/]+|\/sinks|\/deliveries)\/.*$/, "$1");
  return ownPage(`${path}${search}`);
}

/** Redirects with GET, whatever the method of the request. `to` is one of the relay's own pages. */
export const go = (c: Context, to: string): Response => c.body(null, 303, { ...HEADERS, location: to });

/** The address of the same page with a message for it to show. */
export function withFlash(path: string, said: Record<string, string>): string {
  const to = new URL(path, "http://relay.invalid");
  for (const [name, value] of Object.entries(said)) to.searchParams.set(name, value);
  return `${to.pathname}${to.search}`;
}

/** A field of a form; empty when anything but text was sent under its name. */
export async function field(c: Context, name: string): Promise<string> {
  // A body that is no form, whatever its content type, has no fields.
  const form: Record<string, unknown> = await c.req.parseBody().catch(() => ({}));
  const value = form[name];
  return typeof value === "string" ? value : "";
}

/** A small number from the address that the page shows as a message, or null. */
export const readFlash = (c: Context, name: string): number | null => {
  const text = c.req.query(name) ?? "";
  return /^\d{1,6}$/.test(text) ? Number(text) : null;
};

/** One more row than shown tells whether there is a next page. */
export const pageAfter = (after: { at: number; id: string } | null | undefined) => ({
  limit: PAGE_SIZE + 1,
  ...(after ? { after } : {}),
});
