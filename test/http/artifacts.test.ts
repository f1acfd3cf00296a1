/** What the links in messages open. */
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { passOn } from "../../src/http/stream.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { silentLog } from "../../src/platform/log.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { anApp, logIn, PUBLIC_URL, TOKEN, type AppOptions, type TestApp } from "../support/app.ts";
import { fixtureBundle, fixtureBytes, fixtureJson, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";
import { TINY_PNG, TINY_WEBM, type StandInRun } from "../../src/stand-ins/skyvern.ts";

const WORKFLOW = "wr_565255494265942522";
const RECORDING = "a_565255520035746310";
const SCREENSHOT = "a_565256499288289792";
const FILE = "a_565256456338616842";

interface Shown extends JsonObject {
  recording_url: string;
  run_url: string;
  screenshot_urls: string[];
  files: { name: string; url: string }[];
}

/** A relay that got this webhook, and a Skyvern that has the run. */
async function aRelayWith(name: string, options: AppOptions = {}, run: Partial<StandInRun> = {}) {
  const relay = await anApp({}, { ...options, skyvern: { now: () => NOW, ...options.skyvern } });
  relay.standIns.skyvern.addRun({ payload: fixtureJson(name), ...run });
  const { run_id: runId } = (await relay.webhook(fixtureBytes(name))).json<{ run_id: string }>();
  const shown = await relay.read<Shown>(`/v1/runs/${runId}`);
  return { relay, shown, runId };
}

/** Asks without a token, as somebody who clicks does. */
const open = (relay: TestApp, link: string, headers: Record<string, string> = {}) =>
  relay.get(link.replace(PUBLIC_URL, ""), { authorization: "", ...headers });
const bytesOf = (text: string): Buffer => Buffer.from(text, "utf8");

describe("a link in a message", () => {
  it("a link in a message redirects to a URL that Skyvern signs at that moment, and that works without a key", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");

    for (const link of [shown.recording_url, ...shown.files.map(({ url }) => url)]) {
      const answer = await open(relay, link);
      expect(answer.status).toBe(302);
      const target = new URL(answer.headers.get("location") ?? "");
      expect(target.origin).toBe(relay.standIns.skyvern.url);
      expect((await fetch(target)).status).toBe(200);
    }
  });

  it("a link to a screenshot is answered with the picture, as Skyvern's address would call it JSON", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    expect(shown.screenshot_urls).toHaveLength(3);

    for (const link of shown.screenshot_urls) {
      const answer = await relay.app.fetch(new Request(link));
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "image/png"]);
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(TINY_PNG));
      expect(answer.headers.get("content-security-policy")).toContain("sandbox");
    }
  });

  it("a link to a screenshot that its storage serves is a redirect, as the storage calls it a picture", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    const presigned = "https://93.184.215.14/bucket/a.png?X-Amz-Signature=1";
    relay.standIns.skyvern.faults.push({
      on: /signed-url$/,
      status: 200,
      body: JSON.stringify({ artifact_id: SCREENSHOT, signed_url: presigned, expires_at: null }),
    });
    expect((await open(relay, shown.screenshot_urls[0] ?? "")).headers.get("location")).toBe(presigned);
  });

  it.each([
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/admin",
    "http://[fd00::1]/",
    "http://router.local/",
  ])("a link in a message sends no reader to %s, whatever Skyvern's answer says", async (internal) => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    relay.standIns.skyvern.faults.push({
      on: /signed-url$/,
      status: 200,
      body: JSON.stringify({ artifact_id: RECORDING, signed_url: internal, expires_at: null }),
    });
    const answer = await relay.app.fetch(new Request(shown.recording_url));
    expect([answer.status, answer.headers.get("location"), answer.headers.get("content-type")]).toEqual([
      200,
      null,
      "video/webm",
    ]);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from(TINY_WEBM));
  });

  it("a link in a message asks Skyvern once while the URL lives, and again shortly before it ends", async () => {
    const runtime = aRuntime();
    const { relay, shown } = await aRelayWith("workflow_run.completed", {
      runtime,
      skyvern: { now: () => runtime.now() },
    });
    const signed = () => relay.standIns.skyvern.calls.filter(({ path }) => path.endsWith("/signed-url")).length;
    const locate = async () => (await open(relay, shown.recording_url)).headers.get("location");
    const first = await locate();

    runtime.advance(3 * 60_000);
    expect([await locate(), signed()]).toEqual([first, 1]);
    runtime.advance(61_000);
    expect(await locate()).not.toBe(first);
    expect(signed()).toBe(2);
  });

  it("a link signed at day 0 opens at day 60, with a URL of that day", async () => {
    const runtime = aRuntime();
    const { relay, shown } = await aRelayWith("workflow_run.completed", {
      runtime,
      skyvern: { now: () => runtime.now() },
    });
    runtime.advance(60 * 86_400_000);

    const recording = await open(relay, shown.recording_url);
    expect((await fetch(recording.headers.get("location") ?? "")).status).toBe(200);
    const screenshot = await relay.app.fetch(new Request(shown.screenshot_urls[0] ?? ""));
    expect([screenshot.status, screenshot.headers.get("content-type")]).toEqual([200, "image/png"]);
  });

  it("a link in a message lives as long as artifacts.expiry says", async () => {
    const runtime = aRuntime();
    const file = "artifacts: { expiry: 7d }";
    const skyvern = { now: () => runtime.now() };
    const { relay, shown } = await aRelayWith("workflow_run.completed", { runtime, file, skyvern });
    runtime.advance(6 * 86_400_000);
    expect((await open(relay, shown.recording_url)).status).toBe(302);
    runtime.advance(3 * 86_400_000);
    expect((await open(relay, shown.recording_url)).status).toBe(403);
  });

  it("a link in a message that is asked for by HEAD has its headers and no body", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    const answer = await relay.app.fetch(new Request(shown.screenshot_urls[0] ?? "", { method: "HEAD" }));
    expect([answer.status, answer.headers.get("content-type"), answer.body]).toEqual([200, "image/png", null]);
  });

  it("a HEAD request lets go of the artifact that it does not read", async () => {
    let isHeld = true;
    const bytes = new ReadableStream<Uint8Array>({ cancel: () => void (isHeld = false) });
    const ids = { run_id: WORKFLOW, artifact: SCREENSHOT };
    const app = new Hono().get("/", (c) => passOn(c, new Response(bytes), { log: silentLog, ...ids }));
    const answer = await app.request("/", { method: "HEAD" });
    expect([answer.status, answer.body, isHeld]).toEqual([200, null, false]);
  });

  it("a session of the web page opens an artifact without a signature, and a changed session opens nothing", async () => {
    const { relay } = await aRelayWith("workflow_run.completed", { runtime: systemRuntime() });
    const cookie = await logIn(relay);
    expect(cookie).toMatch(/^__Host-skyvern-relay=ses_/);
    const path = `/artifacts/${WORKFLOW}/${SCREENSHOT}`;
    expect((await open(relay, path, { cookie })).status).toBe(200);
    expect((await open(relay, path, { cookie: `${cookie}x` })).status).toBe(403);
  });

  it("a link in a message redirects to another URL once the first has died", async () => {
    const runtime = aRuntime();
    const { relay, shown } = await aRelayWith("workflow_run.completed", {
      runtime,
      skyvern: { now: () => runtime.now() },
    });
    const first = (await open(relay, shown.recording_url)).headers.get("location") ?? "";
    runtime.advance(24 * 3_600_000);
    expect((await fetch(first)).status).toBe(403);

    const second = (await open(relay, shown.recording_url)).headers.get("location") ?? "";

    expect((await fetch(second)).status).toBe(200);
  });

  it("a link in a message is not cached, and passes no referrer to its target", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    const { headers } = await open(relay, shown.recording_url);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
  });

  it.each([
    ["without its signature", (link: string) => link.replace(/&sig=.*/, "")],
    [
      "with another signature",
      (link: string) => link.replace(/sig=(.)/, (_all, first) => `sig=${first === "_" ? "-" : "_"}`),
    ],
    ["with a later end", (link: string) => link.replace(/exp=(\d+)/, (_all, exp) => `exp=${Number(exp) + 86_400}`)],
    ["for another artifact", (link: string) => link.replace(RECORDING, SCREENSHOT)],
    ["for another run", (link: string) => link.replace(WORKFLOW, "wr_1")],
  ])("a link in a message %s opens nothing", async (_what, change) => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    const changed = change(shown.recording_url);
    expect(changed).not.toBe(shown.recording_url);

    const answer = await open(relay, changed);

    expect(answer.status).toBe(403);
    expect(relay.standIns.skyvern.calls).toEqual([]);
  });

  it("a link that opens nothing leads a browser to the run's page, in words", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    const answer = await open(relay, shown.recording_url.replace(/sig=./, "sig=_"), { accept: "text/html,*/*;q=0.8" });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([403, "text/html; charset=UTF-8"]);
    expect(answer.text).toContain("This link is not complete, was changed, or has expired.");
    expect(answer.text).toContain(`<a href="${shown.run_url}">`);
  });

  it("a link in a message opens nothing once it has expired", async () => {
    const runtime = aRuntime();
    const { relay, shown } = await aRelayWith("workflow_run.completed", { runtime });
    runtime.advance(92 * 86_400_000);
    expect((await open(relay, shown.recording_url)).status).toBe(403);
  });

  it("a link in a message still opens after a restart", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    // The key that signs is in the database, not in the process.
    expect(await relay.app.store.setting("link_key", "another")).not.toBe("another");
    expect((await open(relay, shown.recording_url)).status).toBe(302);
  });

  it("the token opens an artifact without a signature, and a wrong token opens nothing", async () => {
    const { relay } = await aRelayWith("workflow_run.completed");
    const path = `/artifacts/${WORKFLOW}/${FILE}`;
    expect((await open(relay, path, { authorization: `Bearer ${TOKEN}` })).status).toBe(302);
    expect((await open(relay, path, { authorization: "Bearer wrong" })).status).toBe(403);
    expect((await open(relay, path)).status).toBe(403);
  });

  it("a link in a message opens without RELAY_TOKEN, which guards other things", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    const link = shown.recording_url.replace(PUBLIC_URL, "");
    const open = await anApp({ RELAY_TOKEN: undefined });
    expect((await open.get(link)).status).toBe(403);
    expect((await relay.get(link, { authorization: "" })).status).toBe(302);
  });
});

