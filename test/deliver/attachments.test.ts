/** From a webhook to pictures in Slack and mail, through the whole relay. */
import PostalMime from "postal-mime";
import { describe, expect, it } from "vitest";
import { zipSync } from "fflate";
import { TINY_PNG, type StandInArtifact } from "../../src/stand-ins/skyvern.ts";
import { createEvidence } from "../../src/deliver/attachments.ts";
import type { ReadResult } from "../../src/skyvern/artifacts/media.ts";
import { aRun } from "../support/a-run.ts";
import { anApp, type AppOptions } from "../support/app.ts";
import { fixtureBytes, fixtureJson } from "../support/fixtures.ts";
import { NOW } from "../support/runtime.ts";

async function delivered(name: string, options: AppOptions = {}, changes: Partial<StandInArtifact> = {}) {
  const relay = await anApp({}, { standIns: ["slack", "smtp"], ...options, skyvern: { now: () => NOW } });
  const finalShot = { artifact_id: "a_final", artifact_type: "screenshot_final", bytes: FINAL, ...changes };
  relay.standIns.skyvern.addRun({ payload: fixtureJson(name), artifacts: [finalShot] });
  await relay.webhook(fixtureBytes(name));
  await relay.deliver();
  return relay;
}

/** Another picture than all others. */
const FINAL = Buffer.concat([TINY_PNG, Buffer.from("final")]);

