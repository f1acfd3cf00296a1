/** Draws messages as Slack draws its blocks. */
import type { Browser } from "playwright-core";

/** A block of Slack's Block Kit, as far as messages of the relay have them. */
export interface Block {
  type: string;
  text?: { type: string; text: string } | string;
  fields?: { text: string }[];
  elements?: Block[];
  title?: { text: string };
  style?: string | Record<string, boolean>;
  url?: string;
  rows?: Block[][];
}

/** `picture`: what the message's image block shows. */
export async function drawMessage(
  browser: Browser,
  blocks: readonly Block[],
  { picture, width, path }: { picture: Uint8Array | null; width: number; path: string },
): Promise<void> {
  const page = await browser.newPage({ viewport: { width, height: 400 } });
  const image = picture === null ? "" : `<img src="data:image/png;base64,${Buffer.from(picture).toString("base64")}">`;
  await page.setContent(`<style>
    body { margin: 0; font: 15px/1.47 Lato, system-ui, sans-serif; color: #1d1c1d; background: #fff }
    #message { display: flex; gap: 10px; padding: 18px 20px; width: ${width - 40}px }
    .avatar { width: 36px; height: 36px; border-radius: 6px; background: #2f6fde; color: #fff; display: grid; place-items: center; font-weight: 700 }
    .body { flex: 1; min-width: 0 } .who { font-weight: 900 } .app { font-size: 10px; background: #e8e8e8; border-radius: 2px; padding: 1px 3px; color: #616061; margin-left: 5px }
    h3 { font-size: 18px; margin: 8px 0 4px } .context { font-size: 12px; color: #616061; margin: 6px 0 } .fields { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 16px; margin: 8px 0 }
    .button { display: inline-block; border: 1px solid #bbb; border-radius: 4px; padding: 4px 12px; margin: 6px 8px 0 0; font-weight: 700; font-size: 13px } .primary { background: #007a5a; color: #fff; border-color: #007a5a }
    blockquote { margin: 6px 0; padding-left: 14px; border-left: 4px solid #ddd } pre, code { background: #f8f8f8; border: 1px solid #ddd; border-radius: 3px; font-size: 12px; padding: 1px 4px } pre { padding: 8px; white-space: pre-wrap }
    img { max-width: min(460px, 100%); border-radius: 8px; border: 1px solid #ddd; margin: 6px 0; display: block } a { color: #1264a3; text-decoration: none } p { margin: 6px 0 } td { border: 1px solid #ddd; padding: 3px 8px }
    .caption { font-size: 13px; color: #616061; margin-top: 6px }
    </style><div id="message"><div class="avatar">S</div><div class="body"><span class="who">Skyvern results</span><span class="app">APP</span>
    ${blocks.map((block) => drawBlock(block, image)).join("\n")}</div></div>`);
  await page.locator("#message").screenshot({ path });
  await page.close();
}

function drawBlock(block: Block, image: string): string {
  const inner = (): string => (block.elements ?? []).map((element) => drawBlock(element, image)).join("");
  const text = typeof block.text === "object" ? drawText(block.text) : escape(block.text ?? "");
  switch (block.type) {
    case "header":
      return `<h3>${text.replace(/^\p{Extended_Pictographic}\uFE0F?/u, drawSign)}</h3>`;
    case "section": {
      const fields = (block.fields ?? []).map((field) => `<div>${markup(field.text)}</div>`).join("");
      return `${text === "" ? "" : `<p>${text}</p>`}${fields === "" ? "" : `<div class="fields">${fields}</div>`}`;
    }
    case "context":
      return `<div class="context">${inner()}</div>`;
    case "mrkdwn":
    case "plain_text":
      return `${typeof block.text === "string" ? markup(block.text) : text} `;
    case "actions":
      return `<div>${inner()}</div>`;
    case "button":
      return `<span class="button ${block.style === "primary" ? "primary" : ""}">${text}</span>`;
    case "image":
      return `${block.title ? `<div class="caption">${escape(block.title.text)}</div>` : ""}${image}`;
    case "divider":
      return "<hr>";
    case "rich_text":
    case "rich_text_section":
      return `<p>${inner()}</p>`;
    case "rich_text_quote":
      return `<blockquote>${inner()}</blockquote>`;
    case "rich_text_preformatted":
      return `<pre>${inner()}</pre>`;
    case "link":
      return `<a>${text === "" ? escape(block.url ?? "") : text}</a>`;
    case "text":
      if (typeof block.style !== "object") return text;
      if (block.style["code"] === true) return `<code>${text}</code>`;
      return block.style["bold"] === true ? `<b>${text}</b>` : text;
    case "table":
      return `<table>${(block.rows ?? []).map((row) => `<tr>${row.map((cell) => `<td>${drawBlock(cell, image)}</td>`).join("")}</tr>`).join("")}</table>`;
    default:
      return text;
  }
}

/** Not every machine has a font of coloured signs. */
const drawSign = (sign: string): string => {
  const [shape, colour] = SIGNS.get(sign.replace("\uFE0F", "")) ?? ["●", "#616061"];
  return `<span style="color:${colour}">${shape}</span>`;
};

const SIGNS = new Map([
  ["✅", ["✔", "#2eb67d"]],
  ["❌", ["✖", "#e01e5a"]],
  ["🛑", ["■", "#e01e5a"]],
  ["⏱", ["◔", "#e01e5a"]],
  ["🚫", ["⊘", "#616061"]],
  ["🔁", ["↻", "#d99a00"]],
]);

function drawText({ type, text }: { type: string; text: string }): string {
  return type === "mrkdwn" ? markup(text) : escape(text);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\n", "<br>");
}

/** Slack's own markup: what is escaped stays so. */
function markup(text: string): string {
  return text
    .replaceAll(/<(https?:[^|>]+)\|([^>]+)>/g, (_all, _url: string, label: string) => `\u0001${label}\u0002`)
    .replaceAll(/`([^`]+)`/g, "<code>$1</code>")
    .replaceAll(/(^|[\s(])\*([^*\n]+)\*/g, "$1<b>$2</b>")
    .replaceAll("\u0001", "<a>")
    .replaceAll("\u0002", "</a>")
    .replaceAll("\n", "<br>");
}