describe("artifacts on Skyvern's own disk", () => {
  const LOCAL = "task_v1.completed-selfhosted-local-storage";
  const artifacts = [
    { artifact_id: "a_rec", artifact_type: "recording", uri: String(fixtureJson(LOCAL)["recording_url"]) },
    ...(fixtureJson(LOCAL)["screenshot_urls"] as string[]).map((uri) => ({
      artifact_id: /a_\d+/.exec(uri)?.[0] ?? "",
      artifact_type: "screenshot_action",
      uri,
    })),
  ];
  const local = () => aRelayWith(LOCAL, { skyvern: { storage: "local" } }, { artifacts });

  it("an artifact on Skyvern's own disk is streamed, and a browser may show it", async () => {
    const { relay, shown } = await local();

    const recording = await open(relay, shown.recording_url);

    expect(recording.status).toBe(200);
    expect(recording.headers.get("content-type")).toBe("video/webm");
    expect(recording.headers.get("content-disposition")).toMatch(/^inline/);
    expect(recording.headers.get("x-content-type-options")).toBe("nosniff");
    expect(recording.headers.get("content-security-policy")).toContain("sandbox");
    expect(recording.text).toBe(Buffer.from(TINY_WEBM).toString("utf8"));
  });

  it("pictures on Skyvern's own disk are shown as pictures, though Skyvern calls them JSON", async () => {
    const { relay, shown } = await local();

    const picture = await open(relay, shown.screenshot_urls[0] ?? "");

    expect(picture.status).toBe(200);
    expect(picture.headers.get("content-type")).toBe("image/png");
    expect(picture.headers.get("content-disposition")).toMatch(/^inline/);
    expect(bytesOf(picture.text).length).toBe(bytesOf(Buffer.from(TINY_PNG).toString("utf8")).length);
  });

  it("an artifact on Skyvern's own disk comes in the range asked for", async () => {
    const { relay, shown } = await local();

    const part = await open(relay, shown.recording_url, { range: "bytes=4-7" });
    const none = await open(relay, shown.recording_url, { range: "bytes=9000-" });

    expect([part.status, part.headers.get("content-range"), part.text.length]).toEqual([
      206,
      `bytes 4-7/${TINY_WEBM.length}`,
      4,
    ]);
    expect(none.status).toBe(416);
  });

  it("an artifact on Skyvern's own disk never leaves the relay as file:, nor with Skyvern's key", async () => {
    const { relay, shown } = await local();
    for (const link of [shown.recording_url, ...shown.screenshot_urls]) {
      const answer = await open(relay, link);
      expect(answer.headers.get("location")).toBeNull();
      expect(JSON.stringify([...answer.headers])).not.toContain("file:");
    }
    expect(JSON.stringify(shown)).not.toContain("file:");
  });
});

