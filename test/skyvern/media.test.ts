/** Bytes of artifacts, wherever Skyvern says they are. */
import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { zipSync } from "fflate";
import { describe, expect, it, onTestFinished } from "vitest";
import { TINY_PNG, type StandInArtifact } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { createEgress } from "../../src/net/egress.ts";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createSkyvernClient } from "../../src/skyvern/client.ts";
import { safeAnswer, sniff } from "../../src/skyvern/artifacts/answer.ts";
import { LinkedMedia, type Copies, type Media, type Owner } from "../../src/skyvern/artifacts/media.ts";
import { aRun } from "../support/a-run.ts";
import { fixtureBundle } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const KEY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzEifQ.x";
const RECORDING = "a_1";
const SCREENSHOT = "a_2";
const owner: Owner = {
  run: aRun({ run_id: "tsk_1", recording: RECORDING, screenshots: [SCREENSHOT] }),
  artifacts: [{ artifact_id: "a_3", type: "screenshot_final", created_at: NOW }],
};

interface Rig {
  media: Media;
  skyvern: StandInSkyvern;
  log(): string;
  /** What the next signed URL is. */
  sign(url: string, times?: number): void;
}

async function aRig(
  bytes: Partial<Record<string, Uint8Array>> = {},
  allow = ["127.0.0.0/8"],
  copies?: Copies,
  more: readonly StandInArtifact[] = [],
): Promise<Rig> {
  const skyvern = await startSkyvern({ keys: [KEY], now: () => NOW });
  skyvern.addRun({
    payload: { run_id: "tsk_1", status: "completed", run_type: "task_v1" },
    artifacts: [
      { artifact_id: RECORDING, artifact_type: "recording", ...(bytes[RECORDING] && { bytes: bytes[RECORDING] }) },
      { artifact_id: SCREENSHOT, artifact_type: "screenshot_action" },
      { artifact_id: "a_3", artifact_type: "screenshot_final" },
      ...more,
    ],
  });
  const egress = createEgress({ allow, trusted: [skyvern.url] });
  onTestFinished(async () => {
    await egress.close();
    await skyvern.close();
  });
  const lines: string[] = [];
  const log = createLog("info", { write: (line) => void lines.push(line) });
  const runtime = aRuntime();
  const key = { name: "one", key: new Secret(KEY), organization: null };
  const client = createSkyvernClient({ ...runtime, baseUrl: skyvern.url, keys: [key], ...egress });
  return {
    media: new LinkedMedia({
      client,
      fetch: egress.fetch,
      permit: egress.permit,
      now: runtime.now,
      log,
      ...(copies && { copies }),
    }),
    skyvern,
    log: () => lines.join(""),
    sign: (url, times = 1) =>
      skyvern.faults.push({
        on: /signed-url$/,
        times,
        status: 200,
        body: JSON.stringify({ artifact_id: RECORDING, signed_url: url, expires_at: null }),
      }),
  };
}

