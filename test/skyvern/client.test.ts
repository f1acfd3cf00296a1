import { readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { viaFetch } from "../../src/net/http-client.ts";
import { TINY_PNG } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { isJsonObject, parseJson, type JsonObject } from "../../src/platform/json.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createSkyvernClient, type SkyvernClientOptions } from "../../src/skyvern/client.ts";
import type { SkyvernFault, SkyvernResult } from "../../src/skyvern/api-call.ts";

const KEY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzEifQ.test-key";
const NOW = Date.parse("2026-08-21T12:00:00Z");
const V1 = "tsk_565008666790408272";

let skyvern: StandInSkyvern;
let waits: number[];
const open: (() => Promise<void>)[] = [];

beforeEach(async () => {
  waits = [];
  skyvern = await startSkyvern({ keys: [KEY], now: () => NOW });
  skyvern.addRun({ payload: fixture("api.get-run.task_v1.completed.json") });
});

afterEach(async () => {
  await skyvern.close();
  for (const close of open.splice(0)) await close();
});

function fixture(name: string): JsonObject {
  const json = parseJson(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"));
  if (!isJsonObject(json)) throw new Error(`${name} is no object`);
  return json;
}

const aClient = ({ fetch = globalThis.fetch, ...options }: Partial<SkyvernClientOptions> = {}) =>
  createSkyvernClient({
    baseUrl: skyvern.url,
    keys: [{ name: "acme", key: new Secret(KEY), organization: null }],
    fetch,
    request: viaFetch(fetch),
    now: () => NOW,
    random: () => 0.5,
    sleep: (ms) => {
      waits.push(ms);
      return Promise.resolve();
    },
    ...options,
  });

function valueOf<T>(result: SkyvernResult<T>): T {
  if (!result.ok) throw new Error(result.fault.reason);
  return result.value;
}

function faultOf(result: SkyvernResult<unknown>): SkyvernFault {
  if (result.ok) throw new Error("a fault was expected, a value came");
  return result.fault;
}

const keyOf = (index: number) => skyvern.calls[index]?.headers["x-api-key"];

/** A server of a test's own. */
async function aServer(handler: http.RequestListener): Promise<string> {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answering = (status: number, body: string, headers: http.OutgoingHttpHeaders = {}) =>
  aServer((_request, response) => void response.writeHead(status, headers).end(body));

describe("answers", () => {
  test("a run comes with every key Skyvern gave and its numbers digit for digit", async () => {
    skyvern.faults.push({
      status: 200,
      body: '{"run_id":"tsk_1","status":"completed","output":{"n":12345678901234567890,"f":1e-07}}',
    });
    const run = valueOf(await aClient().getRun("tsk_1"));
    expect(JSON.stringify(run["output"])).toBe('{"n":12345678901234567890,"f":1e-07}');
  });

  test("artifact rows have their time in UTC, keep unknown keys, and may be of unknown types", async () => {
    const row = {
      artifact_id: "a_1",
      artifact_type: "hologram",
      created_at: "2026-08-21T06:00:06.102114",
      new_key: [1],
    };
    skyvern.faults.push({ status: 200, body: JSON.stringify([row]) });
    const { rows, skipped } = valueOf(await aClient().listArtifacts("tsk_1", []));
    expect(skipped).toBe(0);
    expect(rows).toMatchObject([{ ...row, created_at: Date.parse("2026-08-21T06:00:06.102Z"), new_key: [1] }]);
  });

  test("a row that is not recognized is left out and counted, and does not spoil the list", async () => {
    const good = { artifact_id: "a_1", artifact_type: "recording", signed_url: 7, created_at: "yesterday" };
    const bad = [{ artifact_id: "" }, null, "a_2", { artifact_id: "a_3" }];
    skyvern.faults.push({ status: 200, body: JSON.stringify([...bad, good]) });
    const { rows, skipped } = valueOf(await aClient().listArtifacts("tsk_1", []));
    expect(rows.map(({ artifact_id, signed_url, created_at }) => [artifact_id, signed_url, created_at])).toEqual([
      ["a_1", null, null],
    ]);
    expect(skipped).toBe(4);
  });

  test("the client asks for every artifact type by a query parameter of its own", async () => {
    await aClient().listArtifacts(V1, ["recording", "pdf"]);
    expect(skyvern.calls[0]?.query.getAll("artifact_type")).toEqual(["recording", "pdf"]);
  });

  test("the client asks for the list of runs by page, size and statuses", async () => {
    const list = await aClient().listRuns({ page: 1, pageSize: 100, status: ["completed", "failed"] });
    expect(valueOf(list).rows).toMatchObject([{ run_id: V1, created_at: Date.parse("2026-08-20T14:02:11.276Z") }]);
    expect(skyvern.calls[0]?.query.toString()).toBe("page=1&page_size=100&status=completed&status=failed");
  });

  test("a signed URL comes with its time of death in milliseconds", async () => {
    const signed = valueOf(await aClient().signedUrl("a_565008692560212070"));
    expect(signed.expiresAt).toBe(NOW + 300_000);
    expect((await fetch(signed.url)).status).toBe(200);
  });

  test("content streams, and a range is passed on", async () => {
    const whole = valueOf(await aClient().openContent("a_565008847179034706"));
    expect(new Uint8Array(await whole.arrayBuffer())).toEqual(new Uint8Array(TINY_PNG));
    const part = valueOf(await aClient().openContent("a_565008847179034706", { range: "bytes=1-3" }));
    expect([part.status, part.headers.get("content-range"), await part.text()]).toEqual([
      206,
      `bytes 1-3/${TINY_PNG.byteLength}`,
      "PNG",
    ]);
  });

  test("content that takes longer than the timeout to stream is not cut off", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    let finish = () => {};
    const url = await aServer((_request, response) => {
      response.writeHead(200).write("first ");
      finish = () => void response.end("last");
    });
    const content = valueOf(await aClient({ baseUrl: url, timeoutMs: 150 }).openContent("a_1"));
    vi.advanceTimersByTime(300);
    finish();
    expect(await content.text()).toBe("first last");
  });

  test("a fault whose words never end is given up in time", async () => {
    const url = await aServer((_request, response) => {
      response.writeHead(404, { "content-type": "application/json" }).write('{"detail": "');
      const drip = setInterval(() => response.write("."), 20);
      response.on("close", () => clearInterval(drip));
    });
    const reason = faultOf(await aClient({ baseUrl: url, timeoutMs: 150 }).openContent("a_1")).reason;
    expect(reason).toContain("nothing within 150 ms");
  });

  test("an abort also ends content that is streaming", async () => {
    const url = await aServer((_request, response) => void response.writeHead(200).write("first"));
    const abort = new AbortController();
    const content = valueOf(await aClient({ baseUrl: url }).openContent("a_1", { signal: abort.signal }));
    abort.abort();
    await expect(content.text()).rejects.toThrow(/abort/i);
  });

  test("a path in the base URL is kept, slashes at its end or not", async () => {
    const paths: (string | undefined)[] = [];
    const url = await aServer((request, response) => {
      paths.push(request.url);
      response.end("{}");
    });
    await aClient({ baseUrl: `${url}/skyvern/` }).getRun("wr_1");
    await aClient({ baseUrl: `${url}/skyvern` }).getRun("wr_1");
    expect(paths).toEqual(["/skyvern/v1/runs/wr_1", "/skyvern/v1/runs/wr_1"]);
  });

  test("a run's id cannot leave its place in the path", async () => {
    await aClient().getRun("../artifacts/a_1?x#y");
    expect(skyvern.calls.map(({ path }) => path)).toEqual(["/v1/runs/..%2Fartifacts%2Fa_1%3Fx%23y"]);
    for (const id of ["", ".", "..", "\uD800"]) expect(faultOf(await aClient().getRun(id)).kind).toBe("not_found");
    expect(skyvern.calls).toHaveLength(1);
  });
});

describe("faults", () => {
  test.each([
    [
      "api.error.404-run.json",
      404,
      "not_found",
      "Skyvern answered the run with 404: Task run not found tsk_v2_000000000000000000",
    ],
    ["api.error.403-bad-key.json", 403, "forbidden", "Skyvern answered the run with 403: Invalid credentials"],
    [
      "api.error.422-bad-artifact-type.json",
      422,
      "unexpected",
      "Skyvern answered the run with 422: query.artifact_type.0: Input should be 'recording', 'audio' or 'session_replay'",
    ],
    ["api.error.500.json", 500, "unavailable", "Skyvern answered the run with 500: Unexpected error: OperationalError"],
  ])("a fault of Skyvern has its kind and a reason: %s", async (name, status, kind, reason) => {
    const body = readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8");
    skyvern.faults.push({ status, body, times: 3 });
    expect(faultOf(await aClient().getRun(V1))).toEqual({ kind, status, reason });
  });

  test.each([
    ["a proxy's page", "<h1>Not Found</h1>"],
    ["an address that is not the API's", '{"detail":"Not Found"}'],
    ["nothing", ""],
  ])("a 404 that says %s does not say that there is no such run", async (_what, body) => {
    skyvern.faults.push({ status: 404, body });
    expect(faultOf(await aClient().getRun(V1))).toMatchObject({ kind: "unexpected", status: 404 });
  });

  test("a 404 with an empty body is not_found for a workflow run", async () => {
    expect(faultOf(await aClient().getRun("wr_1"))).toEqual({
      kind: "not_found",
      status: 404,
      reason: "Skyvern answered the run with 404",
    });
  });

  test.each([
    ["not JSON", "<html>", "a body that is not JSON"],
    ["a list instead of an object", "[]", "JSON of another shape"],
    ["nested beyond the stack", "[".repeat(200_000), /not JSON|too deeply/],
  ])("a 200 that is %s is unexpected and not asked again", async (_what, body, reason) => {
    skyvern.faults.push({ status: 200, body });
    const fault = faultOf(await aClient().getRun(V1));
    expect(fault.kind).toBe("unexpected");
    expect(fault.reason).toMatch(reason);
    expect(skyvern.calls).toHaveLength(1);
  });

  test("an answer over 20 MB is refused, as soon as its length is announced", async () => {
    const url = await aServer((_request, response) => {
      response.writeHead(200, { "content-length": 20_000_001 }).flushHeaders();
    });
    const { kind, reason } = faultOf(await aClient({ baseUrl: url, timeoutMs: 5000 }).getRun("wr_1"));
    expect([kind, reason]).toEqual(["unexpected", "Skyvern answered the run with more than 20 MB"]);
  });

  test("an answer over 20 MB is refused while it comes, when it announced nothing", async () => {
    const url = await aServer((_request, response) => {
      response.write(Buffer.alloc(20_000_000, " "));
      response.end("{}");
    });
    const { kind, reason } = faultOf(await aClient({ baseUrl: url }).getRun("wr_1"));
    expect([kind, reason]).toEqual(["unexpected", "Skyvern answered the run with more than 20 MB"]);
  });

  test("a redirect of a JSON call is not followed", async () => {
    const url = await answering(307, "", { location: `${skyvern.url}/v1/runs/${V1}` });
    expect(faultOf(await aClient({ baseUrl: url }).getRun(V1))).toMatchObject({ kind: "unexpected", status: 307 });
    expect(skyvern.calls).toEqual([]);
  });

  test("the words of another site are one short line in the reason, and a proxy's page is left out", async () => {
    const url = await answering(400, JSON.stringify({ detail: `a\u0000b\r\nc\u202e${"x".repeat(1000)}` }));
    const { reason } = faultOf(await aClient({ baseUrl: url }).getRun("wr_1"));
    expect(reason).toMatch(/^Skyvern answered the run with 400: a b c x+$/);
    expect(reason.length).toBeLessThan(260);
    const page = await answering(400, "<script>alert(1)</script>");
    expect(faultOf(await aClient({ baseUrl: page }).getRun("wr_1")).reason).toBe("Skyvern answered the run with 400");
  });
});

describe("retries within a call", () => {
  test.each([408, 429, 500, 503])(
    "a call that Skyvern answers with %i passes after two more tries with growing waits",
    async (status) => {
      skyvern.faults.push({ status, times: 2 });
      expect(valueOf(await aClient().getRun(V1))["run_id"]).toBe(V1);
      expect(waits).toEqual([750, 1500]);
    },
  );

  test("a call whose connection breaks is tried again", async () => {
    skyvern.faults.push({ instead: "reset" });
    expect((await aClient().getRun(V1)).ok).toBe(true);
    expect(skyvern.calls).toHaveLength(2);
  });

  test("a call is tried three times at most", async () => {
    skyvern.faults.push({ status: 500, times: 9 });
    expect(faultOf(await aClient().getRun(V1)).kind).toBe("unavailable");
    expect(skyvern.calls).toHaveLength(3);
  });

  test.each([400, 403, 404, 422])("a call that Skyvern answers with %i is not tried again", async (status) => {
    skyvern.faults.push({ status });
    expect(faultOf(await aClient().getRun(V1)).status).toBe(status);
    expect([skyvern.calls.length, waits]).toEqual([1, []]);
  });

  test("Retry-After is honoured, in seconds and as a date", async () => {
    skyvern.faults.push({ status: 429, headers: { "retry-after": "4" } });
    skyvern.faults.push({ status: 503, headers: { "retry-after": new Date(NOW + 7000).toUTCString() } });
    expect((await aClient().getRun(V1)).ok).toBe(true);
    expect(waits).toEqual([4000, 7000]);
  });

  test("a long Retry-After is handed back instead of waited for", async () => {
    skyvern.faults.push({ status: 429, headers: { "retry-after": "120" } });
    expect(faultOf(await aClient().getRun(V1))).toMatchObject({ kind: "rate_limited", retryAfterMs: 120_000 });
    expect(waits).toEqual([]);
  });

  test("a call to a closed port is unavailable, with the system's code", async () => {
    const url = await answering(200, "");
    await open.pop()?.();
    const fault = faultOf(await aClient({ baseUrl: url }).getRun("wr_1"));
    expect(fault).toEqual({
      kind: "unavailable",
      status: null,
      reason: "Skyvern did not answer the run: ECONNREFUSED",
    });
  });

  test("a call without an answer in time is unavailable", async () => {
    skyvern.faults.push({ instead: "hang" });
    const client = aClient({ timeoutMs: 30 }).with({ tries: 1 });
    expect(faultOf(await client.getRun(V1)).reason).toBe("Skyvern did not answer the run: nothing within 30 ms");
  });

  test("an abort ends a call that hangs, at once and without another try", async () => {
    skyvern.faults.push({ instead: "hang" });
    const abort = new AbortController();
    const call = aClient().getRun(V1, abort.signal);
    abort.abort();
    expect(faultOf(await call)).toMatchObject({
      kind: "unavailable",
      reason: "Skyvern did not answer the run: aborted",
    });
    expect(waits).toEqual([]);
  });

  test("an abort ends the wait between two tries", async () => {
    skyvern.faults.push({ status: 500, times: 9 });
    const abort = new AbortController();
    const sleep = () => Promise.resolve(abort.abort());
    expect(faultOf(await aClient({ sleep }).getRun(V1, abort.signal)).status).toBe(500);
    expect(skyvern.calls).toHaveLength(1);
  });

  test("a Skyvern without signing keys (503) is asked once for a signed URL", async () => {
    skyvern.faults.push({ status: 503, times: 9 });
    expect(faultOf(await aClient().signedUrl("a_1")).status).toBe(503);
    expect(skyvern.calls).toHaveLength(1);
  });
});

describe("keys", () => {
  const OTHER = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzIifQ.other-key";
  const keys = [
    { name: "first", key: new Secret(KEY), organization: null },
    { name: "other", key: new Secret(OTHER), organization: "o_2" },
  ];

  test("the client calls with the first key, unless an organization is asked for that has its own", async () => {
    const client = aClient({ keys });
    await client.getRun(V1);
    await client.with({ organization: "o_2" }).getRun(V1);
    await client.with({ organization: "o_9" }).getRun(V1);
    await client.with({ organization: null }).getRun(V1);
    expect([0, 1, 2, 3].map(keyOf)).toEqual([KEY, OTHER, KEY, KEY]);
  });

  test("every organization can be asked with its own key", async () => {
    for (const { client } of aClient({ keys }).perKey()) await client.listRuns({ page: 1, pageSize: 10 });
    expect([0, 1].map(keyOf)).toEqual([KEY, OTHER]);
    expect(
      aClient({ keys })
        .perKey()
        .map(({ name }) => name),
    ).toEqual(["first", "other"]);
  });

  test("content that is redirected to another host is fetched there without the key", async () => {
    const seen: http.IncomingHttpHeaders[] = [];
    const storage = await aServer((request, response) => {
      seen.push(request.headers);
      response.end("bytes");
    });
    skyvern.faults.push({ status: 302, headers: { location: `${storage}/x` } });
    const content = valueOf(await aClient().openContent("a_1", { range: "bytes=0-4" }));
    expect(await content.text()).toBe("bytes");
    expect(skyvern.calls[0]?.headers["x-api-key"]).toBe(KEY);
    expect(seen[0]?.["x-api-key"]).toBeUndefined();
    expect(seen[0]?.range).toBe("bytes=0-4");
  });

  test("content that is redirected away and back is fetched without the key, as the other side must not choose what it opens", async () => {
    const storage = await aServer((_request, response) => {
      response.writeHead(302, { location: `${skyvern.url}/v1/runs/${V1}` }).end();
    });
    skyvern.faults.push({ status: 302, headers: { location: `${storage}/x` } });
    expect(faultOf(await aClient().openContent("a_1"))).toMatchObject({ kind: "forbidden" });
    expect(skyvern.calls.map(({ headers }) => headers["x-api-key"])).toEqual([KEY, undefined]);
  });

  test("content is not followed in circles, nor to another scheme", async () => {
    skyvern.faults.push({ status: 302, headers: { location: "/v1/artifacts/a_1/content" }, times: 9 });
    expect(faultOf(await aClient().openContent("a_1")).reason).toMatch(/more than 3 redirects/);
    skyvern.faults.splice(0, 9, { status: 302, headers: { location: "file:///etc/passwd" } });
    expect(faultOf(await aClient().openContent("a_1"))).toMatchObject({ kind: "unexpected", status: 302 });
  });

  test("no fault holds the key, though Skyvern echoes it or it is no header value", async () => {
    skyvern.faults.push({ status: 403, body: JSON.stringify({ detail: `Invalid key ${KEY}` }) });
    expect(faultOf(await aClient().getRun(V1)).reason).toBe("Skyvern answered the run with 403: Invalid key [secret]");
    const broken = [{ name: "x", key: new Secret("two\nlines"), organization: null }];
    const { reason } = faultOf(await aClient({ keys: broken }).getRun(V1));
    expect(reason).toMatch(/^Skyvern did not answer the run: .*\[secret\]/);
    expect(reason).not.toContain("lines");
  });

  test("no key, or an empty one, is a fault of the configuration", () => {
    expect(() => aClient({ keys: [] })).toThrow(/at least one API key/);
    expect(() => aClient({ keys: [{ name: "acme", key: new Secret(""), organization: null }] })).toThrow(
      /"acme" is empty/,
    );
  });
});
