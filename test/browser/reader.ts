/**
 * Somebody at a browser, in Berlin. What the browser complains of, and whatever it asks of anybody else, fails the
 * test.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { seeded, TOKEN, type SeededRelay } from "./seeded.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
export const hasBrowser = CHROMIUM !== undefined;

/** Where pictures are kept. */
const SCREENS = "test-output/screens";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [
  { width: 1280, height: 800, colorScheme: "light" },
  { width: 1280, height: 800, colorScheme: "dark" },
  { width: 375, height: 812, colorScheme: "dark" },
  { width: 375, height: 812, colorScheme: "light" },
] as const;
type View = (typeof VIEWS)[number];
/** Enough for a state of a page that is looked at in all of them elsewhere: each scheme and each width once. */
export const TWO_VIEWS = [VIEWS[0], VIEWS[2]] as const;

type ContextOptions = NonNullable<Parameters<Browser["newContext"]>[0]>;

export interface Reader {
  readonly relay: SeededRelay;
  readonly page: Page;
  readonly context: BrowserContext;
  /** Asked for by the test, so no fault. */
  forgive(complaint: RegExp): void;
  /** What was complained of so far. */
  complaints(): readonly string[];
  /** In place of the context that each test begins with. */
  reopen(options: ContextOptions): Promise<void>;
  login(): Promise<void>;
  logInAt(path: string): Promise<void>;
  /** Pictures in every view; what scrolls sideways and what axe calls serious. */
  inspect(name: string, views?: readonly View[]): Promise<string[]>;
}

/** Registers the hooks of a suite: one relay and one browser for all of it, a fresh context for each test. */
export function aReader(): Reader {
  let browser: Browser;
  let relay: SeededRelay;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[] = [];

  const open = async (options: ContextOptions = {}) => {
    context = await browser.newContext({
      baseURL: relay.url,
      locale: "en-GB",
      timezoneId: "Europe/Berlin",
      // Pictures are taken at once after a change of colours.
      reducedMotion: "reduce",
      ...options,
    });
    page = await context.newPage();
    page.on("console", (message) => {
      // The one answer of 401 is the page itself: the login after a wrong token.
      const isLogin = message.location().url.endsWith("/login");
      if (["error", "warning"].includes(message.type()) && !isLogin) complaints.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`script: ${error.message}`));
    page.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(relay.url)) complaints.push(`third party: ${request.url()}`);
    });
  };
  beforeAll(async () => {
    mkdirSync(SCREENS, { recursive: true });
    [relay, browser] = await Promise.all([
      seeded(),
      chromium.launch({
        executablePath: CHROMIUM ?? "",
        headless: true,
        args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
      }),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await relay?.close();
  });
  beforeEach(async () => {
    complaints = [];
    await open();
  });
  afterEach(async () => {
    await context.close();
    if (complaints.length > 0) throw new Error(`the browser complained:\n${complaints.join("\n")}`);
  });

  const login = async () => {
    await page.getByLabel("Access token").fill(TOKEN);
    await page.getByRole("button", { name: "Log in" }).click();
  };
  return {
    get relay() {
      return relay;
    },
    get page() {
      return page;
    },
    get context() {
      return context;
    },
    complaints: () => complaints,
    forgive: (complaint) => {
      complaints = complaints.filter((text) => !complaint.test(text));
    },
    reopen: async (options) => {
      await context.close();
      await open(options);
    },
    login,
    logInAt: async (path) => {
      await page.goto(path);
      await login();
      await page.getByRole("button", { name: "Log out" }).waitFor();
    },
    inspect: async (name, views = VIEWS) => {
      const faults: string[] = [];
      await page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach((img) => { img.loading = 'eager' })");
      await page.evaluate("Promise.allSettled([...document.images].map((img) => img.decode()))");
      await page.evaluate(AXE);
      for (const { width, height, colorScheme } of views) {
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme });
        const wider = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        if (wider !== 0) faults.push(`${name} at ${width} px scrolls sideways by ${String(wider)} px`);
        await page.screenshot({ path: `${SCREENS}/${name}-${width}-${colorScheme}.png`, fullPage: true });
        // Each scheme once and each width once: no fault that axe finds depends on both.
        if (!TWO_VIEWS.some((view) => view.width === width && view.colorScheme === colorScheme)) continue;
        const found = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as AxeResult;
        for (const { id, impact, nodes } of found.violations) {
          if (impact !== "serious" && impact !== "critical") continue;
          const where = nodes.map(({ target }) => target.join(" ")).join(", ");
          faults.push(`${name} at ${width} px, ${colorScheme}: ${id} (${impact}) at ${where.slice(0, 300)}`);
        }
      }
      await page.setViewportSize(VIEWS[0]);
      await page.emulateMedia({ colorScheme: "light" });
      return faults;
    },
  };
}

interface AxeResult {
  violations: { id: string; impact: string | null; nodes: { target: string[] }[] }[];
}
