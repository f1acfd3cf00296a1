/**
 * `node scripts/pictures.ts [FOLDER]`: the README's pictures (docs/pictures), made from the real thing: a relay tells a
 * stand-in Slack of a run that failed. `slack.png` is that message, drawn as Slack draws its blocks; `run.png` is the
 * run's page. Needs Chromium (scripts/chromium).
 *
 * `node scripts/pictures.ts --every-run FOLDER`: every run of the fixtures as everybody reads it, and sheets of them.
 * `--tree DIR`: by the relay of another folder. `--fixtures DIR`, repeatable: other fixtures. `--only WORD`: of these.
 * `--real DIR`: in place of fixtures, the runs in a folder that scripts/real-skyvern left, told again by its Skyvern.
 */
import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { join } from "node:path";
import { chromium, type Browser } from "playwright-core";
import { createRelay } from "../src/app/relay.ts";
import { formatFaults, loadConfig } from "../src/config/config.ts";
import { silentLog } from "../src/platform/log.ts";
import { systemRuntime } from "../src/platform/runtime.ts";
import { startSkyvern, type StandInRun } from "../src/stand-ins/skyvern.ts";
import { startSlack } from "../src/stand-ins/slack.ts";
import { drawEveryRun, type ToldRun } from "./pictures/every-run.ts";
import { fixtureRuns, type FixtureRun } from "./pictures/fixture-runs.ts";
import { startRealRuns } from "./pictures/real-runs.ts";
import { KEY } from "./pictures/relay-process.ts";
import { drawScenes } from "./pictures/scenes.ts";
import { drawSheets } from "./pictures/sheets.ts";
import { drawMessage, type Block } from "./pictures/slack-look.ts";

const RUN = "wr_565576494718676921";
const WIDTH = 900;

const { values: options, positionals } = parseArgs({
  options: {
    "every-run": { type: "boolean", default: false },
    tree: { type: "string", default: join(import.meta.dirname, "..") },
    fixtures: { type: "string", multiple: true },
    only: { type: "string", default: "" },
    real: { type: "string" },
  },
  allowPositionals: true,
});
const [folder = join(import.meta.dirname, "../docs/pictures")] = positionals;
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
try {
  if (options.real !== undefined) await drawReal(browser, options.real);
  else if (options["every-run"]) await drawFixtures(browser);
  else await drawReadme(browser);
} finally {
  await browser.close();
}

async function drawFixtures(browser: Browser): Promise<void> {
  const fixtures = join(import.meta.dirname, "../test/fixtures");
  const runs = fixtureRuns(options.fixtures ?? [fixtures], await drawScenes(browser));
  await drawRuns(browser, runs.map(toldByStandIn));
}

function toldByStandIn({ name, id, run }: FixtureRun): ToldRun {
  const { payload } = run;
  return {
    name,
    id,
    runType: typeof payload["run_type"] === "string" ? payload["run_type"] : "legacy",
    tell: ({ url, skyvern }) => {
      skyvern.addRun(run);
      return skyvern.sendWebhook(payload, { url: `${url}/webhook`, key: KEY });
    },
  };
}

async function drawReal(browser: Browser, dir: string): Promise<void> {
  const { at, runs, stop } = await startRealRuns(dir);
  try {
    await drawRuns(browser, runs, at);
  } finally {
    await stop();
  }
}

async function drawRuns(browser: Browser, runs: readonly ToldRun[], at?: { url: string; key: string }): Promise<void> {
  const some = runs.filter(({ name }) => name.includes(options.only));
  await drawEveryRun(browser, some, { tree: options.tree, folder, ...(at ? { at } : {}) });
  await drawSheets(
    browser,
    some.map(({ name }) => name),
    folder,
  );
}

async function drawReadme(browser: Browser): Promise<void> {
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
    skyvern.addRun(aFailedRun(skyvern.url, portal));
    const relay = await createRelay(loaded.config, systemRuntime(), silentLog);
    const { port } = await relay.start();
    const { status } = await skyvern.sendWebhook(RUN, { url: `http://127.0.0.1:${port}/webhook`, key: KEY });
    if (status !== 200) throw new Error("the relay did not take the webhook");
    for (const end = Date.now() + 60_000; slack.messages().length === 0;) {
      if (Date.now() > end) throw new Error("Slack was told nothing");
      await new Promise((later) => setTimeout(later, 100));
    }
    const [message] = slack.messages();
    if (message) {
      const blocks = message.blocks as unknown as Block[];
      await drawMessage(browser, blocks, { picture: portal, width: WIDTH, path: join(folder, "slack.png") });
    }
    await drawRunPage(browser, `http://127.0.0.1:${port}`, relay.app.loginLink(), join(folder, "run.png"));
    await relay.stop();
  } finally {
    await Promise.all([skyvern.close(), slack.close()]);
  }
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

function aFailedRun(skyvernUrl: string, screenshot: Buffer): StandInRun {
  const now = Date.now();
  const naive = (agoMs: number): string => new Date(now - agoMs).toISOString().replace("Z", "000");
  const reason = "The portal did not let the agent in: it says that the password has expired and asks for a new one.";
  const shot = `${skyvernUrl}/v1/artifacts/a_565576494718676999/content`;
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