/** A storage somewhere else than Skyvern, and what it was asked with. */
async function aStorage(answer: { status?: number; headers?: Record<string, string>; body?: Uint8Array } = {}) {
  const seen: Record<string, unknown>[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers);
    response.writeHead(answer.status ?? 200, answer.headers).end(answer.body ?? "bytes");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`, seen };
}

const never = (): AbortSignal => new AbortController().signal;
const textOf = async (opened: Awaited<ReturnType<Media["open"]>>): Promise<string> =>
  opened.kind === "content" ? await opened.content.text() : opened.kind;

describe("a URL that Skyvern names", () => {
  it("a URL that Skyvern names is fetched without Skyvern's key, wherever it is", async () => {
    const { media, sign } = await aRig();
    const storage = await aStorage();
    sign(storage.url);

    expect(await textOf(await media.open(owner, RECORDING))).toBe("bytes");
    expect(storage.seen).toHaveLength(1);
    expect(JSON.stringify(storage.seen)).not.toContain(KEY);
    expect(storage.seen[0]).not.toHaveProperty("x-api-key");
  });

  it.each([
    "http://127.0.0.1:9000/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::1]/",
    "http://[fd00:ec2::254]/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://100.100.100.200/",
    "http://localhost/",
  ])(
    "a URL like %s is neither fetched nor linked; Skyvern's own bytes are passed on, and the log says why",
    async (url) => {
      const { media, sign, log } = await aRig({ [RECORDING]: Buffer.from("a film") }, []);
      sign(url, 2);

      expect(await media.link(owner, RECORDING)).toBeNull();
      expect(await textOf(await media.open(owner, RECORDING))).toBe("a film");
      expect(log()).toContain('"media.refused"');
      expect(log()).toContain("ALLOW_PRIVATE_NETWORKS");
    },
  );

  it.each([
    "http://169.254.169.254/",
    "http://[::1]:2222/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "//10.0.0.1/",
  ])("a URL that redirects to %s is not followed there", async (location) => {
    const storage = await aStorage({ status: 302, headers: { location } });
    const { media, sign } = await aRig({}, ["127.0.0.1/32"]);
    sign(storage.url, 2);
    expect(await media.open(owner, RECORDING)).toMatchObject({ kind: "gone", temporary: false });
  });

  it("a URL that redirects in a circle ends", async () => {
    const storage = await aStorage({ status: 302, headers: { location: "/file" } });
    const { media, sign } = await aRig();
    sign(storage.url, 2);
    expect(await media.open(owner, RECORDING)).toMatchObject({ kind: "gone" });
    expect(storage.seen.length).toBeLessThan(12);
  });

  it.each([
    "file:///etc/passwd",
    "ftp://example.com/x",
    "javascript:alert(1)",
    "https://relay.example.com@93.184.215.14/x",
    "https://user:password@93.184.215.14/x",
  ])("the URL %s is no link for a browser", async (url) => {
    const { media, sign } = await aRig();
    sign(url);
    expect(await media.link(owner, RECORDING)).toBeNull();
  });

  it("a URL of Skyvern that was good and is dead is asked for again, once", async () => {
    const { media, sign, skyvern } = await aRig();
    const dead = await aStorage({ status: 403 });
    sign(dead.url);
    expect(await media.link(owner, RECORDING)).toBe(dead.url);

    expect((await media.open(owner, RECORDING)).kind).toBe("content");
    expect(skyvern.calls.filter(({ path }) => path.endsWith("/signed-url"))).toHaveLength(2);
  });

  it("URLs of Skyvern are kept for as many artifacts as fit, not more", async () => {
    const { media, skyvern, sign } = await aRig();
    sign("https://93.184.215.14/x", 1_200);
    for (let n = 0; n < 1_001; n++) await media.link(owner, `a_x${n}`);
    const before = skyvern.calls.length;
    await media.link(owner, "a_x1000");
    expect(skyvern.calls.length).toBe(before);
    await media.link(owner, "a_x0");
    expect(skyvern.calls.length).toBe(before + 1);
  });
});

/** A storage whose answer breaks off after some bytes of those it announced. */
async function aBreakingStorage(bytes: Uint8Array, headers: Record<string, string>) {
  const server = createServer((_request, response) => {
    response.writeHead(200, headers);
    response.write(bytes, () => response.destroy());
    if (bytes.length === 0) setImmediate(() => response.destroy());
    response.flushHeaders();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
}

const COPY = Buffer.from("the relay's own copy");
const copies = {
  has: async () => true,
  open: async () => new Response(new Uint8Array(COPY), { headers: { "content-type": "application/octet-stream" } }),
};

describe("broken bytes", () => {
  const broken = async (bytes: Uint8Array, headers: Record<string, string>) => ({
    url: await aBreakingStorage(bytes, { "content-length": "1000000", ...headers }),
  });
  const KINDS: [string, string, () => Promise<{ url: string }>][] = [
    ["break off before the first", RECORDING, () => broken(Buffer.alloc(0), {})],
    ["break off after three", RECORDING, () => broken(Buffer.from("abc"), {})],
    ["break off in the middle of a picture", SCREENSHOT, () => broken(Buffer.from(TINY_PNG).subarray(0, 40), {})],
    ...["gzip", "br", "deflate", "zstd"].map((encoding): [string, string, () => Promise<{ url: string }>] => [
      `say ${encoding} and are not`,
      RECORDING,
      () => aStorage({ headers: { "content-encoding": encoding }, body: Buffer.from("not packed at all, and long") }),
    ]),
    [
      "are packed and cut",
      RECORDING,
      () =>
        aStorage({
          headers: { "content-encoding": "gzip" },
          body: gzipSync(randomBytes(50)).subarray(0, 11),
        }),
    ],
  ];

  it.each(KINDS)("bytes of an artifact that %s are gone for now", async (_what, key, storage) => {
    const { media, sign } = await aRig();
    sign((await storage()).url, 2);
    expect(await media.open(owner, key)).toMatchObject({ kind: "gone", temporary: true });
  });

  it.each(KINDS)("bytes of an artifact that %s are taken from the relay's copy", async (_what, key, storage) => {
    const { media, sign } = await aRig({}, ["127.0.0.0/8"], copies);
    sign((await storage()).url, 4);
    expect(await textOf(await media.open(owner, key))).toBe(COPY.toString());
    expect(await media.link(owner, key)).toBeNull();
  });

  const PACKED = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync, zstd: zstdCompressSync };
  /** Long enough that its first bytes are unpacked before it breaks off. */
  const long = randomBytes(300_000);
  const LATE: [string, (bytes: Buffer) => Promise<{ url: string }>][] = [
    ["break off late", (bytes) => broken(bytes.subarray(0, 200_000), {})],
    ...Object.entries(PACKED).map(([encoding, pack]): (typeof LATE)[number] => [
      `are packed with ${encoding} and break off late`,
      (bytes) => broken(pack(bytes).subarray(0, 200_000), { "content-encoding": encoding }),
    ]),
    [
      "come in chunks and break off late",
      async (bytes) => ({
        url: await aBreakingStorage(bytes.subarray(0, 200_000), { "transfer-encoding": "chunked" }),
      }),
    ],
    ["are a part that nobody asked for", (body) => aStorage({ status: 206, body })],
    ["are none", () => aStorage({ body: new Uint8Array() })],
  ];

  it.each(LATE)("bytes of an artifact that %s do not reach a reader where there is a copy", async (_what, storage) => {
    const { media, sign } = await aRig({}, ["127.0.0.0/8"], copies);
    sign((await storage(long)).url, 4);
    expect(await media.link(owner, RECORDING)).toBeNull();
    expect(await textOf(await media.open(owner, RECORDING))).toBe(COPY.toString());
  });

  it("bytes that break off late at a place that may hold something else by now are taken from the copy", async () => {
    const { media, skyvern } = await aRig({}, ["127.0.0.0/8"], copies);
    const payload = { run_id: "tsk_1", status: "completed", run_type: "task_v1" };
    const { url } = await broken(gzipSync(long).subarray(0, 200_000), { "content-encoding": "gzip" });
    skyvern.addRun({ payload: { ...payload, recording_url: url } });
    expect(await media.link(owner, "recording")).toBeNull();
    expect(await textOf(await media.open(owner, "recording"))).toBe(COPY.toString());

    skyvern.addRun({ payload: { ...payload, recording_url: (await aStorage({ body: Buffer.from("newer") })).url } });
    expect(await textOf(await media.open(owner, "recording"))).toBe("newer");
  });

  it("bytes whose copy is gone as well are taken from Skyvern", async () => {
    const lost = { has: async () => true, open: async () => null };
    const { media, sign } = await aRig({}, ["127.0.0.0/8"], lost);
    sign((await aStorage()).url);
    expect(await textOf(await media.open(owner, RECORDING))).toBe("bytes");
  });

  it("bytes that are a part nobody asked for are gone for now where there is no copy", async () => {
    const { media, sign } = await aRig();
    sign((await aStorage({ status: 206 })).url, 2);
    expect(await media.open(owner, RECORDING)).toMatchObject({ kind: "gone", temporary: true });
  });

  it("bytes that are a packed part, which nothing unpacks, are asked for whole", async () => {
    const { media, sign } = await aRig();
    const packed = gzipSync("a film");
    const server = createServer(({ headers }, response) => {
      const part = headers.range === undefined ? {} : { "content-range": `bytes 4-7/${packed.length}` };
      response.writeHead(headers.range === undefined ? 200 : 206, { "content-encoding": "gzip", ...part });
      response.end(headers.range === undefined ? packed : packed.subarray(4, 8));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    sign(`http://127.0.0.1:${(server.address() as AddressInfo).port}/film`);
    const opened = await media.open(owner, RECORDING, { range: "bytes=4-7" });
    expect(opened).toMatchObject({ kind: "content", content: { status: 200 } });
    expect(await textOf(opened)).toBe("a film");
  });

  it("bytes that are packed though the request did not ask for it are unpacked", async () => {
    const { media, sign } = await aRig();
    const text = "a report ".repeat(1_000);
    const packed = await aStorage({ headers: { "content-encoding": "gzip" }, body: gzipSync(text) });
    sign(packed.url);
    const opened = await media.open(owner, RECORDING);
    expect(await textOf(opened)).toBe(text);
  });

  it("bytes that are none at all are an empty file", async () => {
    const { media, sign } = await aRig();
    sign((await aStorage({ body: new Uint8Array() })).url);
    expect(await textOf(await media.open(owner, RECORDING))).toBe("");
  });
});

