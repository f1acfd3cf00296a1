/** One part of a run's page, under its title. */
import { html } from "hono/html";
import type { Html, Part } from "../markup.ts";

interface CardOptions {
  attributes?: Part;
  /** Shown beside the title. */
  aside?: Part;
}

export const card = (id: string, title: string, body: Part, { attributes = "", aside = "" }: CardOptions = {}): Html =>
  html`<section class="card" aria-labelledby="${id}" ${attributes}>
    <div class="card-head">
      <h2 id="${id}">${title}</h2>
      ${aside}
    </div>
    ${body}
  </section>`;
