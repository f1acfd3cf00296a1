/**
 * `node scripts/pictures.ts [FOLDER]`: the README's pictures (docs/pictures), made from the real thing: a relay tells a stand-in Slack of a run that
 * failed. `slack.png` is that message, drawn as Slack draws its blocks; `run.png` is the run's page. Needs Chromium (scripts/chromium).
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser } from "playwright-core";
import { createRelay } from "../src/app/relay.ts";
import { formatFaults, loadConfig } from "../src/config/config.ts";
import { silentLog } from "../src/platform/log.ts";
import { systemRuntime } from "../src/platform/runtime.ts";
import { startSkyvern } from "../src/stand-ins/skyvern.ts";
import { startSlack } from "../src/stand-ins/slack.ts";

const KEY = "a-key-of-the-pictures";
const RUN = "wr_565576494718676921";
const WIDTH = 900;

const [folder = join(import.meta.dirname, "../docs/pictures")] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium" });
const skyvern = await startSkyvern({ keys: [KEY] });
const slack = await startSlack();
try {
  const loaded = loadConfig({
    env: {
      SKYVERN_API_KEY: KEY,
      SKYVERN_BASE_URL: skyvern.url,
      DATABASE_URL: "sqlite::memory:",
      HOST: "127.0.0.1",
      PORT: "0",
      PUBLIC_URL: "http://127.0.0.1:0",
      RELAY_TOKEN: "a-token-of-the-pictures",
      SLACK_API_URL: slack.url,
      SLACK_BOT_TOKEN: slack.token,
      SLACK_CHANNEL: "C0123ABCD",
      ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    },
    readFile: (path) => {
      throw Object.assign(new Error(path), { code: "ENOENT" });
    },
  });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  const portal = await drawPortal(browser);
  skyvern.addRun(aFailedRun(portal));
  const relay = await createRelay(loaded.config, systemRuntime(), silentLog);
  const { port } = await relay.start();
  const { delivered } = await skyvern.sendWebhook(RUN, `http://127.0.0.1:${port}/webhook`, KEY);
  if (!delivered) throw new Error("the relay did not take the webhook");
  for (const end = Date.now() + 60_000; slack.messages().length === 0;) {
    if (Date.now() > end) throw new Error("Slack was told nothing");
    await new Promise((later) => setTimeout(later, 100));
  }
  const [message] = slack.messages();
  if (message) await drawMessage(browser, message.blocks as unknown as Block[], portal, join(folder, "slack.png"));
  await drawRunPage(browser, `http://127.0.0.1:${port}`, relay.app.loginLink(), join(folder, "run.png"));
  await relay.stop();
} finally {
  await Promise.all([browser.close(), skyvern.close(), slack.close()]);
}

/** What the run's browser saw last. */
async function drawPortal(browser: Browser): Promise<Buffer> {
  const page = await browser.newPage({ viewport: { width: 960, height: 540 } });
  await page.setContent(`<body style="margin:0;font:16px system-ui;background:#eef1f6">
    <div style="background:#24405f;color:#fff;padding:18px 32px;font-size:20px">Supplier portal</div>
    <div style="width:420px;margin:56px auto;background:#fff;padding:32px;border-radius:8px;box-shadow:0 1px 4px #0002">
      <h2 style="margin:0 0 18px">Sign in</h2>
      <div style="background:#fdecea;color:#8c1d18;padding:12px;border-radius:6px;margin-bottom:18px">Your password has expired. Choose a new one.</div>
      <div style="border:1px solid #ccd3dd;padding:12px;border-radius:6px;margin-bottom:12px">ap@example.com</div>
      <div style="border:1px solid #ccd3dd;padding:12px;border-radius:6px;margin-bottom:18px">••••••••••</div>
      <div style="background:#2f6fde;color:#fff;padding:12px;border-radius:6px;text-align:center">Change password</div>
    </div></body>`);
  const picture = await page.screenshot();
  await page.close();
  return picture;
}

