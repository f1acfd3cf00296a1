/** A mail as a reader opens it on a train: everything it shows came with it. Pictures are kept in `test-output/`. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import PostalMime from "postal-mime";
import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { anApp } from "../support/app.ts";
import { fixtureBytes, fixtureJson } from "../support/fixtures.ts";
import { NOW } from "../support/runtime.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const PICTURES = "test-output";
const VIEWS = [
  { width: 1280, colorScheme: "light" },
  { width: 1280, colorScheme: "dark" },
  { width: 375, colorScheme: "light" },
  { width: 375, colorScheme: "dark" },
] as const;

/** What the agent saw last. */
const PORTAL = `<body style="margin:0;font:18px sans-serif;background:#fff"><div style="background:#0b4f6c;color:#fff;padding:24px 48px">
  Supplier portal</div><div style="margin:48px;padding:24px;border:2px solid #c0392b;color:#c0392b">Scheduled maintenance until 18:00.
  Invoices cannot be shown.</div></body>`;

describe.skipIf(CHROMIUM === undefined)("a mail opened without a network", () => {
  let browser: Browser;
  beforeAll(async () => {
    mkdirSync(PICTURES, { recursive: true });
    browser = await chromium.launch({
      executablePath: CHROMIUM ?? "",
      headless: true,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  });
  afterAll(() => browser?.close());

  const screenshot = async (): Promise<Buffer> => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
    await page.setContent(PORTAL);
    const bytes = await page.screenshot();
    await page.close();
    return bytes;
  };

  /** The mail that the relay sends about a failed run. */
  const aMail = async (): Promise<string> => {
    const relay = await anApp({}, { standIns: ["smtp"], skyvern: { now: () => NOW } });
    const last = { artifact_id: "a_last", artifact_type: "screenshot_final", bytes: await screenshot() };
    relay.standIns.skyvern.addRun({ payload: fixtureJson("workflow_run.failed"), artifacts: [last] });
    await relay.webhook(fixtureBytes("workflow_run.failed"));
    await relay.deliver();
    return relay.standIns.smtp.messages[0]?.raw ?? "";
  };

  test("a mail opened without a network shows the screenshot, in light and dark, on a desk and on a phone", async () => {
    const raw = await aMail();
    writeFileSync(`${PICTURES}/mail.eml`, raw);
    const { html = "", attachments } = await PostalMime.parse(raw);
    // As mail programs do: a content id stands for the part that has it.
    const shown = attachments.reduce((text, { contentId, mimeType, content }) => {
      const data = `data:${mimeType};base64,${Buffer.from(content as ArrayBuffer).toString("base64")}`;
      return text.replaceAll(`cid:${contentId?.slice(1, -1)}`, data);
    }, html);
    for (const { width, colorScheme } of VIEWS) {
      const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, offline: true });
      const page = await context.newPage();
      const requests: string[] = [];
      page.on("request", (request) => {
        if (!request.url().startsWith("data:")) requests.push(request.url());
      });
      await page.setContent(shown);
      const picture = page.getByAltText("Screenshot of the page at the end of the run");
      await picture.evaluate((image) => (image as unknown as { decode(): Promise<void> }).decode());
      const box = await picture.boundingBox();
      const natural = await picture.evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth);
      expect(natural).toBe(1280);
      expect(box?.width).toBeGreaterThan(Math.min(width, 640) * 0.8);
      // Its proportions are kept: 16 to 9, but for the frame.
      expect((box?.width ?? 0) / (box?.height ?? 1)).toBeCloseTo(1280 / 720, 1);
      const sideways = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      expect(sideways).toBe(0);
      expect(requests).toEqual([]);
      await page.screenshot({ path: `${PICTURES}/mail-${width}-${colorScheme}.png`, fullPage: true });
      await context.close();
    }
  });
});