describe("reading all of it", () => {
  it("reading an artifact whole answers the bytes and what they are", async () => {
    const { media } = await aRig();
    const read = await media.read(owner, SCREENSHOT, 1_000, never());
    expect(read).toEqual({ kind: "bytes", type: "image/png", bytes: Buffer.from(TINY_PNG) });
  });

  it("reading an artifact whole stops at the size asked for, also where none was announced", async () => {
    const { media, sign } = await aRig();
    const announced = await aStorage({ headers: { "content-length": "5000" }, body: new Uint8Array(5_000) });
    const silent = await aStorage({ headers: { "transfer-encoding": "chunked" }, body: new Uint8Array(5_000) });
    for (const { url } of [announced, silent]) {
      sign(url);
      expect(await media.read(owner, `a_${new URL(url).port}`, 4_999, never())).toEqual({ kind: "too_large" });
    }
  });

  it("an artifact whose reading is cut off by the deadline, or that is gone, is unavailable", async () => {
    const { media, skyvern } = await aRig();
    skyvern.faults.push({ on: /content$/, instead: "hang" });
    expect(await media.read(owner, SCREENSHOT, 1_000, AbortSignal.timeout(50))).toEqual({ kind: "unavailable" });
    skyvern.runs.clear();
    expect(await media.read(owner, SCREENSHOT, 1_000, never())).toEqual({ kind: "unavailable" });
  });
});

