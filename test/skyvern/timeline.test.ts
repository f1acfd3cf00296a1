import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseJson, type Json } from "../../src/platform/json.ts";
import { createRedact } from "../../src/skyvern/redact.ts";
import { MAX_BLOCKS, readTimeline } from "../../src/skyvern/timeline.ts";

const fixture = (name: string): Json =>
  parseJson(readFileSync(new URL(`../fixtures/api.run-timeline.${name}.json`, import.meta.url), "utf8"));
const read = (json: Json) => readTimeline(json, createRedact());

const aRow = (block: Json, children: Json[] = []): Json => ({ type: "block", attempt: 1, block, children });

describe("a genuine timeline", () => {
  it("a genuine timeline is read in the order in which its blocks began, those of a loop behind it", () => {
    const timeline = read(fixture("workflow_run-1.0.56"));
    expect(timeline?.blocks.map(({ label, type, depth, status }) => [label, type, depth, status])).toEqual([
      ["open", "goto_url", 0, "completed"],
      ["get_pdf", "file_download", 0, "completed"],
      ["read_invoice", "extraction", 0, "completed"],
      ["each", "for_loop", 0, "completed"],
      ["look_up", "http_request", 1, "completed"],
      ["note", "text_prompt", 1, "completed"],
      ["look_up", "http_request", 1, "completed"],
      ["note", "text_prompt", 1, "completed"],
      ["check", "validation", 0, "completed"],
    ]);
    expect(timeline?.blocks[1]).toMatchObject({ duration_ms: 11_539, screenshot: "a_602140795133167774", attempt: 1 });
  });

  it("a genuine timeline names the block of an artifact by the block's id and by its task's", () => {
    const labels = read(fixture("workflow_run-1.0.56"))?.labels;
    expect(labels?.get("wrb_602140644809314084")).toBe("open");
    expect(labels?.get("tsk_602140743593562014")).toBe("get_pdf");
  });

  it("a genuine timeline keeps the attempts apart", () => {
    const blocks = read(fixture("workflow_run.two-attempts-1.0.56"))?.blocks;
    expect(blocks).toMatchObject([
      { label: "rates", attempt: 1, status: "failed", reason: "HTTP 500: {'error': 'first'}" },
      { label: "rates", attempt: 2, status: "completed", reason: null },
    ]);
  });

  it("a genuine timeline of an older release is read as well", () => {
    expect(read(fixture("workflow_run"))?.blocks.map(({ label }) => label)).toEqual(["login", "list_invoices"]);
  });
});

describe("odd timelines", () => {
  it.each([[null], ["text"], [{}], [42]])("the answer %j is no timeline", (json) => {
    expect(read(json as Json)).toBeNull();
  });

  it.each([
    [[]],
    [[null, 1, "x", []]],
    [[{ block: null, children: "none" }]],
    [[{ block: {}, attempt: "first", children: [null, { block: { label: 7, status: [], actions: {}, output: [] } }] }]],
  ])("the odd timeline %j is read as far as it goes", (json) => {
    expect(read(json as Json)?.omitted).toBe(0);
  });

  it("a timeline keeps the latest of 2,000 blocks, and counts the others", () => {
    const rows = Array.from({ length: 2_000 }, (_, i) =>
      aRow({ label: `b${i}`, created_at: new Date(1_700_000_000_000 + i * 1_000).toISOString() }),
    );
    const timeline = read(rows.toReversed());
    expect(timeline?.blocks).toHaveLength(MAX_BLOCKS);
    expect(timeline?.omitted).toBe(2_000 - MAX_BLOCKS);
    expect(timeline?.blocks.at(-1)?.label).toBe("b1999");
  });

  it("a timeline is read however deep it is nested", () => {
    let row = aRow({ label: "innermost" });
    for (let i = 0; i < 900; i += 1) row = aRow({ label: `level ${i}` }, [row]);
    expect(read([row])?.blocks.length).toBeGreaterThan(10);
  });

  it("a timeline is masked, and cut", () => {
    const reason = `GET https://portal.example/?token=s3cr3t-0123456789abcdef failed ${"x".repeat(9_000)}`;
    const [block] =
      read([aRow({ label: "l".repeat(900), failure_reason: reason, error_codes: ["A", 7, ""] })])?.blocks ?? [];
    expect(block?.reason).not.toContain("s3cr3t-0123456789abcdef");
    expect(block?.reason?.length).toBeLessThanOrEqual(2_000);
    expect(block?.label).toHaveLength(200);
    expect(block?.codes).toEqual(["A"]);
  });
});
