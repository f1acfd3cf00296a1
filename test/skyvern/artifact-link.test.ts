import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { viaFetch } from "../../src/net/http-client.ts";
import { type StandInArtifact, type StandInSkyvernOptions } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { isJsonObject, parseJson, type JsonObject } from "../../src/platform/json.ts";
import type { Run } from "../../src/domain/run.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createSkyvernClient } from "../../src/skyvern/client.ts";
import { resolveArtifactUrl } from "../../src/skyvern/artifacts/artifact-link.ts";

const KEY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzEifQ.test-key";
const NOW = Date.parse("2026-08-21T12:00:00Z");
const HOUR = 3_600_000;

/** Has a recording, three screenshots and two downloads with artifact ids. */
const DOWNLOADS = fixture("webhook.task_v1.completed-with-downloads.json");
const RUN_ID = "tsk_565026331990896744";
const RECORDING = "a_565026357760700542";
const NEWEST_SCREENSHOT = "a_565026512379523178";
const SECOND_FILE = "a_565026658408411266";
/** All its URLs are `file:`. */
const LOCAL = fixture("webhook.task_v1.completed-selfhosted-local-storage.json");
const LOCAL_DIRECTORY = "file:///data/artifacts/local/o_512846093377601280/tsk_565332803677270366";
const SECOND_LOCAL_SCREENSHOT =
  "01_0_stp_565332812267204968/2026-08-20T14:04:11.512_a_565332812267204970_screenshot_action.png";

let skyvern: StandInSkyvern;

beforeEach(() => start());
afterEach(() => skyvern.close());

async function start(options: Partial<StandInSkyvernOptions> = {}) {
  skyvern = await startSkyvern({ keys: [KEY], now: () => NOW, ...options });
}

async function restart(options: Partial<StandInSkyvernOptions>) {
  await skyvern.close();
  await start(options);
}

