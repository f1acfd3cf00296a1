import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/platform/json.ts";
import type { Run } from "../../src/domain/run.ts";
import { isDeliveryFailure, normalize, parseTime } from "../../src/skyvern/normalize.ts";
import { readPayload, type Payload } from "../../src/skyvern/payload.ts";
import { fixtureJson } from "../support/fixtures.ts";

function aPayload(values: Record<string, unknown>): Payload {
  const parsed = readPayload({ run_id: "tsk_1", status: "completed", ...values });
  if (parsed.kind !== "run") throw new Error("not a run");
  return parsed.payload;
}
const ARRIVAL = { receivedAt: 5, source: "webhook", channel: "billing", organization: "o_key" } as const;
const runOf = (values: Record<string, unknown>): Run => normalize(aPayload(values), ARRIVAL);

const CONTENT = "https://api.skyvern.com/v1/artifacts";

describe("a time of Skyvern", () => {
  it.each([
    ["2026-08-21T11:52:29.276851", "2026-08-21T11:52:29.276Z"],
    ["2026-08-21T11:52:29", "2026-08-21T11:52:29.000Z"],
    ["2026-08-21T11:52:29.2", "2026-08-21T11:52:29.200Z"],
    ["2026-08-21 11:52:29.276851", "2026-08-21T11:52:29.276Z"],
    ["2026-08-22T18:40:12.345678Z", "2026-08-22T18:40:12.345Z"],
    ["2026-08-22T18:40:12+00:00", "2026-08-22T18:40:12.000Z"],
    ["2026-08-22T18:40:12.5+02:00", "2026-08-22T16:40:12.500Z"],
    ["2026-03-29T02:30:00", "2026-03-29T02:30:00.000Z"],
  ])("Skyvern's time %s is %s, wherever the relay runs", (text, iso) => {
    const zone = process.env["TZ"];
    try {
      for (const tz of ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"]) {
        process.env["TZ"] = tz;
        expect(new Date(parseTime(text) ?? 0).toISOString()).toBe(iso);
      }
    } finally {
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
  });

  it.each([
    null,
    undefined,
    "",
    "soon",
    "2026-08-21",
    "1787310156",
    "2026-13-41T99:99:99",
    "+012026-01-01T00:00:00",
    "2026-08-21T11:52:29.276851Z and more",
  ])("Skyvern's time %s is no time", (text) => {
    expect(parseTime(text)).toBeNull();
  });
});

describe("a run", () => {
  it.each([
    [{ run_id: "tsk_1" }, "task_v1", "task"],
    [{ run_id: "tsk_v2_1" }, "task_v2", "task"],
    [{ run_id: "oc_1" }, "task_v2", "task"],
    [{ run_id: "wr_1" }, "workflow_run", "workflow"],
    [{ run_id: undefined, workflow_run_id: "wr_1" }, "workflow_run", "workflow"],
    [{ run_id: "x_1", run_type: "task_v9" }, "task_v9", "task"],
    [{ run_id: "x_1", run_type: "workflow_run_v2" }, "workflow_run_v2", "workflow"],
    [{ run_id: "x_1", workflow_run_id: "x_1", run_type: "new" }, "new", "workflow"],
    [{ run_id: "tsk_1", workflow_run_id: "wr_1", run_type: "task_v1" }, "task_v1", "task"],
  ])("a run of %j has the type %s and is a %s", (values, run_type, kind) => {
    expect(runOf(values)).toMatchObject({ run_type, kind });
  });

  it("a run belongs to the organization of the key that signed it, else to the one it names", () => {
    expect(runOf({ organization_id: "o_own" }).organization_id).toBe("o_key");
    const unknown = { ...ARRIVAL, organization: null };
    expect(normalize(aPayload({ organization_id: "o_own" }), unknown).organization_id).toBe("o_own");
    expect(normalize(aPayload({}), unknown).organization_id).toBeNull();
  });

  it("a run has what it was started with where the payload itself does not say", () => {
    const run_request = { prompt: "p", url: "u", title: "t", parameters: { a: 1 } };
    expect(runOf({ run_request })).toMatchObject({ prompt: "p", url: "u", title: "t", parameters: { a: 1 } });
    expect(runOf({ run_request, prompt: "own", url: "own", title: "own", parameters: { own: 1 } })).toMatchObject({
      prompt: "own",
      url: "own",
      title: "own",
      parameters: { own: 1 },
    });
  });

  it("a run has a workflow's permanent id apart from the id of one version, whichever key holds it", () => {
    const workflow = { run_id: "wr_1", permanent_id: "wpid_1", id: null, title: "T" };
    expect(runOf({ run_id: "wr_1", workflow_id: "wpid_1", workflow_title: "T" }).workflow).toEqual(workflow);
    expect(
      runOf({ run_id: "tsk_v2_1", workflow_run_id: "wr_1", workflow_id: "w_1", workflow_permanent_id: "wpid_1" })
        .workflow,
    ).toEqual({ run_id: "wr_1", permanent_id: "wpid_1", id: "w_1", title: null });
    expect(runOf({ run_type: "task_v1" }).workflow).toBeNull();
  });

  it.each([
    [{ output: { a: 1 }, extracted_information: { b: 1 } }, { a: 1 }],
    [{ output: null, extracted_information: { b: 1 } }, { b: 1 }],
    [{ outputs: { c: 1 } }, { c: 1 }],
    [{ output: "", extracted_information: "x" }, ""],
    [{ output: 0 }, 0],
    [{ output: false }, false],
    [{}, null],
  ])("a run of %j has the output %j", (values, output) => {
    expect(runOf(values).output).toEqual(output);
  });

  it("a run has a failure when there is a reason, an error or a category, and each code once", () => {
    expect(runOf({ failure_reason: null, errors: [], failure_category: null }).failure).toBeNull();
    expect(runOf({ failure_reason: " " }).failure).toBeNull();
    const errors = [
      { error_code: "A" },
      { error_code: "B" },
      { error_code: "A" },
      { reasoning: "no code" },
      { error_code: 5 },
    ];
    expect(
      runOf({
        failure_reason: "r",
        errors,
        failure_category: [{ category: "X" }, null, { category: 5 }, { category: "Y" }],
      }).failure,
    ).toEqual({ reason: "r", codes: ["A", "B"], categories: ["X", "Y"], errors });
  });

  it.each([
    [{ failure_reason: { message: "locked", code: 17 } }, { reason: '{"message":"locked","code":17}' }],
    [{ failure_reason: ["locked", "closed"] }, { reason: '["locked","closed"]' }],
    [{ errors: { error_code: "A" } }, { codes: ["A"], errors: [{ error_code: "A" }] }],
    [{ errors: "locked" }, { errors: ["locked"] }],
    [{ failure_category: "X" }, { categories: ["X"] }],
    [{ failure_category: { category: "X" } }, { categories: ["X"] }],
    [{ failure_category: ["X", { category: "Y" }] }, { categories: ["X", "Y"] }],
  ])("what a run says of its failure in another shape is kept: %j", (values, said) => {
    const nothing = { reason: null, codes: [], categories: [], errors: [] };
    expect(runOf({ failure_reason: null, errors: null, failure_category: null, ...values }).failure).toEqual({
      ...nothing,
      ...said,
    });
  });

  it.each([[{}], [[]], [""], [" "], [false], [5]])("%j says nothing of a failure", (value) => {
    expect(runOf({ failure_reason: value, errors: value, failure_category: value }).failure).toBeNull();
  });

  it.each([[""], [" "], [{ category: "" }], [5]])("a category %j says nothing", (category) => {
    expect(runOf({ failure_reason: null, errors: null, failure_category: [category] }).failure).toBeNull();
  });

  it.each([
    [
      {
        run_type: "task_v2",
        status: "failed",
        failure_reason: "Failed to run task 2.0: Failed to send webhook.    task_v2_id=x",
      },
      true,
    ],
    [
      {
        run_id: "tsk_v2_9",
        status: "failed",
        failure_reason: "Failed to run task 2.0: Failed to send webhook.    task_v2_id=x",
      },
      true,
    ],
    [
      {
        run_type: "workflow_run",
        status: "failed",
        failure_reason: "block notify failed: Failed to send webhook to CRM",
      },
      false,
    ],
    [{ run_type: "task_v1", status: "failed", failure_reason: "Failed to send webhook" }, false],
    [{ run_type: "task_v2", status: "failed", failure_reason: 'The page says "Failed to send webhook"' }, false],
    [{ status: "failed", failure_reason: "The page failed to send." }, false],
    [{ status: "completed", failure_reason: "Failed to send webhook" }, false],
    [{ status: "failed", failure_reason: null }, false],
  ])("a run of %j failed only because of its webhook: %s", (values, is) => {
    expect(isDeliveryFailure(aPayload(values))).toBe(is);
  });
});

describe("files", () => {
  const url = `${CONTENT}/a_7/content?sig=x`;
  it.each([
    [
      { url, filename: "a.pdf", file_size: 5, checksum: "c0", artifact_id: "a_9" },
      { key: "a_9", name: "a.pdf", size: 5, checksum: "c0", artifact_id: "a_9" },
    ],
    [
      { url, filename: "a.pdf" },
      { key: "a_7", name: "a.pdf", size: null, checksum: null, artifact_id: "a_7" },
    ],
    [
      { url: "https://b.example/x/b%20c.csv?sig=x" },
      { key: "file-1", name: "b c.csv", size: null, checksum: null, artifact_id: null },
    ],
    [
      { url: "file:///data/x/statement.pdf", artifact_id: null },
      { key: "file-1", name: "statement.pdf", size: null, checksum: null, artifact_id: null },
    ],
    [{}, { key: "file-1", name: "file-1", size: null, checksum: null, artifact_id: null }],
  ])("a run's file is read as Skyvern gives it: %j", (file, shown) => {
    expect(runOf({ downloaded_files: [file] }).files).toEqual([shown]);
  });

  it("a run's files are read where only their URLs are given, as in the oldest payloads", () => {
    const files = runOf({ downloaded_file_urls: ["https://b.example/a.pdf", null, url] }).files;
    expect(files.map(({ key, name }) => [key, name])).toEqual([
      ["file-1", "a.pdf"],
      ["a_7", "file-2"],
    ]);
  });
});

describe("pictures", () => {
  const shot = (id: string): string => `${CONTENT}/${id}/content?sig=x`;

  it("a run's pictures are those of its payload's list, newest first, each once, or the final one alone without a list", () => {
    expect(
      runOf({ screenshot_urls: [shot("a_3"), shot("a_2"), shot("a_3")], screenshot_url: shot("a_4") }).screenshots,
    ).toEqual(["a_3", "a_2"]);
    expect(runOf({ screenshot_urls: null, screenshot_url: shot("a_4") }).screenshots).toEqual(["a_4"]);
  });

  it("a run's pictures without an id go by their place, which counts what is missing", () => {
    expect(
      runOf({ screenshot_urls: ["https://x.example/1.png", null, shot("a_2"), "https://x.example/3.png"] }).screenshots,
    ).toEqual(["screenshot-1", "a_2", "screenshot-4"]);
    expect(runOf({ action_screenshot_urls: ["https://x.example/1.png"] }).screenshots).toEqual(["screenshot-1"]);
  });

  it.each([
    [null, null],
    ["", null],
    [shot("a_1"), "a_1"],
    ["file:///data/recording.webm", "recording"],
    ["javascript:alert(1)", "recording"],
  ])("a run's recording %s goes by %s, never by its URL", (recording_url, key) => {
    expect(runOf({ recording_url }).recording).toBe(key);
  });
});

describe("hostile texts", () => {
  it("hostile texts lose NUL and halves of surrogate pairs, which no store or sink can hold", () => {
    const run = runOf({
      run_id: "tsk_\0\uD800",
      status: "completed",
      workflow_title: "a\0b",
      prompt: "\uDC00",
      errors: [{ error_code: "\0" }],
    });
    expect(run).toMatchObject({ run_id: "tsk_\uFFFD\uFFFD", title: "a\uFFFDb", prompt: "\uFFFD" });
    expect(run.failure?.codes).toEqual(["\uFFFD"]);
  });

  it("every payload makes a run that can be stored as JSON", () => {
    const keys = fc.constantFrom(
      ...Object.keys(fixtureJson("workflow_run.completed")),
      "extracted_information",
      "screenshot_url",
      "summary",
      "prompt",
      "url",
    );
    fc.assert(
      fc.property(fc.dictionary(keys, fc.jsonValue({ maxDepth: 3 })), (values) => {
        const run = runOf({ ...values, run_id: "tsk_1", status: "completed" });
        expect(run.run_id).toBe("tsk_1");
        expect(JSON.parse(JSON.stringify(run)) as Json).toEqual(JSON.parse(JSON.stringify(run)));
        for (const time of [run.created_at, run.started_at, run.finished_at]) {
          expect(time === null || Number.isSafeInteger(time)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
