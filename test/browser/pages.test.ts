/**
 * The pages in a real browser: whole without a third party, without an error on the console, without a sideways scroll,
 * in both colour schemes and on a phone. Pictures of every page are kept in `test-output/`.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { seeded, TOKEN, type SeededRelay } from "./seeded.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const PICTURES = "test-output";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [
  { width: 1280, height: 800, colorScheme: "light" },
  { width: 1280, height: 800, colorScheme: "dark" },
  { width: 375, height: 812, colorScheme: "light" },
  { width: 375, height: 812, colorScheme: "dark" },
] as const;

describe.skipIf(CHROMIUM === undefined)("in a browser", { timeout: 120_000 }, () => {
  let browser: Browser;
  let relay: SeededRelay;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complained of, and whatever it asked of anybody else. */
  let complaints: string[];

  beforeAll(async () => {
    mkdirSync(PICTURES, { recursive: true });
    relay = await seeded();
    browser = await chromium.launch({
      executablePath: CHROMIUM ?? "",
      headless: true,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await relay?.close();
  });

  const openPage = async (options: Parameters<Browser["newContext"]>[0] = {}) => {
    context = await browser.newContext({
      baseURL: relay.url,
      locale: "en-GB",
      timezoneId: "Europe/Berlin",
      // Pictures are taken at once after a change of colours.
      reducedMotion: "reduce",
      ...options,
    });
    page = await context.newPage();
    watch(page);
  };
  const watch = (one: Page) => {
    one.on("console", (message) => {
      // The one answer of 401 is the page itself: the login after a wrong token.
      const isLogin = message.location().url.endsWith("/login");
      if (["error", "warning"].includes(message.type()) && !isLogin) complaints.push(`console: ${message.text()}`);
    });
    one.on("pageerror", (error) => complaints.push(`script: ${error.message}`));
    one.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    one.on("request", (request) => {
      if (!request.url().startsWith(relay.url)) complaints.push(`third party: ${request.url()}`);
    });
  };
  beforeEach(async () => {
    complaints = [];
    await openPage();
  });
  afterEach(async () => {
    await context.close();
    if (complaints.length > 0) throw new Error(`the browser complained:\n${complaints.join("\n")}`);
  });

  const login = async () => {
    await page.getByLabel("Access token").fill(TOKEN);
    await page.getByRole("button", { name: "Log in" }).click();
  };
  const logInAt = async (path: string) => {
    await page.goto(path);
    await login();
    await page.getByRole("button", { name: "Log out" }).waitFor();
  };

  /** A picture of each view; what scrolls sideways and what axe calls serious. */
  async function inspect(name: string): Promise<string[]> {
    const faults: string[] = [];
    for (const { width, height, colorScheme } of VIEWS) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach((img) => { img.loading = 'eager' })");
      await page.waitForLoadState("networkidle");
      const wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
      if (wider !== 0) faults.push(`${name} at ${width} px scrolls sideways by ${String(wider)} px`);
      await page.screenshot({ path: `${PICTURES}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      if (width === 375 && colorScheme === "dark") continue;
      await page.evaluate(AXE);
      const found = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as AxeResult;
      for (const { id, impact, nodes } of found.violations) {
        if (impact !== "serious" && impact !== "critical") continue;
        faults.push(
          `${name} at ${width} px, ${colorScheme}: ${id} (${impact}) at ${nodes[0]?.target.join(" ") ?? "?"}`,
        );
      }
    }
    await page.setViewportSize(VIEWS[0]);
    await page.emulateMedia({ colorScheme: "light" });
    return faults;
  }

  test("a link in a message leads to the login, and from there to the run", async () => {
    await page.goto(`/runs/${relay.invoices}`);
    expect(new URL(page.url()).pathname).toBe("/login");
    expect(await inspect("login")).toEqual([]);
    await page.getByLabel("Access token").fill("a wrong token");
    await page.keyboard.press("Enter");
    await page.getByText("This is not a token of this relay.").waitFor();
    expect(await inspect("login-wrong")).toEqual([]);
    await login();
    await page.getByRole("heading", { name: "Invoice Downloader", level: 1 }).waitFor();
    expect(new URL(page.url()).pathname).toBe(`/runs/${relay.invoices}`);
    const cookies = await context.cookies();
    expect(cookies).toEqual([expect.objectContaining({ httpOnly: true, sameSite: "Lax" })]);
  });

  test("from the list to a run, redelivered, to the sinks and the dead letters", async () => {
    await logInAt("/");
    expect(await inspect("runs")).toEqual([]);
    await page.locator(`a[href="/runs/${relay.invoices}"]`).click();
    await page.getByRole("heading", { name: "Who was told" }).waitFor();
    expect(await inspect("run-completed")).toEqual([]);
    const images = await page.evaluate("[...document.querySelectorAll('.gallery img')].map((img) => img.naturalWidth)");
    expect(images).toEqual([16, 16]);

    const before = relay.crmRequests();
    await page.getByRole("button", { name: "Redeliver to crm" }).click();
    await page.getByText("Queued again for 1 sink.").waitFor();
    await expect.poll(relay.crmRequests, { timeout: 10_000 }).toBe(before + 1);
    expect(await inspect("run-redelivered")).toEqual([]);

    await page.getByRole("link", { name: "Sinks" }).click();
    await page.getByRole("heading", { name: "Sinks" }).waitFor();
    expect(await inspect("sinks")).toEqual([]);
    await page.getByRole("link", { name: "Dead letters" }).click();
    await page.getByRole("heading", { name: "Dead letters" }).waitFor();
    expect(await inspect("dead-letters")).toEqual([]);
    await page.getByRole("button", { name: "Redeliver" }).first().click();
    await page.getByText("Queued again for 1 sink.").waitFor();
    expect(new URL(page.url()).pathname).toBe("/deliveries");

    await page.getByRole("link", { name: "Not understood" }).click();
    await page.getByRole("heading", { name: "Not understood" }).waitFor();
    expect(await inspect("kept")).toEqual([]);
    await page.locator("table a.title").first().click();
    await page.getByRole("heading", { name: "What was received" }).waitFor();
    expect(await inspect("receipt")).toEqual([]);
  });

  test("a failed run, a list filtered in the address bar, and what does not exist", async () => {
    await logInAt("/?status=failed");
    await page.getByText("Filters").click();
    await page.getByLabel("Type").fill("task_v1");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL((url) => url.search === "?status=failed&run_type=task_v1");
    expect(await inspect("runs-filtered")).toEqual([]);
    await page.locator("table a.title").first().click();
    await page.getByRole("heading", { name: "Why it did not complete" }).waitFor();
    expect(await inspect("run-failed")).toEqual([]);
    await page.goto("/?status=failed&channel=none");
    expect(await inspect("runs-none-fits")).toEqual([]);
    await page.goto("/?since=yesterday");
    expect(await inspect("runs-wrong-address")).toEqual([]);
    // The browser reports an answer of 4xx on its console.
    complaints = complaints.filter((text) => !/status of 400/.test(text));
  });

  test("the very first page says what to do", async () => {
    const empty = await seeded({ empty: true });
    await page.goto(`${empty.url}/`);
    complaints = [];
    await login();
    await page.getByText("/webhook/invoices").waitFor();
    expect(await inspect("runs-empty")).toEqual([]);
    await page.goto(`${empty.url}/sinks`);
    expect(await inspect("sinks-empty")).toEqual([]);
    complaints = complaints.filter((text) => !text.startsWith(`third party: ${empty.url}`));
    await empty.close();
  });

  test("hostile text stays text", async () => {
    await logInAt(`/runs/${encodeURIComponent(relay.hostile)}`);
    await page.getByRole("heading", { name: "Timeline" }).waitFor();
    await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })");
    const foreign = await page.evaluate(`[
      ...document.querySelectorAll("script:not([src^='/assets/']), iframe, object, embed, base, style, [style], img[src='x']"),
      ...[...document.querySelectorAll("*")].filter((one) => one.getAttributeNames().some((name) => name.startsWith("on"))),
      ...[...document.links].filter((one) => !/^https?:$/.test(one.protocol)),
    ].map((one) => one.outerHTML)`);
    expect(foreign).toEqual([]);
    expect(await inspect("run-hostile")).toEqual([]);
    await page.goto("/");
    expect(await page.getByText("<img src=x onerror").count()).toBeGreaterThan(0);
  });

  test("times are in the reader's own zone", async () => {
    await logInAt(`/runs/${relay.invoices}`);
    await page.getByText("Times are in your zone, Europe/Berlin.").waitFor();
    const [shown, meant] = (await page.evaluate(
      "[document.querySelector('.timeline time').textContent, document.querySelector('.timeline time').dateTime]",
    )) as [string, string];
    const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", timeZone: "Europe/Berlin" });
    expect(shown).toContain(`${hour.format(new Date(meant))}:`);
  });

  test("everything works from the keyboard", async () => {
    await page.goto("/");
    await page.keyboard.type(TOKEN);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Runs", level: 1 }).waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the content");
    const reached = new Set<string>();
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      reached.add(String(await page.evaluate("document.activeElement.textContent.trim()")));
    }
    for (const name of ["Runs", "Sinks", "Log out", "All", "Completed", "Filters", "Invoice Downloader"]) {
      expect([...reached]).toContain(name);
    }
  });

  test("everything works without JavaScript", async () => {
    await context.close();
    await openPage({ javaScriptEnabled: false });
    await logInAt("/?workflow=Invoice+Downloader");
    await page.getByRole("link", { name: "Invoice Downloader" }).first().click();
    const before = relay.crmRequests();
    await page.getByRole("button", { name: "Redeliver to all" }).click();
    await page.getByText("Queued again for").waitFor();
    await expect.poll(relay.crmRequests, { timeout: 10_000 }).toBeGreaterThan(before);
    expect(await page.locator("time").first().textContent()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC$/);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.goto("/sinks");
    expect(new URL(page.url()).pathname).toBe("/login");
  });
});

interface AxeResult {
  violations: { id: string; impact: string | null; nodes: { target: string[] }[] }[];
}