describe("a member that Skyvern answers with its whole bundle", () => {
  const HAR = "a_har";
  const inBundle: Owner = {
    run: owner.run,
    artifacts: [
      { artifact_id: HAR, type: "har", created_at: NOW, bundle: "har.har" },
      { artifact_id: SCREENSHOT, type: "screenshot_action", created_at: NOW, bundle: "screenshot_action_0.png" },
    ],
  };
  const pictures = zipSync({ "scrape.html": Buffer.from("<script>1</script>"), "screenshot_action_0.png": TINY_PNG });
  const aBundle = (har: Uint8Array = fixtureBundle(), picture: Uint8Array = pictures) => {
    const bundle_key = "screenshot_action_0.png";
    return aRig({}, ["127.0.0.0/8"], undefined, [
      { artifact_id: HAR, artifact_type: "har", bytes: har, row: { bundle_key: "har.har" } },
      { artifact_id: SCREENSHOT, artifact_type: "screenshot_action", bytes: picture, row: { bundle_key } },
    ]);
  };

  it("a member that Skyvern answers with its whole bundle is taken out of it, without what described the bundle", async () => {
    const { media } = await aBundle();

    const opened = await media.open(inBundle, HAR);

    expect(opened).toMatchObject({ kind: "content", content: { status: 200 } });
    if (opened.kind === "content") expect(opened.content.headers.has("content-length")).toBe(false);
    expect(JSON.parse(await textOf(opened))).toHaveProperty("log.version");
    expect(await media.read(inBundle, SCREENSHOT, 1_000, never())).toEqual({
      kind: "bytes",
      type: "image/png",
      bytes: Buffer.from(TINY_PNG),
    });
  });

  it("a member of a bundle is never a redirect, and is all of it in a range, as a part of a bundle is no part of a member", async () => {
    const { media } = await aBundle();

    expect(await media.link(inBundle, HAR)).toBeNull();
    const opened = await media.open(inBundle, HAR, { range: "bytes=4-7" });
    expect(opened).toMatchObject({ kind: "content", content: { status: 200 } });
    expect(JSON.parse(await textOf(opened))).toHaveProperty("log.version");
  });

  it("a member that Skyvern took out of its bundle itself is passed on as it is", async () => {
    const { media } = await aBundle(Buffer.from('{"log":{}}'), TINY_PNG);

    expect(await textOf(await media.open(inBundle, HAR))).toBe('{"log":{}}');
    expect(await media.read(inBundle, SCREENSHOT, 1_000, never())).toMatchObject({ type: "image/png" });
  });

  it("a member is asked for by one more request where a picture's row was stored without its bundle", async () => {
    const { media, skyvern } = await aBundle();

    expect(await media.read(owner, SCREENSHOT, 1_000, never())).toMatchObject({ type: "image/png" });
    expect(skyvern.calls.filter(({ path }) => path === "/v1/runs/tsk_1/artifacts")).toHaveLength(1);
  });

  it("a member that the bundle does not have is gone with a plain reason", async () => {
    const { media } = await aBundle(zipSync({ "other.log": Buffer.from("x") }), pictures.subarray(0, 60));

    for (const key of [HAR, SCREENSHOT]) {
      expect(await media.open(inBundle, key)).toEqual({
        kind: "gone",
        reason: "Skyvern keeps it in a ZIP that has no such member, or is cut off.",
        temporary: false,
      });
      expect(await media.read(inBundle, key, 1_000, never())).toEqual({ kind: "unavailable" });
    }
  });

  it("a member that is no picture is not shown as one", async () => {
    const { media } = await aBundle(undefined, zipSync({ "screenshot_action_0.png": Buffer.from("<script>") }));

    expect(await media.read(inBundle, SCREENSHOT, 1_000, never())).toMatchObject({ kind: "bytes", type: null });
  });

  it("a download that is a ZIP stays one", async () => {
    const zip = zipSync({ "a.txt": Buffer.from("a") });
    const { media, skyvern } = await aRig({ [RECORDING]: zip });

    expect(await textOf(await media.open(owner, RECORDING))).toBe(Buffer.from(zip).toString());
    expect(skyvern.calls.filter(({ path }) => path.endsWith("/artifacts"))).toEqual([]);
  });
});

