/** Pages of an invented supplier portal, in place of what a run's browser saw. */
import type { Browser } from "playwright-core";

const SCENES = [
  ["Sign in", "<p>Account <input value='ap@acme.example'></p><p>Password <input value='••••••••'></p>"],
  [
    "Invoices",
    "<table><tr><td>INV-2041<td>2026-09-02<td>128.40 EUR<tr><td>INV-2039<td>2026-08-02<td>96.10 EUR</table>",
  ],
  ["Invoice INV-2041", "<p>Total due <b>128.40 EUR</b> by 2026-09-15</p><p><button>Download PDF</button></p>"],
  [
    "Maintenance",
    "<p style='background:#fdecea;padding:18px;color:#8c1d18'>Back at 18:00. Invoices cannot be shown.</p>",
  ],
  ["Are you a person?", "<p><label><input type=checkbox> I am not a robot</label></p>"],
];

export async function drawScenes(browser: Browser): Promise<Uint8Array[]> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  const scenes: Uint8Array[] = [];
  for (const [title, body] of SCENES) {
    await page.setContent(`<body style="margin:0;font:22px sans-serif;background:#eef1f6">
      <div style="background:#24405f;color:#fff;padding:22px 40px">Supplier portal</div>
      <div style="margin:48px 40px;background:#fff;padding:32px;border-radius:8px"><h2>${title}</h2>${body}</div></body>`);
    scenes.push(await page.screenshot());
  }
  await page.close();
  return scenes;
}
