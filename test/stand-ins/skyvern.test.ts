import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { inflateSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TINY_PNG, TINY_WEBM } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern, type StandInSkyvernOptions, type StandInSkyvern } from "../support/skyvern.ts";
import { isJsonObject, parseJson, type JsonObject } from "../../src/platform/json.ts";

const KEY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzEifQ.test-key";
const V2 = "tsk_v2_565346328529285494";
const V2_WORKFLOW_RUN = "wr_565346328529285500";
const V1 = "tsk_565026331990896744";
const SCREENSHOT = "a_565026512379523178";
const RECORDING = "a_565026357760700542";
const DOWNLOAD = "a_565026658408411266";

let skyvern: StandInSkyvern;
let clock: number;
let waits: number[];
const open: (() => Promise<void>)[] = [];

beforeEach(() => start());
afterEach(async () => {
  await skyvern.close();
  for (const close of open.splice(0)) await close();
});

async function start(options: Partial<StandInSkyvernOptions> = {}) {
  clock = Date.parse("2026-08-22T12:00:00Z");
  waits = [];
  const sleep = (ms: number) => {
    waits.push(ms);
    return Promise.resolve();
  };
  skyvern = await startSkyvern({ keys: [KEY], now: () => clock, random: () => 0.5, sleep, ...options });
  for (const name of ["task_v2.completed", "task_v1.completed-with-downloads", "workflow_run.failed"]) {
    skyvern.addRun({ payload: fixture(`webhook.${name}.json`) });
  }
}

async function restart(options: Partial<StandInSkyvernOptions>) {
  await skyvern.close();
  await start(options);
}

const text = (name: string): string => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8");

function fixture(name: string): JsonObject {
  const json = parseJson(text(name));
  if (!isJsonObject(json)) throw new Error(`${name} is no object`);
  return json;
}

interface Got {
  status: number;
  headers: Headers;
  text: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  json: any;
}

