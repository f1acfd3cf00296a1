/** Messages and pages about a workflow run whose timeline is missing, huge, deep, hostile, or changes meanwhile. */
import PostalMime from "postal-mime";
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import type { StandInFault } from "../support/skyvern.ts";
import { MAX_BLOCKS } from "../../src/skyvern/timeline.ts";
import { anApp, type AppOptions, type TestApp } from "../support/app.ts";
import { fixtureJson } from "../support/fixtures.ts";

const RUN = fixtureJson("workflow_run.failed");
const ID = String(RUN["run_id"]);
const TIMELINE = `/v1/runs/${ID}/timeline`;

const aBlock = (label: Json, more: JsonObject = {}, children: Json[] = []): JsonObject => ({
  type: "block",
  attempt: 1,
  created_at: "2026-08-22T06:00:10",
  block: { label, block_type: "extraction", status: "completed", created_at: "2026-08-22T06:00:10", ...more },
  children,
});
const aFailedBlock = (label: string, more: JsonObject = {}): JsonObject =>
  aBlock(label, { status: "failed", failure_reason: "It is gone.", ...more });

interface Told {
  relay: TestApp;
  slack: string;
  mail: { html: string; text: string };
  http: JsonObject & { blocks: JsonObject[]; blocks_omitted: number };
  page: string;
}

/** What everybody is told of the run, each within what its sink takes, for one read of the timeline. */
async function told(timeline: Json, fault?: StandInFault, options: AppOptions = {}): Promise<Told> {
  const relay = await anApp({}, { standIns: ["slack", "smtp", "http"], ...options });
  const { skyvern, slack, smtp, http } = relay.standIns;
  skyvern.addRun({ payload: RUN, timeline: timeline as Json[] });
  if (fault) skyvern.faults.push({ on: /\/timeline$/, times: 100, ...fault });
  await relay.webhook(JSON.stringify(RUN));
  await relay.deliver();
  expect(skyvern.calls.filter(({ path }) => path === TIMELINE)).toHaveLength(1);
  expect(slack.messages().filter(({ thread_ts }) => thread_ts === null)).toHaveLength(1);
  const blocks = JSON.stringify(slack.messages()[0]?.blocks);
  const { html = "", text = "" } = await PostalMime.parse(smtp.messages[0]?.raw ?? "");
  expect(Buffer.byteLength(blocks)).toBeLessThan(13_000);
  expect(Buffer.byteLength(html)).toBeLessThan(100_000);
  expect(http.requests).toHaveLength(1);
  const { data } = JSON.parse(http.requests[0]?.body ?? "") as { data: Told["http"] };
  const link = new URL(relay.app.loginLink() ?? "");
  const login = await relay.app.fetch(new Request(`http://relay.test${link.pathname}`));
  const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
  const page = await relay.get(`/runs/${ID}`, { cookie, authorization: "" });
  expect(page.status).toBe(200);
  return { relay, slack: blocks, mail: { html, text }, http: data, page: page.text };
}

const REASON = "the portal showed a maintenance banner";

describe("a timeline that is not there", () => {
  it.each([
    ["not found", { status: 404 }],
    ["forbidden", { status: 403 }],
    ["broken off", { instead: "reset" }],
    ["an error of Skyvern", { status: 500 }],
    ["no JSON", { status: 200, body: "<html>" }],
    ["JSON of another shape", { status: 200, body: '{"detail":"later"}' }],
    ["of more than 20 MB", { status: 200, body: JSON.stringify([aBlock("x".repeat(21_000_000))]) }],
  ] as [string, StandInFault][])(
    "a timeline that cannot be read leaves a message without blocks: %s",
    async (_what, fault) => {
      const { relay, slack, mail, http, page } = await told([], fault);

      for (const text of [slack, mail.html, mail.text, page]) expect(text).toContain(REASON);
      expect(slack).toContain("Failed at its extraction block");
      expect(http).toMatchObject({
        failure: { block: null },
        blocks: [],
        blocks_omitted: 0,
        artifacts_status: "complete",
      });
      expect(page).not.toContain('id="blocks"');
      expect(relay.log()).toContain('"timeline.unread"');
    },
  );

  it("a timeline that hangs leaves a message without blocks, within the wait for artifacts", async () => {
    const file = "delivery: { artifacts_wait: 300ms }";
    const { slack, http } = await told([], { instead: "hang" }, { file });

    expect(slack).toContain(REASON);
    expect(http).toMatchObject({ failure: { block: null }, blocks: [] });
  });
});

