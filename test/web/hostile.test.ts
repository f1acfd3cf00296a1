import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { aReader, aRelay, aTask, type Reader, type Relay } from "./relay.ts";

/** Breaks out of text, of attributes in either quote, and of a comment, a script and a title. */
const BREAKOUT = `"'></title></script><!--<script>alert(1)</script><img src=x onerror=alert(1)> onmouseover=alert(1) \`\${alert(1)}`;
const BIDI = "photo\u202Egpj.exe\u2066";

const hostile = (at: string): string => `${at}${BREAKOUT}`;

/** Every string a payload may carry, hostile. Keys of the output as well. */
const payload = aTask({
  run_id: hostile("tsk_id"),
  task_id: hostile("tsk_id"),
  run_type: hostile("type"),
  prompt: hostile("prompt"),
  url: "javascript:alert(1)//site",
  summary: hostile("summary"),
  organization_id: hostile("o_"),
  workflow_run_id: hostile("wr_"),
  workflow_permanent_id: hostile("wpid_"),
  workflow_id: hostile("w_"),
  workflow_title: hostile("title"),
  app_url: "javascript:alert(1)//app",
  failure_reason: hostile("reason"),
  status: "failed",
  failure_category: [{ category: hostile("category"), reasoning: hostile("reasoning") }],
  errors: [{ error_code: hostile("code"), reasoning: hostile("error"), [hostile("key")]: [hostile("deep")] }],
  output: {
    [hostile("column")]: [{ [hostile("a")]: hostile("cell"), link: "javascript:alert(1)", bidi: BIDI }],
    text: hostile("value"),
    isEscaped: true,
    toString: hostile("toString"),
    __proto__x: { constructor: hostile("constructor") },
  },
  parameters: { [hostile("parameter")]: hostile("parameter value") },
  downloaded_files: [{ url: "javascript:alert(1)", filename: hostile(BIDI), artifact_id: hostile("a_"), file_size: 1 }],
  screenshot_urls: ["javascript:alert(1)", `https://x.example/${BREAKOUT}`],
  recording_url: "data:text/html,<script>alert(1)</script>",
});

/** Shown as a table, as a list, as text. */
const OTHER_OUTPUTS: Record<string, unknown> = {
  tsk_table: { rows: [{ [hostile("table column")]: hostile("table cell"), bidi: BIDI }] },
  tsk_list: [hostile("list item"), "javascript:alert(1)"],
  tsk_text: hostile("plain text"),
};

/** What Skyvern's API says of where a run comes from. */
const RELATED = {
  payload: {
    run_id: "wr_1",
    workflow_run_id: "wr_1",
    workflow_id: "wpid_1",
    run_type: "workflow_run",
    status: "completed",
    created_at: "2026-01-20T11:58:29.276000",
    retried_from_workflow_run_id: hostile("wr_from"),
    retried_by_workflow_run_id: hostile("wr_by"),
  },
  trigger_type: hostile("trigger"),
  schedule: hostile("wfs_"),
  parent: hostile("wr_parent"),
  tags: [
    { key: hostile("tag key"), value: hostile("tag value") },
    { key: null, value: BIDI },
  ],
};

let relay: Relay;
let reader: Reader;
beforeAll(async () => {
  relay = await aRelay();
  reader = await aReader(relay);
  await relay.webhook(payload);
  await relay.webhook({ kept: hostile("kept") });
  for (const [run_id, output] of Object.entries(OTHER_OUTPUTS)) {
    await relay.webhook(aTask({ run_id, task_id: run_id, output }));
  }
  await relay.webhook(
    aTask({
      run_id: "tsk_long",
      task_id: "tsk_long",
      prompt: "p".repeat(1_000_000),
      summary: "s".repeat(1_000_000),
      output: { text: "o".repeat(1_000_000), ["k".repeat(1_000_000)]: 1 },
    }),
  );
  relay.skyvern.addRun(RELATED);
  await relay.webhook(RELATED.payload);
  await relay.app.deliverDue();
});
afterAll(() => relay.close());

