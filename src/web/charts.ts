/**
 * Draws charts as SVG on the relay. Colours come from the stylesheet, because the policy allows no style in the page.
 * Pure.
 */
import { html } from "hono/html";
import { HOUR_MS, hourOf } from "../platform/time.ts";
import { TERMINAL_STATUSES } from "../domain/run.ts";
import { percentile } from "../store/stats/latency-buckets.ts";
import type { DeliveryTimes, Statistics } from "../store/contract/stats.ts";
import { statusLook, time, type Html, type Part } from "./markup.ts";
import { plural } from "../platform/amounts.ts";

export interface Window {
  /** The first bucket's first millisecond. */
  since: number;
  /** One millisecond after the last bucket. */
  until: number;
}

const FEWEST_HOURS = 48;
const MOST_HOURS = 168;

/** The hours to draw for a list with a time filter: at least two days, at most the last seven. */
export function resolveWindow({ since, until }: { since?: number; until?: number }, now: number): Window {
  const end = Math.min(now, Math.max(until ?? now, since === undefined ? 0 : since + FEWEST_HOURS * HOUR_MS));
  const asked = since === undefined ? FEWEST_HOURS : Math.ceil((end - since) / HOUR_MS);
  const hours = Math.min(Math.max(asked, FEWEST_HOURS), MOST_HOURS);
  const last = hourOf(Math.max(end - 1, 0)) + HOUR_MS;
  return { since: last - hours * HOUR_MS, until: last };
}

// --- runs by the hour -----------------------------------------------------------------------------------------------

export interface RunsChart {
  window: Window;
  runs: Statistics["runs"];
  /** The span that the list shows; hours outside are dimmed. */
  shown: { since?: number; until?: number };
  /** The address of the list of one hour. */
  href(since: number, until: number): string;
}

const HEIGHT = 64;
const STATUS_ORDER: readonly string[] = TERMINAL_STATUSES;
/** All statuses that are not among Skyvern's final ones. */
const OTHER = "other";
const seriesOf = (status: string): string => (STATUS_ORDER.includes(status) ? status : OTHER);
const labelOf = (series: string): string => (series === OTHER ? "Not final" : statusLook(series).label);

interface Bar {
  start: number;
  total: number;
  /** Counts by series, in stacking order. */
  counts: [series: string, count: number][];
}

export function runsChart({ window, runs, shown, href }: RunsChart): Html {
  const bars = buildBars(window, runs);
  const totals = sumByStatus(runs);
  const all = [...totals.values()].reduce((sum, n) => sum + n, 0);
  const most = Math.max(1, ...bars.map(({ total }) => total));
  const isNarrowed = shown.since !== undefined || shown.until !== undefined;
  const isShown = (start: number) =>
    start + HOUR_MS > (shown.since ?? -Infinity) && start < (shown.until ?? Infinity) ? "" : "dim";
  const hours = bars.length;
  return html`<figure class="card chart">
    <figcaption class="chart-head">
      <span
        ><strong>Runs per hour</strong>
        <span class="soft"
          >${hours % 24 === 0 ? `${hours / 24} days` : `${hours} hours`},
          ${plural(all, "run")}${all > 0 ? `, at most ${plural(most, "run")} an hour` : ""}</span
        ></span
      >
      <span class="legend"
        >${[...totals].map(
          ([series, n]) => html`<span class="key-of s-${series}">${labelOf(series)} ${n}</span>`,
        )}</span
      >
    </figcaption>
    <svg
      class="bars"
      viewBox="0 0 ${hours * 10} ${HEIGHT}"
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      ${bars.map((bar, i) => barHtml(bar, { x: i * 10, most, look: isNarrowed ? isShown(bar.start) : "", href }))}
    </svg>
    <div class="axis" aria-hidden="true">
      ${placeTicks(window).map((at) => html`<span>${time(at, "short")}</span>`)}
    </div>
    ${all === 0 ? "" : numbers(bars, [...totals.keys()], href)}
  </figure>`;
}