describe("a range", () => {
  it("a range of a recording is passed on to its storage", async () => {
    const { media } = await aRig({ [RECORDING]: Buffer.from("0123456789") });
    const opened = await media.open(owner, RECORDING, { range: "bytes=2-4" });
    expect(opened).toMatchObject({ kind: "content", content: { status: 206 } });
    expect(await textOf(opened)).toBe("234");
    expect(await media.open(owner, RECORDING, { range: "bytes=90-" })).toEqual({ kind: "unsatisfiable" });
  });

  it("a range of several parts is answered with the whole, as they would come in an envelope of their own", async () => {
    const { media, sign } = await aRig();
    const storage = await aStorage();
    sign(storage.url);
    expect(await textOf(await media.open(owner, RECORDING, { range: "bytes=0-1,4-5" }))).toBe("bytes");
    expect(storage.seen[0]).not.toHaveProperty("range");
  });

  it.each([SCREENSHOT, "a_3"])(
    "a range of a picture, %s, is answered with the whole, as a part would not show what it is",
    async (key) => {
      const { media } = await aRig();
      const opened = await media.open(owner, key, { range: "bytes=4-7" });
      expect(opened).toMatchObject({ kind: "content", content: { status: 200 } });
    },
  );
});

const streamOf = (...chunks: string[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: (controller) => {
      for (const chunk of chunks) controller.enqueue(Buffer.from(chunk, "latin1"));
      controller.close();
    },
  });

describe("the type of content", () => {
  it.each([
    ["image/png", ["\x89P", "NG\r\n", "\x1A\n rest"]],
    ["image/jpeg", ["\xFF\xD8\xFF\xE0"]],
    ["image/gif", ["GIF89a"]],
    ["image/webp", ["RIFF\x01\x02\x03\x04", "WEBP"]],
    ["video/webm", ["\x1A\x45\xDF\xA3"]],
    ["video/mp4", ["\0\0\0\x20", "ftypisom"]],
    [null, ["<!doctype html>"]],
    [null, ["<svg xmlns="]],
    [null, ["%PDF-1.7 and more"]],
    [null, [""]],
  ])("the type of content is judged by its first bytes, however they come: %s", async (type, chunks) => {
    const sniffed = await sniff("application/json", streamOf(...chunks));
    expect(sniffed.type).toBe(type);
    expect(Buffer.from(await new Response(sniffed.body).arrayBuffer()).toString("latin1")).toBe(chunks.join(""));
  });

  it.each(["image/png", "image/svg+xml", "text/html", "application/pdf"])(
    "content that calls itself %s is not believed: a page is downloaded, a picture shown",
    async (said) => {
      expect((await sniff(said, streamOf("<script>alert(1)</script>"))).type).toBeNull();
      expect((await sniff(said, streamOf("\xFF\xD8\xFF\xE0"))).type).toBe("image/jpeg");
    },
  );

  it("the type of a range from the middle of a recording is what its storage says", async () => {
    expect((await sniff("video/webm; codecs=vp8", streamOf("middle"))).type).toBe("video/webm");
  });

  it("content is described to a browser without anything it could run, and without a length that is not its own", async () => {
    const headers = { "content-type": "text/html", "content-length": "9", "content-encoding": "gzip" };
    const answer = await safeAnswer(new Response(streamOf("<script>1"), { headers }), "x'\u202Egpj.html");
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": "attachment; filename*=UTF-8''x%27%E2%80%AEgpj.html",
      "content-security-policy": "default-src 'none'; sandbox",
      "x-content-type-options": "nosniff",
    });
    expect(answer.headers.has("content-length")).toBe(false);
  });
});
