/** The frame around every page, and the headers of pages. */
import { html } from "hono/html";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Assets } from "./assets/assets.ts";
import type { Html, Part } from "./markup.ts";
import type { Session } from "./login/session.ts";

/** Pages load everything from the relay itself, run nothing inline, and cannot be framed. */
const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "img-src 'self'",
  "media-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join("; ");

/** htmx may neither write styles nor run text, asks the relay alone, and keeps no page in the browser's storage. */
const HTMX = JSON.stringify({
  includeIndicatorStyles: false,
  allowEval: false,
  allowScriptTags: false,
  selfRequestsOnly: true,
  historyCacheSize: 0,
  refreshOnHistoryMiss: true,
  // A wrong address is answered with 400 and a page that says what is wrong.
  responseHandling: [
    { code: "204", swap: false },
    { code: "[23]..", swap: true },
    { code: "400", swap: true },
    { code: "...", swap: false },
  ],
});

export const HEADERS: Record<string, string> = {
  "content-security-policy": POLICY,
  "cache-control": "no-store",
  // Not `no-referrer`: with that, browsers hide the origin of the relay's own forms from the relay.
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "strict-transport-security": "max-age=15552000",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
};

export interface PageFrame {
  title: string;
  /** The navigation entry that the page belongs to. */
  part?: "runs" | "sinks" | "deliveries" | "unrecognized";
  /** Null: nobody is logged in, and there is no navigation. */
  session: Session | null;
  /** Badges in the navigation. */
  navBadges?: NavBadges;
}

export interface NavBadges {
  /** Some delivery is dead. */
  dead: boolean;
  /** Some receipt was not recognized. */
  unrecognized: boolean;
}

const NO_BADGES: NavBadges = { dead: false, unrecognized: false };

/** Answers with a page. */
export type SendPage = (c: Context, frame: PageFrame, body: Part, status?: ContentfulStatusCode) => Promise<Response>;

/** `assets` are loaded by every page. */
export const createSendPage =
  (assets: Assets): SendPage =>
  async (c, frame, body, status = 200) =>
    // A string, because the template's own object would be sent as a stream, which takes as long as building a small
    // page.
    c.html((await document(frame, assets, body)).toString(), status, HEADERS);

function document({ title, part, session, navBadges = NO_BADGES }: PageFrame, assets: Assets, body: Part): Html {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex, nofollow" />
        <title>${title} · Skyvern relay</title>
        <link rel="icon" href="${assets.icon.path}" type="image/svg+xml" />
        <link rel="stylesheet" href="${assets.style.path}" />
        ${
          session === null
            ? ""
            : html`<meta name="htmx-config" content="${HTMX}" />
                <script src="${assets.htmx.path}" defer></script>`
        }
        <script src="${assets.script.path}" defer></script>
      </head>
      <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header class="top">
          <div class="wide">
            <a class="brand" href="/"><img src="${assets.icon.path}" alt="" width="22" height="22" />Skyvern relay</a>
            ${session === null ? "" : navigation(part, session, navBadges)}
          </div>
        </header>
        <main id="main" class="wide">${body}</main>
        <footer class="wide"><span data-zone>Times are in UTC.</span></footer>
      </body>
    </html>`;
}

function navigation(part: PageFrame["part"], session: Session, { dead, unrecognized }: NavBadges): Html {
  const links = [
    { name: "runs", href: "/", label: "Runs", signal: null },
    { name: "sinks", href: "/sinks", label: "Sinks", signal: null },
    {
      name: "deliveries",
      href: "/deliveries?state=dead",
      label: "Dead deliveries",
      signal: dead ? "there are some" : null,
    },
    ...(unrecognized || part === "unrecognized"
      ? [{ name: "unrecognized", href: "/unrecognized", label: "Unrecognized", signal: "there are some" }]
      : []),
  ];
  return html`<nav aria-label="Main">
      ${links.map(
        ({ name, href, label, signal }) =>
          html`<a href="${href}" ${name === part ? html`aria-current="page"` : ""}
            >${label}${signal === null ? "" : html`<span class="dot"><span class="said"> (${signal})</span></span>`}</a
          >`,
      )}
    </nav>
    <form method="post" action="/logout" class="inline">
      <input type="hidden" name="csrf" value="${session.csrf}" />
      <button class="plain-button">Log out</button>
    </form>`;
}

/** A page with one message and what to do next. */
export const notice = (title: string, text: Part, next: Part = ""): Html =>
  html`<section class="card notice">
    <h1>${title}</h1>
    <p>${text}</p>
    ${next}
  </section>`;