function buildBars({ since, until }: Window, runs: Statistics["runs"]): Bar[] {
  const byStart = Map.groupBy(runs, ({ start }) => start);
  return Array.from({ length: (until - since) / HOUR_MS }, (_none, i) => {
    const start = since + i * HOUR_MS;
    const counts = [...sumByStatus(byStart.get(start) ?? [])];
    return { start, total: counts.reduce((sum, [, n]) => sum + n, 0), counts };
  });
}

function sumByStatus(runs: Statistics["runs"]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { status, count } of runs) sums.set(seriesOf(status), (sums.get(seriesOf(status)) ?? 0) + count);
  return new Map(
    [...STATUS_ORDER, OTHER].flatMap((series) => (sums.has(series) ? [[series, sums.get(series) ?? 0]] : [])),
  );
}

interface BarPlace {
  x: number;
  most: number;
  look: string;
  href: RunsChart["href"];
}

function barHtml({ start, total, counts }: Bar, { x, most, look, href }: BarPlace): Html {
  let top = HEIGHT;
  const parts = counts.map(([series, n]) => {
    // Every bar is at least visible, however small beside the others.
    const height = Math.max((n / most) * (HEIGHT - 4), 1.5);
    top -= height;
    return html`<rect
      class="s-${series}"
      x="${x + 1}"
      y="${top.toFixed(2)}"
      width="8"
      height="${height.toFixed(2)}"
    />`;
  });
  const said = counts.map(([series, n]) => `${n} ${labelOf(series).toLowerCase()}`).join(", ");
  const hit = html`<rect class="hit" x="${x}" y="0" width="10" height="${HEIGHT}" />`;
  const title = html`<title data-at="${new Date(start).toISOString()}">
    ${minute(start)} UTC: ${said || "no run"}
  </title>`;
  if (total === 0)
    return html`<g>${title}<rect class="none" x="${x + 1}" y="${HEIGHT - 1}" width="8" height="1" />${hit}</g>`;
  return html`<a class="${look}" href="${href(start, start + HOUR_MS)}" tabindex="-1">${title}${parts}${hit}</a>`;
}

const minute = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace("T", " ");

/** Both ends and the quarters in between. */
const placeTicks = ({ since, until }: Window): number[] =>
  [0, 1, 2, 3, 4].map((i) => hourOf(since + ((until - since - HOUR_MS) * i) / 4));

/**
 * The same numbers as a table, for readers who cannot see the chart or want exact values. Each hour links to its runs.
 */