describe("a timeline of 2,000 blocks", () => {
  it("a timeline of 2,000 blocks is shown as its latest blocks and a count of the others, and leads with the failed one", async () => {
    const many = Array.from({ length: 1_999 }, (_, n) =>
      aBlock(`step_${n}`, {
        failure_reason: "r".repeat(3_000),
        output: { value: "o".repeat(3_000) },
        created_at: new Date(Date.UTC(2026, 7, 22, 6) + n * 1_000).toISOString().replace("Z", "000"),
      }),
    );
    const last = aFailedBlock("download", { created_at: "2026-08-22T23:00:00" });
    const { slack, mail, http, page } = await told([last, ...many.toReversed()]);

    expect(http.blocks).toHaveLength(MAX_BLOCKS);
    expect(http.blocks_omitted).toBe(2_000 - MAX_BLOCKS);
    expect(http.blocks.at(-1)).toMatchObject({ label: "download", status: "failed" });
    expect(Buffer.byteLength(JSON.stringify(http))).toBeLessThan(1_000_000);
    for (const text of [slack, mail.html, mail.text, page]) expect(text).toContain("Failed at download");
    expect(page).toContain("1,700 earlier blocks not shown.");
    expect(page).toContain("280 earlier blocks");
    expect(Buffer.byteLength(page)).toBeLessThan(1_000_000);
    expect(slack).not.toContain("rrrr");
  });
});

describe("a timeline nested ten deep", () => {
  it("a timeline nested ten deep has its blocks in the order in which they began, the innermost at its depth", async () => {
    const nested = Array.from({ length: 10 }).reduce<JsonObject>(
      (inner, _, n) => aBlock(`loop_${10 - n}`, { block_type: "for_loop" }, [inner]),
      aFailedBlock("inner"),
    );
    const { slack, http, page } = await told([nested]);

    expect(http.blocks.map(({ depth }) => depth)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(slack).toContain("Failed at inner (block 11 of 11)");
    expect(page.match(/class="block depth-4/g)).toHaveLength(7);
  });

  it("a timeline that is nothing but 100,000 brackets has no blocks", async () => {
    const body = "[".repeat(100_000) + "]".repeat(100_000);
    const { slack, http } = await told([], { status: 200, body });

    expect(slack).toContain(REASON);
    expect(http.blocks).toEqual([]);
  });

  it("a timeline is read to a depth of 50", async () => {
    const nested = Array.from({ length: 500 }).reduce<JsonObject>((inner) => aBlock("loop", {}, [inner]), aBlock("in"));
    const { http } = await told([nested]);

    expect(http.blocks).toHaveLength(51);
  });
});

describe("a timeline that changes while it is read", () => {
  it("a timeline is what it was when it was read, and what it is later once its artifacts are asked for again", async () => {
    const running = aBlock("download", { status: "running" });
    const { relay, slack, http } = await told([running, aBlock("login")]);
    expect(http.blocks).toMatchObject([{ label: "login" }, { label: "download", status: "running" }]);
    expect(slack).toContain("Failed at its extraction block");

    relay.standIns.skyvern.addRun({ payload: RUN, timeline: [aFailedBlock("download"), aBlock("login")] });
    expect((await relay.post(`/v1/runs/${ID}/artifacts/refresh`)).status).toBe(200);

    const later = await relay.read<Told["http"]>(`/v1/runs/${ID}`);
    expect(later).toMatchObject({ failure: { block: { label: "download", index: 2, of: 2 } } });
  });

  it("a timeline that names other blocks than the artifact list leaves pictures with their moment alone", async () => {
    const relay = await anApp({}, { standIns: ["slack"] });
    const row = { workflow_run_block_id: "wrb_gone" };
    const artifacts = [
      { artifact_id: "a_1", artifact_type: "screenshot_action", created_at: "2026-08-22T06:00:00", row },
    ];
    relay.standIns.skyvern.addRun({ payload: RUN, artifacts, timeline: [aFailedBlock("download")] });
    await relay.webhook(JSON.stringify(RUN));
    await relay.deliver();

    const [message] = relay.standIns.slack.messages();
    expect(JSON.stringify(message?.blocks)).toContain("Failed at download");
    expect(message?.blocks.find(({ type }) => type === "image")).toMatchObject({ title: { text: /UTC$/ } });
  });
});

describe("a hostile timeline", () => {
  it("a hostile timeline is text everywhere, and a value of another type than it should have is left out", async () => {
    const evil = `<img src=x onerror=alert(1)> <!channel> \u202Egnp.exe https://evil.example/`;
    const { slack, mail, http, page } = await told([
      aFailedBlock(evil),
      aBlock({ toString: "x" }, { block_type: ["a"], status: { a: 1 }, duration: "NaN", error_codes: { length: 3 } }),
      aBlock("__proto__", { block_type: "__proto__", status: "constructor", error_codes: [evil, 1, null] }),
      aBlock("odd", { created_at: "never", duration: -5, actions: [null, 3, { screenshot_artifact_id: "../../x" }] }),
      null,
      "text",
      7,
      { block: "none", children: { length: 9 } },
      { block: null, children: [null, [], { children: "x" }] },
    ]);

    expect(page).not.toContain("<img src=x");
    expect(mail.html).not.toContain("<img src=x");
    expect(slack).not.toContain("<!channel>");
    for (const text of [page, slack, mail.html, mail.text]) expect(text).not.toContain("\u202E");
    expect(mail.html).not.toMatch(/href="https:\/\/evil/);
    expect(http.blocks).toHaveLength(4);
    expect(http.blocks.map(({ screenshot_url }) => screenshot_url)).toEqual([null, null, null, null]);
    expect(http).toMatchObject({ failure: { block: { of: 4 } } });
  });
});