async function get(path: string, headers: Record<string, string> = { "x-api-key": KEY }): Promise<Got> {
  const response = await fetch(path.startsWith("http") ? path : skyvern.url + path, { headers });
  const body = await response.text();
  const isJson = response.headers.get("content-type") === "application/json" && /^[[{]/.test(body);
  return { status: response.status, headers: response.headers, text: body, json: isJson ? JSON.parse(body) : null };
}

describe("keys", () => {
  test.each(["Bearer ", '"', "x"])("a key with %j before it is refused with 403 by the stand-in", async (prefix) => {
    const { status } = await get("/v1/runs", { "x-api-key": prefix + KEY });
    expect(status).toBe(403);
  });

  test("the stand-in refuses an unknown token, a missing key and a text that is no token in Skyvern's words", async () => {
    expect((await get("/v1/runs", { "x-api-key": `${KEY}x` })).text).toBe(text("api.error.403-bad-key.json").trim());
    expect((await get("/v1/runs", {})).text).toBe(text("api.error.403-bad-key.json").trim());
    expect((await get("/v1/runs", { "x-api-key": "nonsense" })).text).toBe(
      text("api.error.403-undecodable-key.json").trim(),
    );
  });

  test("the key of an organization sees that organization's runs only", async () => {
    await restart({ keys: [KEY, { key: "other", organization: "o_2" }] });
    skyvern.addRun({ payload: { run_id: "wr_2", status: "completed" }, organization: "o_2" });
    const other = { "x-api-key": "other" };
    expect((await get("/v1/runs", other)).json.map((row: JsonObject) => row["run_id"])).toEqual(["wr_2"]);
    expect((await get(`/v1/runs/${V1}`, other)).status).toBe(404);
    expect((await get("/v1/runs")).json).toHaveLength(3);
  });
});

describe("GET run", () => {
  test("GET run has exactly the keys of Skyvern's answer, and fresh URLs that work", async () => {
    const { json } = await get(`/v1/runs/${V2}`);
    expect(Object.keys(json).sort()).toEqual(Object.keys(fixture("api.get-run.task_v2.completed.json")).sort());
    expect(json).toMatchObject({ run_id: V2, run_request: { prompt: "Get the title of the top post" } });
    expect((await get(json.recording_url, {})).status).toBe(200);
    clock += 1000;
    expect((await get(`/v1/runs/${V2}`)).json.recording_url).not.toBe(json.recording_url);
  });

  test("GET run finds a v2 task by its workflow run's id too", async () => {
    expect((await get(`/v1/runs/${V2_WORKFLOW_RUN}`)).json.run_id).toBe(V2);
  });

  test("GET run answers 404 for an unknown run, in words or with an empty body", async () => {
    const { status, text: body } = await get("/v1/runs/tsk_v2_000000000000000000");
    expect([status, body]).toEqual([404, text("api.error.404-run.json").trim()]);
    expect(await get("/v1/runs/wr_0")).toMatchObject({ status: 404, text: "" });
  });
});

describe("GET runs", () => {
  test("rows of GET runs have exactly Skyvern's keys, newest created first", async () => {
    const { json } = await get("/v1/runs");
    const sample = JSON.parse(text("api.runs-list.json"));
    expect(Object.keys(json[0]).sort()).toEqual(Object.keys(sample[0]).sort());
    expect(json.map((row: JsonObject) => row["created_at"])).toEqual([
      "2026-08-22T06:00:00.418822",
      "2026-08-21T11:52:29.276851",
      "2026-08-20T15:10:44.093120",
    ]);
    expect(json[1]).toMatchObject({ run_id: V2, task_run_type: "task_v2", task_run_id: expect.stringMatching(/^tr_/) });
  });

  test("GET runs pages, filters by repeated status, and leaves unlisted runs out", async () => {
    skyvern.addRun({ payload: { run_id: "wr_child", status: "completed" }, unlisted: true });
    const all = (await get("/v1/runs?page_size=2")).json;
    const rest = (await get("/v1/runs?page_size=2&page=2")).json;
    expect([all.length, rest.length]).toEqual([2, 1]);
    expect((await get("/v1/runs?status=failed&status=canceled")).json).toMatchObject([{ status: "failed" }]);
  });

  test.each(["page=0", "page=101", "page_size=0", "page_size=101", "page=x", "status=cancelled", "search_key=ab"])(
    "GET runs?%s is answered 422",
    async (query) => {
      const { status, json } = await get(`/v1/runs?${query}`);
      expect([status, json.detail[0].loc]).toEqual([422, ["query", query.split("=")[0]]]);
    },
  );
});

const typesOf = async (query: string) =>
  (await get(`/v1/runs/${V1}/artifacts${query}`)).json.map((row: JsonObject) => row["artifact_type"]);

describe("GET artifacts", () => {
  test("rows of GET artifacts have exactly Skyvern's keys", async () => {
    const { json } = await get(`/v1/runs/${V2_WORKFLOW_RUN}/artifacts`);
    const sample = JSON.parse(text("api.run-artifacts.workflow_run.json"));
    expect(Object.keys(json[0]).sort()).toEqual(Object.keys(sample[0]).sort());
  });

  test("GET artifacts is an empty list for a v2 task's own id and for an unknown id", async () => {
    expect((await get(`/v1/runs/${V2}/artifacts`)).text).toBe(text("api.run-artifacts.task_v2-empty.json").trim());
    expect((await get("/v1/runs/wr_0/artifacts")).text).toBe("[]");
  });

  test("GET artifacts lacks a task's downloads, and its other types can be chosen", async () => {
    expect(new Set(await typesOf(""))).toEqual(new Set(["recording", "screenshot_action", "screenshot_final"]));
    expect(await typesOf("?artifact_type=recording&artifact_type=download")).toEqual(["recording"]);
  });

  test("GET artifacts answers 422 to a type it does not know", async () => {
    const { status, json } = await get(`/v1/runs/${V1}/artifacts?artifact_type=pdfs`);
    const sample = fixture("api.error.422-bad-artifact-type.json");
    expect(status).toBe(422);
    expect(json.detail[0]).toMatchObject({ type: "enum", loc: ["query", "artifact_type", 0], input: "pdfs" });
    expect(Object.keys(json)).toEqual(Object.keys(sample));
  });

  test("GET artifacts with local storage has file: URLs, and files without an id", async () => {
    await restart({ storage: "local" });
    const { json } = await get(`/v1/runs/${V1}/artifacts`);
    for (const row of json) expect(row.signed_url).toMatch(/^file:\/\/\/data\/artifacts\/local\//);
    const run = (await get(`/v1/runs/${V1}`)).json;
    expect(run.downloaded_files[0]).toMatchObject({ url: expect.stringMatching(/^file:/), artifact_id: null });
  });
});

describe("one artifact", () => {
  test("one artifact has metadata and a URL for five minutes", async () => {
    expect((await get(`/v1/artifacts/${SCREENSHOT}`)).json.artifact_id).toBe(SCREENSHOT);
    const { json } = await get(`/v1/artifacts/${SCREENSHOT}/signed-url`);
    expect(json).toMatchObject({ artifact_id: SCREENSHOT, expires_at: clock / 1000 + 300 });
    expect(Object.keys(json)).toEqual(Object.keys(fixture("api.artifact-signed-url.json")));
    expect((await get(json.signed_url, {})).status).toBe(200);
  });

  test("a URL past its time, a forged one and no key at all are 403", async () => {
    const url = (await get(`/v1/artifacts/${SCREENSHOT}/signed-url`)).json.signed_url;
    expect((await get(url.replace("sig=", "sig=x"), {})).status).toBe(403);
    expect((await get(url.replace(SCREENSHOT, RECORDING), {})).status).toBe(403);
    expect((await get(`/v1/artifacts/${SCREENSHOT}/content`, {})).status).toBe(403);
    clock += 300_000;
    const late = await get(url, {});
    expect([late.status, late.text]).toEqual([403, text("api.error.403-expired-artifact-url.json").trim()]);
  });

  test("screenshots and recordings are signed for one hour, files for twelve", async () => {
    const { screenshot_urls, downloaded_files } = (await get(`/v1/runs/${V1}`)).json;
    clock += 3_600_000;
    expect((await get(screenshot_urls[0], {})).status).toBe(403);
    expect((await get(downloaded_files[0].url, {})).status).toBe(200);
  });

  test("the content type of an artifact follows its kind, as at Skyvern", async () => {
    const type = async (id: string) => (await get(`/v1/artifacts/${id}/content`)).headers.get("content-type");
    expect(await Promise.all([RECORDING, DOWNLOAD, SCREENSHOT].map(type))).toEqual([
      "video/webm",
      "application/octet-stream",
      "image/png",
    ]);
    const { headers } = await get(`/v1/artifacts/${DOWNLOAD}/content`);
    expect(headers.get("content-disposition")).toBe(
      "attachment; filename*=UTF-8''Kontoauszug%20%C3%9Cbersicht%202026-08.csv",
    );
  });

  test.each([
    ["bytes=0-3", 206, `bytes 0-3/${TINY_WEBM.byteLength}`],
    ["bytes=4-", 206, `bytes 4-${TINY_WEBM.byteLength - 1}/${TINY_WEBM.byteLength}`],
    ["bytes=-1", 206, `bytes ${TINY_WEBM.byteLength - 1}-${TINY_WEBM.byteLength - 1}/${TINY_WEBM.byteLength}`],
    ["bytes=9999-", 416, `bytes */${TINY_WEBM.byteLength}`],
    ["pages=1", 200, null],
  ])("the range %s of an artifact is answered %i", async (range, status, contentRange) => {
    const got = await get(`/v1/artifacts/${RECORDING}/content`, { "x-api-key": KEY, range });
    expect([got.status, got.headers.get("content-range")]).toEqual([status, contentRange]);
  });

  test("an archived or unknown artifact is 404", async () => {
    skyvern.addRun({
      payload: { run_id: "wr_3", status: "completed" },
      artifacts: [{ artifact_id: "a_3", artifact_type: "recording", archived: true }],
    });
    expect((await get("/v1/artifacts/a_3/content")).status).toBe(404);
    expect((await get("/v1/artifacts/a_4/content")).status).toBe(404);
  });

  test("an older Skyvern has no signed-url, and one without signing keys answers 503", async () => {
    await restart({ signedUrls: "missing" });
    expect((await get(`/v1/artifacts/${SCREENSHOT}/signed-url`)).status).toBe(404);
    await restart({ storage: "local" });
    expect((await get(`/v1/artifacts/${SCREENSHOT}/signed-url`)).status).toBe(503);
    expect((await get(`/v1/artifacts/${SCREENSHOT}/content`)).status).toBe(200);
  });

  test("the sample screenshot is a PNG of 16×9 pixels", () => {
    const png = Buffer.from(TINY_PNG);
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([16, 9]);
    const start = png.indexOf("IDAT");
    const data = png.subarray(start + 4, start + 4 + png.readUInt32BE(start - 4));
    expect(inflateSync(data)).toHaveLength(9 * (1 + 16 * 3));
  });
});

describe("faults on order", () => {
  test("faults on order come as often as ordered, on the paths ordered, with Skyvern's bodies", async () => {
    skyvern.faults.push({ on: /artifacts$/, status: 500, times: 2 });
    expect((await get(`/v1/runs/${V1}`)).status).toBe(200);
    const broken = [await get(`/v1/runs/${V1}/artifacts`), await get(`/v1/runs/${V1}/artifacts`)];
    expect(broken.map((got) => got.text)).toEqual(Array(2).fill(text("api.error.500.json").trim()));
    expect((await get(`/v1/runs/${V1}/artifacts`)).status).toBe(200);
    skyvern.faults.push({ status: 429, headers: { "retry-after": "3" } });
    const limited = await get("/v1/runs");
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "3"]);
    expect(limited.json.detail).toMatch(/^Rate limit exceeded/);
  });

  test("a reset on order breaks the connection", async () => {
    skyvern.faults.push({ instead: "reset" });
    await expect(get("/v1/runs")).rejects.toThrow(/fetch failed/);
  });
});

describe("webhooks", () => {
  interface Received {
    headers: http.IncomingHttpHeaders;
    body: Buffer;
    method: string | undefined;
    url: string | undefined;
  }
  type Reply = { status: number; headers?: Record<string, string>; body?: string } | "reset" | "hang";

  /** Answers with these in turn, then with 200. */
  async function aReceiver(...replies: Reply[]) {
    const received: Received[] = [];
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { headers, method, url } = request;
        received.push({ headers, method, url, body: Buffer.concat(chunks) });
        const reply = replies.shift() ?? { status: 200 };
        if (reply === "reset") request.socket.destroy();
        else if (reply !== "hang") response.writeHead(reply.status, reply.headers).end(reply.body ?? "");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    open.push(
      () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    );
    return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhook` };
  }

  test("webhooks are signed over the exact bytes and come with the headers of Skyvern's client", async () => {
    const { received, url } = await aReceiver();
    const bytes = readFileSync(new URL("../fixtures/webhook.task_v2.completed.json", import.meta.url));
    const { key, files } = JSON.parse(text("_signatures.json"));
    expect(await skyvern.sendWebhook(bytes, url, key)).toEqual({
      delivered: true,
      attempts: [{ status: 200, body: "", error: null }],
      failureReason: null,
    });
    expect(received[0]).toMatchObject({ method: "POST", url: "/webhook", body: bytes });
    expect(received[0]?.headers).toMatchObject({
      "user-agent": "python-httpx/0.28.1",
      accept: "*/*",
      "content-type": "application/json",
      "content-length": String(bytes.byteLength),
      "x-skyvern-timestamp": String(clock / 1000),
      "x-skyvern-signature": files["webhook.task_v2.completed.json"]["x-skyvern-signature"],
    });
  });

  test("the signature of a webhook is the known answer of contract §1", async () => {
    const { received, url } = await aReceiver();
    const body = Buffer.from('{"run_id":"tsk_1","status":"completed","step_count":3}');
    await skyvern.sendWebhook(body, url, "sk_docs_snippet_test_key");
    expect(received[0]?.headers["x-skyvern-signature"]).toBe(
      "609e0364a92ed3cc92753bcc1b0c53f78b77d2b7782c5f2f0c9f92cfa255d875",
    );
  });

  test("a webhook is sent by a run's id, with URLs of the stand-in and its numbers as they were", async () => {
    const { received, url } = await aReceiver();
    skyvern.addRun({
      payload: { ...fixture("webhook.task_v2.completed.json"), output: parseJson("12345678901234567890") },
    });
    await skyvern.sendWebhook(V2, url, KEY);
    const body = received[0]?.body ?? Buffer.alloc(0);
    expect(received[0]?.headers["x-skyvern-signature"]).toBe(createHmac("sha256", KEY).update(body).digest("hex"));
    expect(body.toString()).toContain('"output":12345678901234567890');
    expect(Object.keys(JSON.parse(body.toString()))).toEqual(Object.keys(fixture("webhook.task_v2.completed.json")));
    expect(JSON.parse(body.toString()).recording_url).toContain(`${skyvern.url}/v1/artifacts/`);
    await expect(skyvern.sendWebhook("wr_0", url, KEY)).rejects.toThrow(/no run wr_0/);
  });

  test.each<Reply>([{ status: 403 }, { status: 408 }, { status: 425 }, { status: 429 }, { status: 503 }, "reset"])(
    "a webhook is tried three times on %j, byte for byte the same",
    async (reply) => {
      const { received, url } = await aReceiver(reply, reply);
      expect((await skyvern.sendWebhook(V2, url, KEY)).delivered).toBe(true);
      expect(waits).toEqual([1500, 2500]);
      expect(received).toHaveLength(3);
      for (const again of received) {
        expect(again.body).toEqual(received[0]?.body);
        expect(again.headers["x-skyvern-timestamp"]).toBe(received[0]?.headers["x-skyvern-timestamp"]);
      }
    },
  );

  test.each([301, 307, 400, 401, 404, 410, 413, 422])(
    "a webhook that is answered %i is not tried again, and its failure reason is recorded",
    async (status) => {
      const { received, url } = await aReceiver({ status, headers: { location: "/elsewhere" }, body: "no" });
      const { delivered, failureReason } = await skyvern.sendWebhook(V2, url, KEY);
      expect([delivered, received.length]).toEqual([false, 1]);
      expect(failureReason).toBe(`Webhook failed with status code ${status}, error message: no`);
    },
  );

  test("a webhook is tried three times at most", async () => {
    const { received, url } = await aReceiver({ status: 500 }, { status: 500 }, { status: 500 });
    expect((await skyvern.sendWebhook(V2, url, KEY)).delivered).toBe(false);
    expect(received).toHaveLength(3);
  });

  test("a webhook's Retry-After is waited for, at most 30 s", async () => {
    const date = new Date(Date.parse("2026-08-22T12:00:20Z")).toUTCString();
    const { url } = await aReceiver(
      { status: 503, headers: { "retry-after": "7200" } },
      { status: 503, headers: { "retry-after": date, date: "Sat, 22 Aug 2026 12:00:00 GMT" } },
    );
    await skyvern.sendWebhook(V2, url, KEY);
    expect(waits).toEqual([30_000, 20_000]);
  });

  test("a webhook whose receiver does not answer ends as a network error", async () => {
    await restart({ webhookTimeoutMs: 30 });
    const { url } = await aReceiver("hang", "hang", "hang");
    expect(await skyvern.sendWebhook(V2, url, KEY)).toMatchObject({
      delivered: false,
      attempts: [{ status: null, error: "timed out" }, {}, {}],
    });
  });
});
