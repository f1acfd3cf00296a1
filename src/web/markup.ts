/** The small building blocks of every page. */
import { createHash } from "node:crypto";
import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import { isoTime } from "../platform/time.ts";
import type { DeliveryState } from "../domain/run.ts";
import { lookOf, type Tone } from "../domain/status-look.ts";
import { line } from "./text.ts";

export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;
/** What a template may hold; strings are escaped. */
export type Part = Html | string | null | Part[];

const ICONS = {
  done: '<path d="M3 8.6l3.3 3.3L13 4.8"/>',
  failed: '<path d="M4 4l8 8M12 4l-8 8"/>',
  stopped: '<rect x="4" y="4" width="8" height="8" rx="1"/>',
  clock: '<circle cx="8" cy="8" r="5.6"/><path d="M8 4.8V8l2.3 1.6"/>',
  ban: '<circle cx="8" cy="8" r="5.4"/><path d="M4.2 4.2l7.6 7.6"/>',
  dots: '<path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.6"/>',
  info: '<circle cx="8" cy="8" r="5.6"/><path d="M8 7.4v3.4M8 5.2h.01"/>',
  in: '<path d="M8 2.6v7M4.8 6.6L8 9.8l3.2-3.2M3 13.2h10"/>',
  out: '<path d="M3.5 8h9M8.8 4.2L12.6 8l-3.8 3.8"/>',
  again: '<path d="M12.8 6.2A5.2 5.2 0 1 0 13.2 9M13 3v3.4H9.6"/>',
  file: '<path d="M4 2.6h5l3 3v7.8H4zM9 2.6v3h3"/>',
  open: '<path d="M9.4 3H13v3.6M12.8 3.2L7.6 8.4M6.4 4H3.6v8.4H12V9.6"/>',
} as const;
export type IconName = keyof typeof ICONS;

/** Icons are decoration: the text beside them says the same. */
export const icon = (name: IconName): Html =>
  raw(
    `<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" ` +
      `stroke="currentColor" stroke-width="1.8" stroke-linecap="round" ` +
      `stroke-linejoin="round">${ICONS[name]}</svg>`,
  );

export interface BadgeLook {
  label: string;
  tone: Tone;
  icon: IconName;
}

/** A Map, because a hostile status may be a property name that every object inherits. */
const STATUS_ICONS = new Map<string, IconName>([
  ["completed", "done"],
  ["failed", "failed"],
  ["terminated", "stopped"],
  ["timed_out", "clock"],
  ["canceled", "ban"],
  ["retrying", "again"],
]);

export function statusLook(status: string): BadgeLook {
  const { label, tone } = lookOf(status);
  return { label: line(label, 40), tone, icon: STATUS_ICONS.get(status) ?? "info" };
}

export const statusBadge = (status: string): Html => badge(statusLook(status));

/** The words are those of the API, so that a state has one name everywhere. */
export const STATES: Record<DeliveryState, BadgeLook> = {
  pending: { label: "Pending", tone: "warn", icon: "dots" },
  sending: { label: "Sending", tone: "warn", icon: "dots" },
  delivered: { label: "Delivered", tone: "good", icon: "done" },
  dead: { label: "Dead", tone: "bad", icon: "failed" },
  canceled: { label: "Canceled", tone: "plain", icon: "ban" },
};

export const badge = ({ label, tone, icon: name }: BadgeLook): Html =>
  html`<span class="badge ${tone}">${icon(name)}${label}</span>`;

/** Shown in UTC without JavaScript and in the reader's zone with it. `short` omits what is clear today. */
export function time(ms: number | null, style: "short" | "full" = "full"): Html | string {
  const iso = isoTime(ms);
  if (iso === null) return "–";
  const text = style === "short" ? iso.slice(0, 16) : iso.slice(0, 19);
  return html`<time datetime="${iso}" data-style="${style}">${text.replace("T", " ")} UTC</time>`;
}

const WRITTEN_TIME = /\b(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{3})?)(?:Z| UTC)\b/;

/** A sentence whose written-out times are converted to the reader's zone. */
export function withTimes(text: string): Part[] {
  const parts: Part[] = [];
  let rest = text;
  for (let found = WRITTEN_TIME.exec(rest); found !== null && parts.length < 40; found = WRITTEN_TIME.exec(rest)) {
    const ms = Date.parse(`${found[1]}T${found[2]}Z`);
    parts.push(rest.slice(0, found.index), Number.isNaN(ms) ? found[0] : time(ms));
    rest = rest.slice(found.index + found[0].length);
  }
  return [...parts, rest];
}

/** A link to another site. It opens a new tab and passes no referrer. `url` must come from `webUrl`. */
export const externalLink = (url: string, label: Part): Html =>
  html`<a href="${url}" target="_blank" rel="noreferrer noopener nofollow">${label}${icon("open")}</a>`;

export interface FormInput {
  action: string;
  csrf: string;
  fields?: Record<string, string>;
}

/** A button that changes something. It is a form of its own, so that it works without JavaScript. */
export const buttonForm = ({ action, csrf, fields = {} }: FormInput, label: Part, look = ""): Html =>
  html`<form method="post" action="${action}" class="inline">
    <input type="hidden" name="csrf" value="${csrf}" />
    ${Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)}
    <button class="button ${look}">${label}</button>
  </form>`;

/** What a button has just done. */
export const flash = (name: IconName, text: Part): Html =>
  html`<p class="flash" role="status">${icon(name)}${text}</p>`;

/** The id of a row, by which a script recognizes it: short, and independent of the run's name. */
export const rowId = (id: string): string => `r-${createHash("sha256").update(id).digest("hex").slice(0, 16)}`;

/**
 * The attributes of a part that stays up to date: the script hears of changes after `event` at `/live`, and htmx reads
 * the part again from the page's own address. `also` names other parts that come with the same answer.
 */
export const follow = ({ id, address, event, run, also = [] }: LiveRegion): Html =>
  html`id="${id}"
  data-live="/live?after=${event}${run === undefined ? "" : `&run=${encodeURIComponent(run.toWellFormed())}`}"
  hx-get="${address}" hx-trigger="relay:changed from:body" hx-select="#${id}" hx-swap="outerHTML"
  ${also.length === 0 ? "" : html`hx-select-oob="${also.map((id) => `#${id}`).join(",")}"`}`;

export interface LiveRegion {
  id: string;
  address: string;
  event: string;
  /** Follows only this run. */
  run?: string;
  also?: readonly string[];
}

/** The path of a run's page. The id may be any text. */
export const runPath = (runId: string): string => `/runs/${encodeURIComponent(runId.toWellFormed())}`;
