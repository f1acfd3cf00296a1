/** Says where a run's page shows a mask in place of a secret, and never what was masked. */
import { html } from "hono/html";
import type { Report } from "../../domain/report.ts";
import { isJsonObject, isRawNumber, type Json } from "../../platform/json.ts";
import { REDACTED } from "../../skyvern/redact.ts";
import type { Html } from "../markup.ts";
import { count, plural } from "../../platform/amounts.ts";
import { line } from "../text.ts";

/** Places that are named; the others are counted. */
const MAX_PLACES = 20;
/** Values that are looked at: a page must not take seconds for a hostile output. */
const MAX_VALUES = 50_000;

export interface MaskedPlaces {
  /** Each as a path, such as `output.rows[0].text`. At most {@link MAX_PLACES}. */
  places: string[];
  /** How many more there are. */
  more: number;
}

/** The places in what came of a run where something was masked. */
export function findMasked(report: Report): MaskedPlaces {
  const { title, prompt, summary, url, failure, parameters, output } = report;
  const found: string[] = [];
  let more = 0;
  let left = MAX_VALUES;
  const add = (path: string): void => {
    if (found.length < MAX_PLACES) found.push(path);
    else more += 1;
  };
  const waiting: [path: string, value: Json][] = Object.entries({
    title,
    prompt,
    summary,
    url,
    failure,
    parameters,
    output,
  })
    .map(([name, value]): [string, Json] => [name, value as Json])
    .toReversed();
  for (let next = waiting.pop(); next !== undefined && left > 0; next = waiting.pop(), left -= 1) {
    const [path, value] = next;
    if (typeof value === "string") {
      if (value.includes(REDACTED)) add(path);
    } else if (Array.isArray(value)) {
      for (let i = Math.min(value.length, left) - 1; i >= 0; i -= 1) waiting.push([`${path}[${i}]`, value[i] ?? null]);
    } else if (isJsonObject(value) && !isRawNumber(value)) {
      const fields = Object.entries(value).slice(0, left);
      for (const [key] of fields) if (key.includes(REDACTED)) add(`${path}, a name in it`);
      for (const [key, inner] of fields.toReversed()) waiting.push([`${path}.${key}`, inner]);
    }
  }
  return { places: found, more };
}

/** Null when nothing was masked. */
export function maskedHtml(report: Report): Html | null {
  const { places, more } = findMasked(report);
  if (places.length === 0) return null;
  return html`<details>
    <summary>In ${plural(places.length + more, "place")}</summary>
    <p class="soft">
      These looked like secrets. The relay masked them before it stored the run, and does not have them.
    </p>
    <ul>
      ${places.map((place) => html`<li><code dir="auto">${line(place, 200)}</code></li>`)}
    </ul>
    ${more === 0 ? "" : html`<p class="soft">${count(more)} more.</p>`}
  </details>`;
}
