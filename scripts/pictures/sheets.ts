/** Sheets with many runs on each: a row a run, what everybody reads of it side by side, from the top. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { writeFileSync } from "node:fs";
import type { Browser } from "playwright-core";

/** Each picture's width on the sheet; higher ones are cut. */
const COLUMNS = [
  ["desk.light.png", 600],
  ["phone.light.png", 270],
  ["slack.png", 380],
  ["mail.png", 250],
  ["mail-text.png", 250],
] as const;
const ROW_HEIGHT = 600;
const RUNS_A_SHEET = 2;

/** Draws `sheet-01.png` and so on into the folder of the pictures. */
export async function drawSheets(browser: Browser, names: readonly string[], folder: string): Promise<void> {
  const width = COLUMNS.reduce((sum, [, column]) => sum + column + 8, 16);
  const page = await browser.newPage({ viewport: { width, height: 800 } });
  for (let first = 0; first < names.length; first += RUNS_A_SHEET) {
    const number = String(first / RUNS_A_SHEET + 1).padStart(2, "0");
    const html = join(folder, `sheet-${number}.html`);
    const rows = names.slice(first, first + RUNS_A_SHEET).map((name) => rowHtml(folder, name));
    writeFileSync(html, `<body style="margin:8px;font:14px sans-serif;background:#ddd">${rows.join("")}</body>`);
    await page.goto(pathToFileURL(html).href);
    await page.evaluate("Promise.allSettled([...document.images].map((img) => img.decode()))");
    await page.screenshot({ path: join(folder, `sheet-${number}.png`), fullPage: true });
  }
  await page.close();
}

function rowHtml(folder: string, name: string): string {
  const cells = COLUMNS.map(([kind, width]) => {
    const box = `width:${width}px;height:${ROW_HEIGHT}px;margin-right:8px;overflow:hidden;background:#eee`;
    const file = `${name}.${kind}`;
    const image = existsSync(join(folder, file)) ? `<img src="${encodeURIComponent(file)}" style="width:100%">` : "";
    return `<div style="${box}">${image}</div>`;
  });
  return `<h3 style="margin:4px 0">${name}</h3><div style="display:flex;margin-bottom:10px">${cells.join("")}</div>`;
}
