import { describe, expect, it } from "vitest";
import { decisiveScreenshots, originOf, recordingOf } from "../../src/domain/report.ts";
import type { Timeline } from "../../src/domain/block.ts";
import type { Artifact, Run } from "../../src/domain/run.ts";
import { aBlock } from "../support/a-block.ts";
import { aRun } from "../support/a-run.ts";

const shot = (artifact_id: string, created_at: number | null, type = "screenshot_action"): Artifact => ({
  artifact_id,
  type,
  created_at,
});
const listed = [shot("a_1", 1), shot("a_2", 2, "screenshot_final"), shot("a_3", 3), shot("a_4", 4)];

const decisive = (run: Run, artifacts: Artifact[]) => decisiveScreenshots(run, { artifacts, status: "complete" });

describe("decisive screenshots", () => {
  it("the decisive screenshots of a completed run begin with its final one, then the newest", () => {
    expect(decisive(aRun({ status: "completed" }), listed)).toEqual(["a_2", "a_4", "a_3"]);
  });

  it.each(["failed", "terminated", "timed_out", "canceled"])(
    "the decisive screenshots of a run that is %s begin with the newest of all: that step failed",
    (status) => {
      expect(decisive(aRun({ status }), listed)).toEqual(["a_4", "a_3", "a_2"]);
    },
  );

  it("the decisive screenshots of several tasks begin with the last task's final one", () => {
    const artifacts = [shot("a_1", 1, "screenshot_final"), shot("a_2", 2, "screenshot_final"), shot("a_3", 1)];
    expect(decisive(aRun(), artifacts)[0]).toBe("a_2");
  });

  it("screenshots made in one moment go by Skyvern's order, newest last", () => {
    expect(decisive(aRun({ status: "failed" }), [shot("a_1", 5), shot("a_2", 5)])).toEqual(["a_2", "a_1"]);
  });

  it("the decisive screenshots are the payload's where Skyvern's list could not be read, newest first", () => {
    const run = aRun({ status: "failed", screenshots: ["screenshot-1", "a_7", "a_6", "a_5"] });
    expect(decisive(run, [])).toEqual(["screenshot-1", "a_7", "a_6"]);
    // What only the payload named stands in the list without a time.
    expect(decisive(run, [shot("a_7", null), shot("a_6", null)])).toEqual(["screenshot-1", "a_7", "a_6"]);
  });

  it("the decisive screenshots are the newest of its blocks where the payload names none", () => {
    const artifacts = [shot("a_1", 1), shot("a_2", 2, "recording"), shot("a_3", 3, "screenshot_llm")];
    expect(decisive(aRun({ screenshots: [] }), artifacts)).toEqual(["a_3", "a_1"]);
    expect(decisive(aRun({ screenshots: ["a_1"] }), artifacts)).toEqual(["a_1", "a_3"]);
    expect(decisive(aRun(), [])).toEqual([]);
  });

  it("the decisive screenshot of a run that failed is the newest of the block that failed, whatever came later", () => {
    const artifacts = [
      { ...shot("a_1", 1, "screenshot_llm"), block: "get_pdf" },
      { ...shot("a_2", 2, "screenshot_llm"), block: "get_pdf" },
      { ...shot("a_3", 3), block: "finally" },
    ];
    const run = aRun({ status: "failed", screenshots: ["a_3"] });
    const timeline = (screenshot: string | null): Timeline => ({
      blocks: [aBlock({ label: "get_pdf", status: "failed", screenshot }), aBlock({ label: "finally" })],
      omitted: 0,
    });
    const first = (screenshot: string | null) =>
      decisiveScreenshots(run, { artifacts, status: "complete", timeline: timeline(screenshot) })[0];
    expect(first(null)).toBe("a_2");
    expect(first("a_1")).toBe("a_1");
  });
});

describe("where a picture comes from", () => {
  const timeline: Timeline = {
    blocks: [
      aBlock({ label: "login", started_at: 100 }),
      aBlock({ label: "get_pdf", started_at: 200, screenshot: "a_9" }),
    ],
    omitted: 0,
  };
  const origin = (artifact: Artifact) =>
    originOf({ artifacts: [artifact], status: "complete", timeline }, artifact.artifact_id);

  it("a picture is of the block that Skyvern names, else of the one that was under way when it was made", () => {
    expect(origin({ ...shot("a_1", 250), block: "login" })).toEqual({ block: "login", at: 250 });
    expect(origin(shot("a_1", 150))).toEqual({ block: "login", at: 150 });
    expect(origin(shot("a_1", 200))).toEqual({ block: "get_pdf", at: 200 });
  });

  it("a picture of which the moment is not known has none, and a block only where Skyvern names it", () => {
    expect(origin(shot("a_1", null))).toEqual({ block: null, at: null });
    expect(origin(shot("a_9", null))).toEqual({ block: "get_pdf", at: null });
    expect(origin(shot("a_1", 50))).toEqual({ block: null, at: 50 });
  });
});

describe("the recording of a run", () => {
  const film = (artifact_id: string, empty = false): Artifact => ({
    artifact_id,
    type: "recording",
    created_at: 1,
    ...(empty ? { empty: true as const } : {}),
  });

  it.each([
    ["is the payload's", "a_1", [film("a_1"), film("a_2")], "a_1"],
    ["is the payload's where no list is known", "recording", [], "recording"],
    ["is the newest of Skyvern's list where the payload names none", null, [film("a_1"), film("a_2")], "a_2"],
    ["is none where the payload's has no bytes", "a_1", [film("a_1", true)], null],
    ["is none where the only one listed has no bytes", "recording", [film("a_1", true)], null],
    ["is none where the payload names none, and the one listed has no bytes", null, [film("a_1", true)], null],
    ["is another one where the payload's has no bytes", "a_1", [film("a_1", true), film("a_2")], "a_2"],
    ["is none without either", null, [], null],
  ] as [string, string | null, Artifact[], string | null][])(
    "the recording of a run %s",
    (_what, recording, artifacts, key) => {
      expect(recordingOf(aRun({ recording }), artifacts)).toBe(key);
    },
  );
});
