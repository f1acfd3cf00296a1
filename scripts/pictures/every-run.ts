/**
 * Draws runs as everybody reads them: the page on a phone and on a desk, the Slack message, the mail as HTML and as
 * text. Beside the pictures, `figures.json` holds what each run cost: requests to Skyvern, and bytes of each message.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import PostalMime from "postal-mime";
import type { Browser, Page } from "playwright-core";
import { startRelayProcess, TOKEN, type RelayProcess } from "./relay-process.ts";
import { drawMessage, type Block } from "./slack-look.ts";

/** A run, and how the relay hears of its end. */
export interface ToldRun {
  name: string;
  id: string;
  runType: string;
  tell(relay: RelayProcess): Promise<unknown>;
}

export interface Figures {
  name: string;
  runType: string;
  /** Requests to Skyvern about this run, without the bytes of artifacts. */
  asked: string[];
  /** Requests for the bytes of artifacts. */
  contents: number;
  slack: number | null;
  mailHtml: number | null;
  mailText: number | null;
  http: number | null;
}

const DESK = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const SLACK_WIDTH = 620;

/** `tree`: the relay's folder. `at`: a Skyvern in place of the stand-in, whose requests are not counted. */
export async function drawEveryRun(
  browser: Browser,
  runs: readonly ToldRun[],
  { tree, folder, at }: { tree: string; folder: string; at?: { url: string; key: string } },
): Promise<Figures[]> {
  mkdirSync(folder, { recursive: true });
  const relay = await startRelayProcess(tree, at);
  try {
    const figures: Figures[] = [];
    const page = await logIn(browser, relay);
    for (const one of runs) figures.push(await drawRun(browser, page, relay, one, folder));
    writeFileSync(join(folder, "figures.json"), JSON.stringify(figures, null, 2));
    return figures;
  } finally {
    await relay.close();
  }
}

async function logIn(browser: Browser, relay: RelayProcess): Promise<Page> {
  const page = await browser.newPage({ viewport: DESK, reducedMotion: "reduce" });
  await page.goto(`${relay.url}/`);
  await page.getByLabel("Access token").fill(TOKEN);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("button", { name: "Log out" }).waitFor();
  return page;
}

async function drawRun(
  browser: Browser,
  page: Page,
  relay: RelayProcess,
  { name, id, runType, tell }: ToldRun,
  folder: string,
): Promise<Figures> {
  const { skyvern, slack, smtp, http } = relay;
  const [callsBefore, mailsBefore, postsBefore] = [skyvern.calls.length, smtp.messages.length, http.requests.length];
  await tell(relay);
  await settled(relay);
  const calls = skyvern.calls.slice(callsBefore).map(({ path }) => path);
  const message = slack.messages().findLast((one) => one.thread_ts === null && JSON.stringify(one).includes(id));
  const mail = smtp.messages.slice(mailsBefore).at(-1);
  const post = http.requests.slice(postsBefore).at(-1);
  const parsed = mail ? await PostalMime.parse(mail.raw) : null;
  if (message) {
    const picture = slack.pictureOf(message)?.bytes ?? null;
    const blocks = message.blocks as unknown as Block[];
    await drawMessage(browser, blocks, { picture, width: SLACK_WIDTH, path: join(folder, `${name}.slack.png`) });
  }
  if (parsed) await drawMail(browser, parsed, join(folder, name));
  await drawPage(page, `${relay.url}/runs/${encodeURIComponent(id)}`, join(folder, name));
  const bytes = (text: string | undefined): number | null => (text === undefined ? null : Buffer.byteLength(text));
  return {
    name,
    runType,
    asked: calls.filter((path) => !path.endsWith("/content") && path !== "/v1/runs"),
    contents: calls.filter((path) => path.endsWith("/content")).length,
    slack: bytes(message && JSON.stringify(message.blocks)),
    mailHtml: bytes(parsed?.html),
    mailText: bytes(parsed?.text),
    http: bytes(post?.body),
  };
}

/** Nothing waits to be sent for a moment; a run that tells nobody is soon through. */
async function settled({ url }: RelayProcess): Promise<void> {
  const headers = { authorization: `Bearer ${TOKEN}` };
  const end = Date.now() + 20_000;
  for (let quiet = 0; quiet < 3 && Date.now() < end;) {
    const waiting = await Promise.all(
      ["pending", "sending"].map(async (state) => {
        const answer = await fetch(`${url}/v1/deliveries?state=${state}`, { headers });
        return ((await answer.json()) as { data: unknown[] }).data.length;
      }),
    );
    quiet = waiting.every((count) => count === 0) ? quiet + 1 : 0;
    await new Promise((later) => setTimeout(later, 100));
  }
}

async function drawPage(page: Page, address: string, path: string): Promise<void> {
  for (const [view, size] of [
    ["desk", DESK],
    ["phone", PHONE],
  ] as const) {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme });
      await page.goto(address);
      await page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach((img) => { img.loading = 'eager' })");
      await page.evaluate("Promise.allSettled([...document.images].map((img) => img.decode()))");
      await page.screenshot({ path: `${path}.${view}.${colorScheme}.png`, fullPage: true });
    }
  }
}

async function drawMail(browser: Browser, mail: Awaited<ReturnType<typeof PostalMime.parse>>, path: string) {
  const { html = "", text = "", subject = "", attachments } = mail;
  // As mail programs do: a content id stands for the part that has it.
  const shown = attachments.reduce((page, { contentId, mimeType, content }) => {
    const data = `data:${mimeType};base64,${Buffer.from(content as ArrayBuffer).toString("base64")}`;
    return page.replaceAll(`cid:${contentId?.slice(1, -1)}`, data);
  }, html);
  const page = await browser.newPage({ viewport: PHONE });
  await page.setContent(shown);
  await page.evaluate("Promise.allSettled([...document.images].map((img) => img.decode()))");
  await page.screenshot({ path: `${path}.mail.png`, fullPage: true });
  await page.setContent(`<pre style="font:13px monospace;white-space:pre-wrap;margin:12px"></pre>`);
  await page.locator("pre").evaluate((pre, words) => {
    (pre as unknown as { textContent: string }).textContent = words;
  }, `Subject: ${subject}\n\n${text}`);
  await page.screenshot({ path: `${path}.mail-text.png`, fullPage: true });
  await page.close();
}