describe("a webhook with screenshots and downloads", () => {
  it("a Slack message has the final screenshot in it, and the rest in its thread", async () => {
    const { standIns } = await delivered("workflow_run.completed");
    const [message, thread, ...more] = standIns.slack.messages();
    expect(more).toEqual([]);
    expect(Buffer.from((message && standIns.slack.pictureOf(message)?.bytes) ?? [])).toEqual(FINAL);
    expect(thread?.thread_ts).toBe(message?.ts);
    expect(thread?.files.map(({ name }) => name)).toEqual([
      "screenshot-2.png",
      "screenshot-3.png",
      "INV-2026-0801.pdf",
      "INV-2026-0815.pdf",
    ]);
  });

  it("a mail shows the final screenshot and has the downloads attached", async () => {
    const { standIns } = await delivered("workflow_run.completed");
    const { attachments } = await PostalMime.parse(standIns.smtp.messages[0]?.raw ?? "");
    expect(attachments.map(({ filename }) => filename)).toEqual([
      "screenshot.png",
      "INV-2026-0801.pdf",
      "INV-2026-0815.pdf",
    ]);
    expect(Buffer.from(attachments[0]?.content as ArrayBuffer)).toEqual(FINAL);
  });

  it("messages have the screenshot out of the ZIP that Skyvern answers on local storage", async () => {
    const bytes = zipSync({ "scrape.html": Buffer.from("<p>"), "screenshot_action_0.png": FINAL });
    const bundled = { bytes, row: { bundle_key: "screenshot_action_0.png" } };
    const { standIns } = await delivered("workflow_run.completed", {}, bundled);

    const [message] = standIns.slack.messages();
    expect(Buffer.from((message && standIns.slack.pictureOf(message)?.bytes) ?? [])).toEqual(FINAL);
    const { attachments } = await PostalMime.parse(standIns.smtp.messages[0]?.raw ?? "");
    expect(Buffer.from(attachments[0]?.content as ArrayBuffer)).toEqual(FINAL);
  });

  it.each([
    ["a bomb", zipSync({ "screenshot_action_0.png": new Uint8Array(30_000_000) })],
    ["without it", zipSync({ "scrape.html": Buffer.from("<p>") })],
    ["cut off", zipSync({ "screenshot_action_0.png": FINAL }, { level: 0 }).subarray(0, 80)],
    ["of another file under its name", zipSync({ "screenshot_action_0.png": Buffer.from("<script>1</script>") })],
  ])("messages come without the screenshot, and with all the rest, where its ZIP is %s", async (_what, bytes) => {
    const bundled = { bytes, row: { bundle_key: "screenshot_action_0.png" } };
    const { standIns } = await delivered("workflow_run.completed", {}, bundled);

    const [message] = standIns.slack.messages();
    expect(message && standIns.slack.pictureOf(message)).toBeNull();
    const { attachments } = await PostalMime.parse(standIns.smtp.messages[0]?.raw ?? "");
    expect(attachments.map(({ filename }) => filename)).toEqual(["INV-2026-0801.pdf", "INV-2026-0815.pdf"]);
  });

  const NO_PICTURE = "it is neither PNG, JPEG nor GIF";
  it.each([
    ["a page", "<!doctype html><script>alert(1)</script>", NO_PICTURE],
    ["an SVG", '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', NO_PICTURE],
    ["JSON", '{"detail":"gone"}', NO_PICTURE],
    ["nothing", "", NO_PICTURE],
    ["twelve megabytes of a picture", `\x89PNG\r\n\x1A\n${"x".repeat(12_000_000)}`, "it is too large for a message"],
  ])("messages come whole but for their screenshot, and say why, where that is %s", async (_what, text, why) => {
    const { standIns } = await delivered("workflow_run.failed", {}, { bytes: Buffer.from(text, "latin1") });

    const [message] = standIns.slack.messages();
    expect(message && standIns.slack.pictureOf(message)).toBeNull();
    expect(JSON.stringify(message?.blocks)).toContain(`The screenshot is not shown: ${why}.`);
    const mail = await PostalMime.parse(standIns.smtp.messages[0]?.raw ?? "");
    expect(mail.attachments).toEqual([]);
    expect(mail.text).toContain(`The screenshot is not shown: ${why}.`);
    expect(mail.text).toContain("the portal showed a maintenance banner");
  });

  it("messages come without screenshots and files where the configuration says so", async () => {
    const file = "attachments: { screenshots: false, files: false }";
    const { standIns } = await delivered("workflow_run.completed", { file });
    expect(standIns.slack.messages()).toHaveLength(1);
    expect(standIns.slack.files()).toEqual([]);
    expect((await PostalMime.parse(standIns.smtp.messages[0]?.raw ?? "")).attachments).toEqual([]);
  });

  it("messages carry only what is small enough by the configuration", async () => {
    const file = "attachments: { max_bytes: 1kB, max_total: 1kB }";
    const { standIns } = await delivered("workflow_run.completed", { file });
    // The fixture's downloads are of 91 kB and 88 kB; a picture of 77 bytes fits.
    expect(standIns.slack.messages()[1]?.files.map(({ name }) => name)).toEqual([
      "screenshot-2.png",
      "screenshot-3.png",
    ]);
  });

  it("messages come in time though Skyvern's storage hangs", async () => {
    const relay = await anApp({}, { standIns: ["slack"], file: "delivery: { timeout: 2s }" });
    relay.standIns.skyvern.addRun({ payload: fixtureJson("workflow_run.failed") });
    relay.standIns.skyvern.faults.push({ on: /signed-url|content/, times: 100, instead: "hang" });
    await relay.webhook(fixtureBytes("workflow_run.failed"));
    await relay.deliver();
    expect(relay.standIns.slack.messages()).toHaveLength(1);
    expect(JSON.stringify(relay.standIns.slack.messages()[0]?.blocks)).toContain(
      "the relay could not get it from Skyvern",
    );
  });
});

describe("what an attempt may read", () => {
  const settings = { screenshots: true, files: true, maxBytes: 10, maxTotal: 20 };
  const never = new AbortController().signal;

  it("an attempt has one budget of time for all that it reads, which begins with the first read", async () => {
    const signals: AbortSignal[] = [];
    const media = {
      read: async (_owner: unknown, _key: string, _max: number, signal: AbortSignal): Promise<ReadResult> => {
        signals.push(signal);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return { kind: "unavailable" };
      },
    };
    const evidence = createEvidence({ media, settings, budgetMs: 30 }, aRun({ screenshots: ["a_1"] }), {
      artifacts: [],
      status: "complete",
    });
    expect(evidence).toMatchObject({ screenshots: ["a_1"], files: [], limits: { each: 10, total: 20 } });
    await evidence.read("a_1", 10, never);
    expect(signals[0]?.aborted).toBe(true);
    expect(evidence.inTime(never).aborted).toBe(true);
  });
});