function aFailedRun(screenshot: Buffer): Parameters<typeof skyvern.addRun>[0] {
  const now = Date.now();
  const naive = (agoMs: number): string => new Date(now - agoMs).toISOString().replace("Z", "000");
  const reason = "The portal did not let the agent in: it says that the password has expired and asks for a new one.";
  const shot = `${skyvern.url}/v1/artifacts/a_565576494718676999/content`;
  return {
    artifacts: [
      {
        artifact_id: "a_565576494718676999",
        artifact_type: "screenshot_final",
        bytes: screenshot,
        created_at: naive(4_000),
      },
    ],
    run_request: { workflow_id: "wpid_490440779503357998", title: "Download supplier invoices", webhook_url: null },
    payload: {
      run_id: RUN,
      workflow_run_id: RUN,
      workflow_id: "wpid_490440779503357998",
      workflow_permanent_id: "wpid_490440779503357998",
      workflow_title: "Download supplier invoices",
      run_type: "workflow_run",
      status: "failed",
      failure_reason: reason,
      failure_category: [{ category: "AUTH_FAILURE", confidence_float: 0.93, reasoning: reason }],
      errors: [{ error_code: "PASSWORD_EXPIRED", reasoning: reason, error_type: "USER_DEFINED_ERROR" }],
      output: null,
      parameters: { supplier: "Nordwind GmbH", month: "2026-10" },
      app_url: `https://app.skyvern.com/runs/${RUN}`,
      screenshot_urls: [shot],
      recording_url: null,
      downloaded_files: null,
      created_at: naive(96_000),
      queued_at: naive(95_000),
      started_at: naive(93_000),
      finished_at: naive(2_000),
      modified_at: naive(2_000),
      step_count: 7,
    },
  };
}

async function drawRunPage(browser: Browser, url: string, link: string | null, path: string): Promise<void> {
  if (link === null) throw new Error("there is no login link");
  const page = await browser.newPage({ viewport: { width: 1_100, height: 900 } });
  await page.goto(`${url}${new URL(link).pathname}`);
  await page.goto(`${url}/runs/${RUN}`);
  await page.waitForLoadState("networkidle");
  await page.screenshot({ path });
  await page.close();
}

/** A block of Slack's Block Kit, as far as messages of the relay have them. */
interface Block {
  type: string;
  text?: { type: string; text: string } | string;
  fields?: { text: string }[];
  elements?: Block[];
  title?: { text: string };
  style?: string | Record<string, boolean>;
  url?: string;
  rows?: Block[][];
}

async function drawMessage(browser: Browser, blocks: readonly Block[], picture: Buffer, path: string): Promise<void> {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 400 } });
  const image = `<img src="data:image/png;base64,${picture.toString("base64")}">`;
  await page.setContent(`<style>
    body { margin: 0; font: 15px/1.47 Lato, system-ui, sans-serif; color: #1d1c1d; background: #fff }
    #message { display: flex; gap: 10px; padding: 18px 20px; width: ${WIDTH - 40}px }
    .avatar { width: 36px; height: 36px; border-radius: 6px; background: #2f6fde; color: #fff; display: grid; place-items: center; font-weight: 700 }
    .body { flex: 1; min-width: 0 } .who { font-weight: 900 } .app { font-size: 10px; background: #e8e8e8; border-radius: 2px; padding: 1px 3px; color: #616061; margin-left: 5px }
    h3 { font-size: 18px; margin: 8px 0 4px } .context { font-size: 12px; color: #616061; margin: 6px 0 } .fields { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 16px; margin: 8px 0 }
    .button { display: inline-block; border: 1px solid #bbb; border-radius: 4px; padding: 4px 12px; margin: 6px 8px 0 0; font-weight: 700; font-size: 13px } .primary { background: #007a5a; color: #fff; border-color: #007a5a }
    blockquote { margin: 6px 0; padding-left: 14px; border-left: 4px solid #ddd } pre, code { background: #f8f8f8; border: 1px solid #ddd; border-radius: 3px; font-size: 12px; padding: 1px 4px } pre { padding: 8px; white-space: pre-wrap }
    img { max-width: 460px; border-radius: 8px; border: 1px solid #ddd; margin: 6px 0; display: block } a { color: #1264a3; text-decoration: none } p { margin: 6px 0 } td { border: 1px solid #ddd; padding: 3px 8px }
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
      // Not every machine has a font of coloured signs.
      return `<h3>${text.replace(/^\p{Extended_Pictographic}\uFE0F?/u, '<span style="color:#e01e5a">✖</span>')}</h3>`;
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
      return image;
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
      return typeof block.style === "object" && block.style["bold"] === true ? `<b>${text}</b>` : text;
    case "table":
      return `<table>${(block.rows ?? []).map((row) => `<tr>${row.map((cell) => `<td>${drawBlock(cell, image)}</td>`).join("")}</tr>`).join("")}</table>`;
    default:
      return text;
  }
}

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
