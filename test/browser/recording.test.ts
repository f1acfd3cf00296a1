/** The recording of a run in a real browser, and what is offered where it does not play. */
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { aReader, hasBrowser, TWO_VIEWS } from "./reader.ts";

const GONE = "https://api.skyvern.com/v1/artifacts/a_9/content?expiry=1&kid=k&sig=s";

/** A second of a moving square, as a browser records it. */
const RECORD = `new Promise((done) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/webm" });
  const chunks = [];
  recorder.addEventListener("dataavailable", ({ data }) => chunks.push(data));
  recorder.addEventListener("stop", async () => {
    const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
    done(btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")));
  });
  recorder.start();
  let drawn = 0;
  const draw = () => {
    context.fillStyle = "hsl(" + drawn * 9 + " 80% 50%)";
    context.fillRect(drawn * 4, 40, 100, 100);
    if (++drawn < 25) setTimeout(draw, 40);
    else recorder.stop();
  };
  draw();
})`;

describe.skipIf(!hasBrowser)("the recording in a browser", () => {
  const reader = aReader();
  const { logInAt, inspect } = reader;

  async function aRunWith(id: string, bytes: Uint8Array, more: JsonObject = {}): Promise<void> {
    const recording = `a_${id}`;
    const recording_url = `https://api.skyvern.com/v1/artifacts/${recording}/content?expiry=1&kid=k&sig=s`;
    const own: JsonObject = { run_id: id, run_type: "task_v1", task_id: id, status: "completed", recording_url };
    const payload = { ...own, ...more };
    reader.relay.atSkyvern({
      payload,
      artifacts: [{ artifact_id: recording, artifact_type: "recording", bytes }],
    });
    await reader.relay.send(payload);
    await reader.relay.settled();
  }

  const play = () =>
    reader.page.evaluate("document.querySelector('video').play().then(() => 'plays', (error) => error.name)");

  test("a recording plays on the page, and can be downloaded under a name that programs know", async () => {
    const { page } = reader;
    const recorded = Buffer.from((await page.evaluate(RECORD)) as string, "base64");
    await aRunWith("tsk_recorded", recorded);
    await logInAt("/runs/tsk_recorded");

    expect(await play()).toBe("plays");
    await expect.poll(() => page.evaluate("document.querySelector('video').currentTime")).toBeGreaterThan(0.2);
    expect(await page.evaluate("document.querySelector('video').videoWidth")).toBe(320);
    expect(await page.locator("[data-recording]").filter({ visible: true }).count()).toBe(0);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download it" }).click(),
    ]);
    expect(download.suggestedFilename()).toBe("recording.webm");
    expect(await readFile(await download.path())).toEqual(recorded);
  });

  test("a recording that the browser cannot play gives way to a sentence, and the file is offered", async () => {
    const { page } = reader;
    await aRunWith("tsk_norecording", Buffer.from("1a45dfa3 is no recording"));
    await logInAt("/runs/tsk_norecording");

    expect(await play()).toBe("NotSupportedError");
    await page.getByText("This browser cannot play the recording.").waitFor();
    expect(await page.locator("video").isVisible()).toBe(false);
    expect(await inspect("run-without-recording", TWO_VIEWS)).toEqual([]);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download it" }).click(),
    ]);
    expect((await readFile(await download.path())).toString()).toContain("is no recording");
  });

  test("a recording is not asked for before its place is seen", async () => {
    const { page } = reader;
    const asked: string[] = [];
    page.on("request", (request) => void (request.url().includes("/media/") && asked.push(request.url())));
    await aRunWith("tsk_below", Buffer.from("1a45dfa3 is no recording"), {
      output: Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`field_${n}`, `value ${n}`])),
    });
    await logInAt("/runs/tsk_below");
    await page.waitForLoadState("load");
    // An observer of what is seen reports with a frame.
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    expect(asked).toEqual([]);

    await page.locator("video").scrollIntoViewIfNeeded();
    await expect.poll(() => asked.length).toBeGreaterThan(0);
    await page.getByText("This browser cannot play the recording.").waitFor();
  });

  test("a recording that Skyvern has no more is a sentence before anybody plays it, and no link", async () => {
    const { page } = reader;
    const gone: JsonObject = { run_id: "tsk_gone", run_type: "task_v1", task_id: "tsk_gone", status: "completed" };
    await reader.relay.send({ ...gone, recording_url: GONE });
    await logInAt("/runs/tsk_gone");
    await page.getByText("The relay could not get the recording from Skyvern.").waitFor();
    expect(await page.locator("video").isVisible()).toBe(false);
    expect(await page.getByRole("link", { name: /recording|download/i }).count()).toBe(0);
  });

  test("a picture that is not there is a line of words, and no link", async () => {
    const { page } = reader;
    const screenshot_urls = [GONE];
    await reader.relay.send({
      run_id: "tsk_bare",
      run_type: "task_v1",
      task_id: "tsk_bare",
      status: "failed",
      screenshot_urls,
    });
    await logInAt("/runs/tsk_bare");
    const words = page.getByText("Screenshot not available");
    await words.waitFor();
    expect((await words.boundingBox())?.height).toBeLessThan(30);
    expect(await page.locator("figure.decisive :is(img, a)").count()).toBe(0);
    expect(await inspect("run-without-picture", TWO_VIEWS)).toEqual([]);
  });
});