const runPath = `/runs/${encodeURIComponent(String(payload["run_id"]))}`;
const pages = async (): Promise<[string, string][]> => {
  const run = await reader.page(runPath);
  const receipt = /href="([^"]*\/receipts\/[^"]+)"/.exec(run)?.[1]?.replaceAll("&amp;", "&") ?? "none";
  const kept = /href="(\/unrecognized\/rcp_[^"]+)"/.exec(await reader.page("/unrecognized"))?.[1] ?? "none";
  const others = [
    "/",
    "/sinks",
    "/deliveries",
    "/unrecognized",
    "/runs/wr_1",
    ...Object.keys(OTHER_OUTPUTS).map((runId) => `/runs/${runId}`),
    kept,
    receipt,
    `/?status=${encodeURIComponent(BREAKOUT)}`,
    `/?workflow=${encodeURIComponent(BREAKOUT)}&sink=${encodeURIComponent(BREAKOUT)}`,
    `/?${encodeURIComponent(BREAKOUT)}=1`,
    `/deliveries?sink=${encodeURIComponent(BREAKOUT)}`,
    `/runs/${encodeURIComponent(BREAKOUT)}`,
  ];
  const login = await relay.request(`/login?to=${encodeURIComponent(`/runs/${BREAKOUT}`)}`);
  return [
    [runPath, run],
    ["/login", await login.text()],
    ...(await Promise.all(others.map(async (path): Promise<[string, string]> => [path, await reader.page(path)]))),
  ];
};

/** Attribute values may hold anything but their own quote. */
const TAG = /<[a-z!/](?:[^>"']|"[^"]*"|'[^']*')*>/gi;
const tagsOf = (html: string): string[] => html.match(TAG) ?? [];

/** What on a page is not ours: each piece, to be shown when there is one. */
function foreignParts(html: string): string[] {
  const ownScript = /^<script src="\/assets\/(?:relay|htmx)\.[0-9a-f]+\.js" defer>$/;
  const foreign = tagsOf(html).filter((tag) => {
    const names = tag.replace(/"[^"]*"|'[^']*'/g, '""');
    const leadsAstray = /(?:href|src|action|formaction)\s*=\s*["']?\s*(?:javascript|data|vbscript|file):/i;
    return (
      (/^<script/i.test(tag) && !ownScript.test(tag)) ||
      /^<img[^>]*\ssrc="?x/i.test(tag) ||
      tag.startsWith("<!--") ||
      /\son\w+\s*=/i.test(names) ||
      leadsAstray.test(tag)
    );
  });
  // What remains once the tags are gone must be escaped.
  return [...foreign, ...(html.replace(TAG, "").match(/<(?:script|img|!--).{0,80}/gi) ?? [])];
}

/** Links that lead out of the relay otherwise than they may. */
const straying = (html: string): string[] =>
  tagsOf(html).filter((tag) => {
    if (!/^<a /i.test(tag)) return false;
    const href = /href="([^"]*)"/.exec(tag)?.[1] ?? "";
    if (/^https?:\/\//.test(href)) return !tag.includes('rel="noreferrer noopener nofollow"');
    return !/^(?:\/(?!\/)|#main$)/.test(href);
  });

/** The offences of every page, named by it; nothing is what it should be. */
const everywhere = async (offences: (html: string) => string[]): Promise<string[]> =>
  (await pages()).flatMap(([path, html]) =>
    html.length < 500 ? [`${path} is empty`] : offences(html).map((offence) => `${path}: ${offence}`),
  );

describe("hostile strings in every field", () => {
  test("hostile strings of Skyvern's API are shown on the run's page", async () => {
    const page = await reader.page("/runs/wr_1");
    for (const name of ["trigger", "wfs_", "wr_parent", "wr_from", "wr_by", "tag key", "tag value"])
      expect(page, name).toContain(`${name}&quot;`);
  });

  test("hostile strings in every field make no tag, no attribute and no link of their own on any page", async () => {
    expect(await everywhere(foreignParts)).toEqual([]);
  });

  test("hostile strings in every field are still there to read", async () => {
    const html = await reader.page(runPath);
    for (const at of [
      "Type",
      "summary",
      "reason",
      "category",
      "code",
      "column",
      "cell",
      "value",
      "parameter",
      "title",
    ]) {
      expect(html).toContain(`${at}&quot;&#39;&gt;&lt;/title&gt;`);
    }
  });

  test("links to elsewhere are http or https, and tell the other side nothing", async () => {
    expect(await everywhere(straying)).toEqual([]);
  });

  test("characters that turn or hide text are spelled out", async () => {
    expect(await everywhere((html) => html.match(/[\u202A-\u202E\u2066-\u2069\u200B]/g) ?? [])).toEqual([]);
    const run = await reader.page(runPath);
    expect(run).toContain("photo[U+202E]gpj.exe[U+2066]");
    // In JSON as JSON writes them, so that it can still be used.
    expect(run).toContain("photo\\u202egpj.exe\\u2066");
  });

  test("a million characters are cut with a mark, and the page stays small", async () => {
    const html = await reader.page("/runs/tsk_long");
    expect(html).toContain("[980,000 more characters]");
    expect(html.length).toBeLessThan(500_000);
    expect((await reader.page("/")).length).toBeLessThan(100_000);
    expect((await (await reader.get("/runs/tsk_long/output.json")).text()).length).toBeGreaterThan(2_000_000);
  });
});