describe("a member of a bundle", () => {
  it("a member of a bundle is downloaded by its link, and the answer says so where the bundle does not have it", async () => {
    const aHar = (artifact_id: string, bundle_key: string) => ({
      artifact_id,
      artifact_type: "har",
      bytes: fixtureBundle(),
      row: { bundle_key },
    });
    const artifacts = [aHar("a_har", "har.har"), aHar("a_none", "../har.har")];
    const { relay } = await aRelayWith("workflow_run.completed", { standIns: ["slack"] }, { artifacts });
    await relay.deliver();
    const get = (id: string) => open(relay, `/artifacts/${WORKFLOW}/${id}`, { authorization: `Bearer ${TOKEN}` });

    const har = await get("a_har");
    expect(har.headers.get("content-disposition")).toContain("attachment");
    expect(JSON.parse(har.text)).toHaveProperty("log.version");
    const none = await get("a_none");
    expect(none.status).toBe(404);
    expect(none.text).toContain("Skyvern keeps it in a ZIP that has no such member");
  });
});

describe("content that could do harm", () => {
  it.each([
    ["HTML", "<!doctype html><script>alert(1)</script>"],
    ["SVG", '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'],
    ["a PDF", "%PDF-1.7"],
    ["text", "hello"],
  ])("%s from a page is downloaded under its name, never shown", async (_what, bytes) => {
    const { relay, shown } = await aRelayWith(
      "workflow_run.completed",
      { skyvern: { signedUrls: "unconfigured", storage: "local" } },
      { artifacts: [{ artifact_id: FILE, artifact_type: "download", bytes: Buffer.from(bytes), filename: "x" }] },
    );

    const answer = await open(relay, shown.files[0]?.url ?? "");

    expect(answer.status).toBe(200);
    expect(answer.text).toBe(bytes);
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
    expect(answer.headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''INV-2026-0801.pdf");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("content-security-policy")).toContain("sandbox");
  });

  it("a file's name that a page chose is made safe: it turns nothing around, leads nowhere and fits a header", async () => {
    const [first] = fixtureJson("workflow_run.completed")["downloaded_files"] as JsonObject[];
    const artifacts = [{ artifact_id: FILE, artifact_type: "download", bytes: Buffer.from("x"), filename: "x" }];
    for (const [filename, safe] of [
      ["../../\u202Efdp.exe\r\nx-forged: a=1", "fdp.exe_x-forged_%20a%3D1"],
      ["a".repeat(100_000), "a".repeat(100)],
      ['"; filename=evil.html', "filename%3Devil.html"],
    ] as const) {
      const relay = await anApp({}, { skyvern: { now: () => NOW, signedUrls: "unconfigured", storage: "local" } });
      const body = mutated("workflow_run.completed", { downloaded_files: [{ ...first, filename }] });
      relay.standIns.skyvern.addRun({ payload: JSON.parse(body) as JsonObject, artifacts });
      await relay.webhook(body);
      const shown = await relay.read<Shown>(`/v1/runs/${WORKFLOW}`);
      const { status, headers } = await open(relay, shown.files[0]?.url ?? "");
      expect([status, headers.get("x-forged")]).toEqual([200, null]);
      const disposition = headers.get("content-disposition") ?? "";
      expect(disposition).toMatch(/^attachment; filename\*=UTF-8''[\w.%-]{1,300}$/);
      expect(disposition).toContain(safe);
    }
  });

  it("HTML that calls itself a picture is downloaded, not shown", async () => {
    const { relay, shown } = await aRelayWith(
      "workflow_run.completed",
      { skyvern: { signedUrls: "unconfigured", storage: "local" } },
      {
        artifacts: [
          {
            artifact_id: SCREENSHOT,
            artifact_type: "screenshot_final",
            bytes: Buffer.from("<script>alert(1)</script>"),
          },
        ],
      },
    );
    const { headers } = await open(relay, shown.screenshot_urls[0] ?? "");
    expect(headers.get("content-type")).toBe("application/octet-stream");
    expect(headers.get("content-disposition")).toMatch(/^attachment/);
  });
});

describe("artifacts that are gone", () => {
  it("a picture that is gone is answered with a picture that says so, with 200 so that it is shown", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    relay.standIns.skyvern.runs.clear();

    const answer = await open(relay, shown.screenshot_urls[0] ?? "");

    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "image/svg+xml"]);
    expect(answer.text).toContain("not available");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
  });

  it("another artifact that is gone is answered with a plain page, never an error page", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    relay.standIns.skyvern.runs.clear();

    for (const link of [shown.recording_url, shown.files[0]?.url ?? ""]) {
      const answer = await open(relay, link);
      expect([answer.status, answer.headers.get("content-type")]).toEqual([404, "text/html; charset=UTF-8"]);
      expect(answer.text).toContain("not available");
      expect(answer.text).toContain(`<a href="${shown.run_url}">`);
    }
  });

  it("an artifact that is gone because Skyvern is away is answered with a page and 503, as a later click may find it", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    relay.standIns.skyvern.faults.push({ times: 100, status: 500 });

    expect((await open(relay, shown.recording_url)).status).toBe(503);
    expect((await open(relay, shown.screenshot_urls[0] ?? "")).status).toBe(200);
  });

  it("the page of an artifact that is gone shows no key and no HTML of Skyvern's in its reason", async () => {
    const { relay, shown } = await aRelayWith("workflow_run.completed");
    relay.standIns.skyvern.faults.push({
      times: 100,
      status: 404,
      body: JSON.stringify({ detail: `<img src=x onerror=alert(1)> ${relay.config.keys[0]?.key.reveal()}` }),
    });

    const { text } = await open(relay, shown.recording_url);

    expect(text).not.toContain("<img");
    expect(text).not.toContain(relay.config.keys[0]?.key.reveal());
  });

  it("a link to a run that the relay does not know is answered with a page that says so", async () => {
    const relay = await anApp();
    const answer = await relay.get("/artifacts/wr_1/recording");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([404, "text/html; charset=UTF-8"]);
  });

  it.each(["nonsense", "file-0", "file-99", "screenshot-1", "..%2f..%2fv1%2fruns", "a_1%00"])(
    "a link to %s, which the run does not have, is answered with a placeholder",
    async (key) => {
      const { relay } = await aRelayWith("task_v2.canceled");
      const answer = await relay.get(`/artifacts/tsk_v2_565408176058347966/${key}`);
      expect([200, 404]).toContain(answer.status);
      expect(answer.text).toContain("not available");
    },
  );
});