const numbers = (bars: readonly Bar[], series: readonly string[], href: RunsChart["href"]): Html =>
  html`<details>
    <summary>As numbers</summary>
    <div class="scroll" tabindex="0" role="group" aria-label="Runs per hour, scrolls sideways">
      <table class="grid numbers">
        <thead>
          <tr>
            <th scope="col">Hour</th>
            ${series.map((one) => html`<th scope="col" class="right">${labelOf(one)}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${bars
            .filter(({ total }) => total > 0)
            .toReversed()
            .map(
              ({ start, counts }) =>
                html`<tr>
                  <th scope="row"><a href="${href(start, start + HOUR_MS)}">${time(start, "short")}</a></th>
                  ${series.map(
                    (one) => html`<td class="right">${counts.find(([name]) => name === one)?.[1] ?? 0}</td>`,
                  )}
                </tr>`,
            )}
        </tbody>
      </table>
    </div>
  </details>`;

// --- how long deliveries took ---------------------------------------------------------------------------------------

const LATENCY_HOURS = 24;
export const latencyWindow = (now: number): Window => {
  const until = hourOf(now) + HOUR_MS;
  return { since: until - LATENCY_HOURS * HOUR_MS, until };
};

const PLOT = { left: 44, width: 336, top: 6, height: 76 };
/** Grid lines, ms. The scale is logarithmic: a retry takes a thousand times as long as an immediate answer. */
const LINES: readonly (readonly [ms: number, label: string])[] = [
  [10, "10 ms"],
  [100, "0.1 s"],
  [1_000, "1 s"],
  [10_000, "10 s"],
  [60_000, "1 min"],
  [600_000, "10 min"],
  [3_600_000, "1 h"],
  [86_400_000, "1 d"],
];

/** One sink's chart over the last day. `times` holds this sink only. */
export function latencyChart(times: readonly DeliveryTimes[], window: Window): Part {
  const [half, most, nearlyAll] = [0.5, 0.9, 0.99].map((share) => percentile(times, share));
  if (half == null || most == null || nearlyAll == null) {
    return html`<p class="soft chart-none">Nothing arrived here in the last 24 hours.</p>`;
  }
  const total = times.reduce((sum, { count }) => sum + count, 0);
  const byStart = Map.groupBy(times, ({ start }) => start);
  const hours = [...byStart].flatMap(([start, own]) => {
    const [p50, p90] = [percentile(own, 0.5), percentile(own, 0.9)];
    return p50 === null || p90 === null ? [] : [{ start, p50, p90, n: own.reduce((sum, { count }) => sum + count, 0) }];
  });
  const highest = Math.max(...hours.map(({ p90 }) => p90));
  const top = LINES.find(([ms]) => ms >= highest)?.[0] ?? highest;
  const lines = LINES.filter(([ms]) => ms <= Math.max(top, 1_000));
  const scale = Math.log(Math.max(top, 1_000) / 10);
  const y = (ms: number) => PLOT.top + PLOT.height * (1 - Math.max(0, Math.log(Math.max(ms, 10) / 10)) / scale);
  const step = PLOT.width / LATENCY_HOURS;
  const bottom = PLOT.top + PLOT.height;
  const bar = (look: string, x: number, ms: number) => {
    const at = Math.min(y(ms), bottom - 2);
    return html`<rect
      class="${look}"
      x="${x.toFixed(1)}"
      y="${at.toFixed(1)}"
      width="${(step - 3).toFixed(1)}"
      height="${(bottom - at).toFixed(1)}"
    />`;
  };
  const stat = (ms: number, share: string) =>
    html`<span class="stat"><strong>${took(ms)}</strong> <span class="soft">${share}</span></span>`;
  return html`<figure class="latency">
    <figcaption>
      <span class="soft">From outbox to sink, ${plural(total, "delivery", "deliveries")} in 24 hours</span>
      <span class="stats"
        >${stat(half, "half within")} ${stat(most, "90\u00A0% within")} ${stat(nearlyAll, "99\u00A0% within")}</span
      >
    </figcaption>
    <svg viewBox="0 0 384 98" aria-hidden="true" focusable="false">
      ${lines.map(
        ([ms, label]) =>
          html`<line
              class="gridline"
              x1="${PLOT.left}"
              x2="384"
              y1="${y(ms).toFixed(1)}"
              y2="${y(ms).toFixed(1)}"
            /><text x="${PLOT.left - 6}" y="${(y(ms) + 3).toFixed(1)}" text-anchor="end"> ${label} </text>`,
      )}
      ${hours.map(({ start, p50, p90, n }) => {
        const x = PLOT.left + ((start - window.since) / HOUR_MS) * step + 1.5;
        const said = `half within ${took(p50)}, 90 % within ${took(p90)}, of ${plural(n, "delivery", "deliveries")}`;
        return html`<g
          ><title data-at="${new Date(start).toISOString()}">${minute(start)} UTC: ${said}</title
          >${bar("p90", x, p90)}${bar("p50", x, p50)}</g
        >`;
      })}
      <text x="${PLOT.left}" y="95">24 h ago</text>
      <text x="384" y="95" text-anchor="end">now</text>
    </svg>
  </figure>`;
}

/** `0.35 s`, `12 s`, `4 min`, `1.5 h` */
export function took(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 90_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / HOUR_MS).toFixed(1)} h`;
}