function fixture(name: string): JsonObject {
  const json = parseJson(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"));
  if (!isJsonObject(json)) throw new Error(`${name} is no object`);
  return json;
}

const client = () =>
  createSkyvernClient({
    baseUrl: skyvern.url,
    keys: [{ name: "acme", key: new Secret(KEY), organization: null }],
    fetch,
    request: viaFetch(fetch),
    now: () => NOW,
    random: () => 0,
    sleep: () => Promise.resolve(),
  });

/** Resolves for the only run the stand-in has, unless told another. */
function resolve(key: string, runId = [...skyvern.runs.keys()][0] ?? RUN_ID) {
  const run = { run_id: runId, run_type: "task_v1", organization_id: null, workflow: null, app_url: null };
  return resolveArtifactUrl({ run: run as Run, key, client: client(), now: () => NOW });
}

const addRun = (payload: JsonObject, artifacts: StandInArtifact[] = []) => skyvern.addRun({ payload, artifacts });
const aTask = (more: JsonObject, artifacts: StandInArtifact[] = []) =>
  addRun({ run_id: "tsk_1", run_type: "task_v1", status: "completed", ...more }, artifacts);
const paths = () => skyvern.calls.map(({ path }) => path);

/** Answers the signed-url call with this URL. */
const signs = (signed_url: string) =>
  skyvern.faults.push({ on: /signed-url$/, status: 200, body: JSON.stringify({ signed_url, expires_at: null }) });

describe("an artifact by its id", () => {
  test("a link by an artifact's id redirects to a URL that Skyvern signs now, good for five minutes", async () => {
    addRun(DOWNLOADS);
    const location = await resolve(RECORDING);
    expect(location).toMatchObject({ kind: "redirect", expiresAt: NOW + 300_000 });
    if (location.kind !== "redirect") return;
    expect((await fetch(location.url)).headers.get("content-type")).toBe("video/webm");
    expect(paths()).toEqual([`/v1/artifacts/${RECORDING}/signed-url`, `/v1/artifacts/${RECORDING}/content`]);
  });

  test.each(["missing", "unconfigured"] as const)(
    "a link by an artifact's id takes the URL of the run's list where signing is %s",
    async (signedUrls) => {
      await restart({ signedUrls });
      addRun(DOWNLOADS);
      expect(await resolve(RECORDING)).toEqual({
        kind: "redirect",
        url: expect.stringContaining(`${skyvern.url}/v1/artifacts/${RECORDING}/content?expiry=`),
        expiresAt: NOW + HOUR,
      });
    },
  );

  test("a link by an artifact's id takes the URL of the run where the list lacks it, as with a task's downloads", async () => {
    await restart({ signedUrls: "missing" });
    addRun(DOWNLOADS);
    expect(await resolve(SECOND_FILE)).toMatchObject({ kind: "redirect", expiresAt: NOW + 12 * HOUR });
    expect(paths()).toContain(`/v1/runs/${RUN_ID}`);
  });

  test("an artifact named by its id is streamed where Skyvern has only a file: URL for it", async () => {
    await restart({ storage: "local" });
    addRun(DOWNLOADS);
    expect(await resolve(RECORDING)).toEqual({ kind: "stream", artifactId: RECORDING });
    signs("file:///etc/passwd");
    expect(await resolve(RECORDING)).toEqual({ kind: "stream", artifactId: RECORDING });
  });

  test("an artifact named by its id is streamed when neither the list nor the run names it and its content can be read", async () => {
    await restart({ storage: "local" });
    addRun(DOWNLOADS);
    expect(await resolve(SECOND_FILE)).toEqual({ kind: "stream", artifactId: SECOND_FILE });
    expect(skyvern.calls.at(-1)?.headers.range).toBe("bytes=0-0");
  });

  test("an artifact named by its id is streamed, though empty", async () => {
    await restart({ storage: "local" });
    aTask({}, [{ artifact_id: "a_1", artifact_type: "download", bytes: new Uint8Array() }]);
    skyvern.faults.push({ on: /content$/, status: 416 });
    expect(await resolve("a_1")).toEqual({ kind: "stream", artifactId: "a_1" });
  });

  test("an artifact named by its id is gone for good when Skyvern has it nowhere", async () => {
    addRun(DOWNLOADS);
    expect(await resolve("a_404")).toEqual({
      kind: "gone",
      reason: "Skyvern answered the artifact content with 404: Artifact not found a_404",
      temporary: false,
    });
  });

  test("an artifact named by its id is gone when Skyvern archived it", async () => {
    await restart({ signedUrls: "missing" });
    addRun(DOWNLOADS, [{ artifact_id: RECORDING, artifact_type: "recording", archived: true }]);
    expect(await resolve(RECORDING)).toMatchObject({ kind: "gone", reason: expect.stringMatching(/archived/) });
  });

  test("an artifact named by its id is gone for now when Skyvern does not answer, for good when it refuses the key", async () => {
    addRun(DOWNLOADS);
    skyvern.faults.push({ status: 500, times: 3 });
    expect(await resolve(RECORDING)).toMatchObject({ kind: "gone", temporary: true });
    skyvern.faults.push({ status: 403 });
    expect(await resolve(RECORDING)).toMatchObject({ kind: "gone", temporary: false });
  });

  test.each(["javascript:alert(1)", "data:text/html,x", "ftp://host/x", "//host/x", ""])(
    "a link by an artifact's id never redirects to %j",
    async (url) => {
      addRun(DOWNLOADS);
      signs(url);
      expect(await resolve(RECORDING)).toEqual({ kind: "stream", artifactId: RECORDING });
    },
  );

  test("an artifact named by its id is streamed when its URL is dead already", async () => {
    addRun(DOWNLOADS);
    signs(`https://host/v1/artifacts/${RECORDING}/content?expiry=${NOW / 1000 - 1}&sig=s`);
    expect(await resolve(RECORDING)).toEqual({ kind: "stream", artifactId: RECORDING });
  });

  test("an artifact named by its id is streamed when a self-hosted Skyvern signs a URL of the cloud's host", async () => {
    addRun(DOWNLOADS);
    signs(`https://api.skyvern.com/v1/artifacts/${RECORDING}/content?expiry=${NOW / 1000 + 300}&sig=s`);
    expect(await resolve(RECORDING)).toEqual({ kind: "stream", artifactId: RECORDING });
  });
});

describe("an artifact by its place", () => {
  test.each([
    ["recording", RECORDING],
    ["screenshot-1", NEWEST_SCREENSHOT],
    ["file-2", SECOND_FILE],
  ])("an artifact named by its place, %s, is found in the run and signed by its id", async (key, id) => {
    addRun(DOWNLOADS);
    expect(await resolve(key)).toMatchObject({ kind: "redirect", expiresAt: NOW + 300_000 });
    expect(paths()).toEqual([`/v1/runs/${RUN_ID}`, `/v1/artifacts/${id}/signed-url`]);
  });

  test("a link by an artifact's place takes the run's own fresh URL where signing is missing", async () => {
    await restart({ signedUrls: "missing" });
    addRun(DOWNLOADS);
    expect(await resolve("screenshot-1")).toMatchObject({ kind: "redirect", expiresAt: NOW + HOUR });
    expect(paths()).toHaveLength(2);
  });

  test("a link by an artifact's place redirects to a plain https URL as it is", async () => {
    const url = "https://bucket.s3.amazonaws.com/recording.webm?X-Amz-Signature=s";
    aTask({ recording_url: url });
    expect(await resolve("recording")).toEqual({ kind: "redirect", url, expiresAt: null });
  });

  test.each([
    ["the same uri, not just the same name", ["file:///other/recording.webm", `${LOCAL_DIRECTORY}/recording.webm`], 1],
    ["the same file name, though another is newer", ["s3://mirror/recording.webm", "s3://mirror/x.webm"], 0],
    ["neither, the newest recording", ["s3://mirror/x.webm", "s3://mirror/y.webm"], 1],
  ])("a recording on Skyvern's disk is streamed by the artifact with %s", async (_what, uris, index) => {
    await restart({ storage: "local" });
    addRun(
      LOCAL,
      uris.map((uri, i) => ({ artifact_id: `a_${i}`, artifact_type: "recording", uri })),
    );
    expect(await resolve("recording")).toEqual({ kind: "stream", artifactId: `a_${index}` });
  });

  test("a screenshot on Skyvern's disk is streamed by its uri, never by another one's", async () => {
    await restart({ storage: "local" });
    const uris = [1, 2, 3].map((n) => `${LOCAL_DIRECTORY}/screenshot_${n}.png`);
    addRun({ ...LOCAL, screenshot_urls: uris }, [
      { artifact_id: "a_1", artifact_type: "screenshot_action", uri: "file:///elsewhere/other.png" },
      { artifact_id: "a_2", artifact_type: "screenshot_action", uri: uris[1]! },
    ]);
    expect(await resolve("screenshot-2")).toEqual({ kind: "stream", artifactId: "a_2" });
    expect(await resolve("screenshot-3")).toMatchObject({ kind: "gone", temporary: false });
  });

  test("a screenshot on Skyvern's disk is the artifact whose id its name has, also where it was stored by its place", async () => {
    await restart({ storage: "local" });
    const uri = `${LOCAL_DIRECTORY}/${SECOND_LOCAL_SCREENSHOT}`;
    addRun(LOCAL, [{ artifact_id: "a_565332812267204970", artifact_type: "screenshot_action", uri }]);
    const location = { kind: "stream", artifactId: "a_565332812267204970" };
    expect(await resolve("a_565332812267204970")).toEqual(location);
    expect(await resolve("screenshot-2")).toEqual(location);
  });

  test("a download on Skyvern's disk that no list names is gone", async () => {
    await restart({ storage: "local" });
    addRun(LOCAL);
    expect(await resolve("file-1")).toEqual({
      kind: "gone",
      reason: "Skyvern keeps it on its own disk and lists no artifact for it.",
      temporary: false,
    });
  });

  test("an artifact that the run no longer names is gone, also an archived recording", async () => {
    aTask({ recording_url: null, screenshot_urls: [] });
    expect(await resolve("recording")).toMatchObject({
      kind: "gone",
      reason: "Skyvern's run no longer names a recording.",
    });
    expect(await resolve("screenshot-3")).toMatchObject({ reason: "Skyvern's run no longer names a screenshot 3." });
    aTask({ recording_archived: true });
    expect(await resolve("recording")).toMatchObject({ kind: "gone", reason: expect.stringMatching(/archived/) });
  });

  test("an artifact of a run that Skyvern does not know (404) is gone for good", async () => {
    expect(await resolve("recording", "wr_404")).toMatchObject({ kind: "gone", temporary: false });
    expect(await resolve("file-1", "tsk_404")).toMatchObject({ kind: "gone", temporary: false });
  });

  test("an artifact named by its place is gone for now when the run or its list cannot be read", async () => {
    await restart({ storage: "local" });
    addRun(LOCAL);
    skyvern.faults.push({ status: 429, times: 3 });
    expect(await resolve("recording")).toMatchObject({ kind: "gone", temporary: true });
    skyvern.faults.push({ on: /artifacts$/, status: 500, times: 3 });
    expect(await resolve("recording")).toMatchObject({ kind: "gone", temporary: true });
  });

  test.each(["javascript:alert(1)", "ftp://host/x"])(
    "a link by an artifact's place never redirects to %s",
    async (url) => {
      aTask({ recording_url: url });
      expect((await resolve("recording")).kind).toBe("gone");
    },
  );

  test.each(["", "recording-1", "screenshot-0", "screenshot-99999", "file", "../x", "constructor"])(
    "a link by the place %j names no artifact, and Skyvern is not asked",
    async (key) => {
      expect(await resolve(key, "wr_1")).toMatchObject({ kind: "gone", reason: "The link names no artifact." });
      expect(skyvern.calls).toEqual([]);
    },
  );
});
