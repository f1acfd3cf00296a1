/** The blocks of a workflow run as a timeline: where it broke is marked, and those of a loop stand in from it. */
import { html } from "hono/html";
import { typeName } from "../../domain/block.ts";
import { duration } from "../../sinks/content.ts";
import { plainReason } from "../../sinks/plain-reason.ts";
import { badge, statusLook, type Html, type Part } from "../markup.ts";
import { plural } from "../../platform/amounts.ts";
import { block, line } from "../text.ts";
import { card } from "./card.ts";
import { mediaPath } from "./pictures.ts";
import type { RunView } from "./view.ts";

/** Earlier blocks are folded, since a run breaks at its end. */
const OPEN_BLOCKS = 20;

type ReportBlock = RunView["report"]["blocks"][number];

export function blocksCard({ report, stored }: RunView): Part {
  const { blocks, blocks_omitted: omitted } = report;
  if (blocks.length === 0) return "";
  const hasAttempts = blocks.some(({ attempt }) => attempt > 1);
  const said = plainReason(report.failure?.reason ?? null);
  const rows = blocks.map((one, index) => {
    const key = stored.timeline?.blocks[index]?.screenshot ?? null;
    return blockHtml(one, { hasAttempts, said, picture: key === null ? null : mediaPath(report.run_id, key) });
  });
  const folded = Math.max(0, rows.length - OPEN_BLOCKS);
  return card("blocks", "Blocks", [
    omitted === 0 ? "" : html`<p class="soft">${plural(omitted, "earlier block")} not shown.</p>`,
    folded === 0
      ? ""
      : html`<details>
          <summary>${plural(folded, "earlier block")}</summary>
          ${list(rows.slice(0, folded))}
        </details>`,
    list(rows.slice(folded)),
  ]);
}

const list = (rows: Html[]): Html =>
  html`<ol class="blocks">
    ${rows}
  </ol>`;

interface Beside {
  hasAttempts: boolean;
  /** The run's reason, which stands above. */
  said: string | null;
  picture: string | null;
}

function blockHtml(one: ReportBlock, { hasAttempts, said, picture }: Beside): Html {
  const { label, type, status, attempt, depth, duration_ms: took, codes, screenshot_url: link } = one;
  const reason = plainReason(one.reason);
  const look = statusLook(status ?? "unknown");
  const name = line(label ?? "", 100) || line(typeName(type), 60);
  const about = [
    line(typeName(type), 60),
    ...(hasAttempts ? [`attempt ${attempt}`] : []),
    ...(took === null ? [] : [duration(took)]),
  ];
  return html`<li class="block depth-${Math.min(depth, 4)} ${look.tone}">
    <div>
      <span class="row">${badge(look)} <strong dir="auto">${name}</strong></span>
      <span class="sub" dir="auto">${about.join(" · ")}</span>
      ${reason === null || reason === said ? "" : html`<span class="sub why" dir="auto">${block(reason, 600)}</span>`}
      ${codes.length === 0 ? "" : html`<span class="sub">${codes.map((code) => html`<code>${line(code, 128)}</code> `)}</span>`}
    </div>
    ${
      picture === null || link === null
        ? ""
        : html`<a href="${link}" target="_blank" rel="noreferrer noopener"
            ><img src="${picture}" alt="Screenshot of ${name}" loading="lazy" width="112" height="63"
          /></a>`
    }
  </li>`;
}
