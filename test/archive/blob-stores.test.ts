/** Where copies are kept: the same is asked of a folder and of S3-compatible storage. */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { folderBlobStore } from "../../src/archive/folder-blobs.ts";
import { parseRange, type BlobStore } from "../../src/archive/blob-store.ts";
import { s3BlobStore } from "../../src/archive/s3-blobs.ts";
import { spool, sweep } from "../../src/archive/spool.ts";
import type { UploadFile } from "../../src/net/s3.ts";
import { createEgress } from "../../src/net/egress.ts";
import { Secret } from "../../src/platform/secret.ts";
import { NOW } from "../support/runtime.ts";
import { ACCESS_KEY_ID, SECRET_ACCESS_KEY, startS3, type S3StandIn } from "./s3-stand-in.ts";

function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-archive-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const never = (): AbortSignal => new AbortController().signal;
const sha256Of = (text: string): string => createHash("sha256").update(text).digest("hex");

const streamOf = (...chunks: string[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: (controller) => {
      for (const chunk of chunks) controller.enqueue(Buffer.from(chunk));
      controller.close();
    },
  });

async function aFile(dir: string, text: string): Promise<UploadFile> {
  const spooled = await spool(dir, streamOf(text), { maxBytes: 1_000, sha256: null, now: () => NOW, signal: never() });
  if (!spooled.ok) throw new Error(spooled.refused.kind);
  return spooled.file;
}

function s3On(storage: Pick<S3StandIn, "url">, secret = SECRET_ACCESS_KEY): BlobStore {
  const egress = createEgress({ allow: [], trusted: [storage.url] });
  onTestFinished(() => egress.close());
  const settings = {
    endpoint: storage.url,
    bucket: "runs",
    region: "eu-central-1",
    prefix: "skyvern-relay/",
    accessKeyId: new Secret(ACCESS_KEY_ID),
    secretAccessKey: new Secret(secret),
  };
  return s3BlobStore({ settings, fetch: egress.fetch, now: () => NOW });
}

const PLACES: [string, () => Promise<BlobStore>][] = [
  ["a folder", async () => folderBlobStore(aFolder())],
  ["S3-compatible storage", async () => s3On(await startS3())],
];

describe.each(PLACES)("%s", (_name, start) => {
  it("a blob store gives a file back, whole or in part, and consumes the file that it was given", async () => {
    const blobs = await start();
    const file = await aFile(aFolder(), "0123456789");
    await blobs.keep(file, never());
    expect(existsSync(file.path)).toBe(false);

    const whole = await blobs.open(file.sha256, 10, null);
    expect([whole?.status, whole?.headers.get("content-length"), await whole?.text()]).toEqual([
      200,
      "10",
      "0123456789",
    ]);
    const part = await blobs.open(file.sha256, 10, "bytes=2-4");
    expect([part?.status, part?.headers.get("content-range"), await part?.text()]).toEqual([
      206,
      "bytes 2-4/10",
      "234",
    ]);
    const end = await blobs.open(file.sha256, 10, "bytes=-3");
    expect(await end?.text()).toBe("789");
    expect((await blobs.open(file.sha256, 10, "bytes=10-"))?.status).toBe(416);
  });

  it("a blob store takes the same bytes twice", async () => {
    const blobs = await start();
    for (let n = 0; n < 2; n++) await blobs.keep(await aFile(aFolder(), "same"), never());
    expect(await (await blobs.open(sha256Of("same"), 4, null))?.text()).toBe("same");
  });

  it("a blob store removes a file it has, and a file it never had", async () => {
    const blobs = await start();
    for (const text of ["one", "two"]) await blobs.keep(await aFile(aFolder(), text), never());
    await blobs.remove(sha256Of("one"), never());
    await blobs.remove(sha256Of("three"), never());
    expect(await blobs.open(sha256Of("one"), 3, null)).toBeNull();
    expect(await (await blobs.open(sha256Of("two"), 3, null))?.text()).toBe("two");
  });

  it("a blob store says when it has nothing of a name", async () => {
    const blobs = await start();
    expect(await blobs.open(sha256Of("other"), 5, null)).toBeNull();
  });
});

describe("a folder", () => {
  it("a folder holds each file under its sha256, and nothing else", async () => {
    const dir = aFolder();
    await folderBlobStore(dir).keep(await aFile(dir, "bytes"), never());
    const sha256 = sha256Of("bytes");
    expect(readdirSync(dir, { recursive: true }).toSorted()).toEqual(
      [sha256.slice(0, 2), join(sha256.slice(0, 2), sha256)].toSorted(),
    );
    expect(readFileSync(join(dir, sha256.slice(0, 2), sha256), "utf8")).toBe("bytes");
  });

  it("a folder follows no link that was put in a copy's place, and accepts nothing else as a copy", async () => {
    const dir = aFolder();
    const blobs = folderBlobStore(dir);
    const sha256 = sha256Of("bytes");
    const path = join(dir, sha256.slice(0, 2), sha256);
    mkdirSync(join(dir, sha256.slice(0, 2)));
    writeFileSync(join(dir, "secret"), "s3cr3");
    symlinkSync(join(dir, "secret"), path);
    expect(await blobs.open(sha256, 5, null)).toBeNull();
    // A new copy takes the link's place; what it led to is untouched.
    await blobs.keep(await aFile(dir, "bytes"), never());
    expect(await (await blobs.open(sha256, 5, null))?.text()).toBe("bytes");
    await blobs.remove(sha256, never());
    symlinkSync(join(dir, "secret"), path);
    await blobs.remove(sha256, never());
    expect(readFileSync(join(dir, "secret"), "utf8")).toBe("s3cr3");
    mkdirSync(path);
    expect(await blobs.open(sha256, statSync(path).size, null)).toBeNull();
  });

  it("a folder does not give back a copy that something else cut short", async () => {
    const dir = aFolder();
    const blobs = folderBlobStore(dir);
    await blobs.keep(await aFile(dir, "bytes"), never());
    const sha256 = sha256Of("bytes");
    writeFileSync(join(dir, sha256.slice(0, 2), sha256), "byt");
    expect(await blobs.open(sha256, 5, null)).toBeNull();
  });
});

describe("S3-compatible storage", () => {
  it("S3-compatible storage gets the bytes once, signed, with their length, under the prefix", async () => {
    const storage = await startS3();
    const blobs = s3On(storage);
    for (let n = 0; n < 2; n++) await blobs.keep(await aFile(aFolder(), "same"), never());
    const path = `/runs/skyvern-relay/${sha256Of("same").slice(0, 2)}/${sha256Of("same")}`;
    expect(storage.calls).toEqual([`HEAD ${path}`, `PUT ${path}`, `HEAD ${path}`]);
    expect(storage.objects.get(path)?.toString()).toBe("same");
  });

  it("S3-compatible storage gets a file while it is read, never all of it at once", async () => {
    // V8 collects what has passed through when 64 MB of it lie beside its heap.
    const bytes = 200_000_000;
    let most = 0;
    let came = 0;
    const before = process.memoryUsage().external;
    const storage = createServer((request, response) => {
      if (request.method === "HEAD") return void response.writeHead(404).end();
      request.on("data", (piece: Buffer) => {
        came += piece.length;
        most = Math.max(most, process.memoryUsage().external - before);
      });
      request.on("end", () => response.writeHead(200).end());
    });
    await new Promise<void>((resolve) => storage.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void storage.close());
    const path = join(aFolder(), "large");
    writeFileSync(path, Buffer.alloc(bytes));
    const blobs = s3On({ url: `http://127.0.0.1:${(storage.address() as AddressInfo).port}` });
    await blobs.keep({ path, sha256: sha256Of("large"), bytes }, never());
    expect(came).toBe(bytes);
    expect(most).toBeLessThan(bytes / 2);
  });

  it("S3-compatible storage that refuses, for a wrong key or a fault of its own, keeps nothing and leaves no file", async () => {
    const storage = await startS3();
    for (const [blobs, faults] of [
      [s3On(storage, "another secret"), []],
      [s3On(storage), [404, 500]],
    ] as const) {
      storage.faults.push(...faults);
      const file = await aFile(aFolder(), "bytes");
      await expect(blobs.keep(file, never())).rejects.toThrow(/^the archive's storage answered (403|500)$/);
      expect(existsSync(file.path)).toBe(false);
    }
    expect(storage.objects.size).toBe(0);
  });
});

describe("a stream on its way into the archive", () => {
  const limits = { maxBytes: 10, sha256: null, now: () => NOW, signal: never() };

  it("a stream is measured and hashed on its way into the archive", async () => {
    const spooled = await spool(aFolder(), streamOf("abc", "def"), limits);
    expect(spooled).toMatchObject({ ok: true, file: { bytes: 6, sha256: sha256Of("abcdef") } });
  });

  it("a folder that the system does not let the archive make is an error at once", async () => {
    await expect(spool("/proc/nowhere/archive", streamOf("abc"), limits)).rejects.toThrow(/ENOENT.*\/proc\/nowhere/);
  });

  it.each([
    ["is larger than allowed", streamOf("12345", "67890", "1"), limits, { kind: "too_large" }],
    ["has another checksum", streamOf("abc"), { ...limits, sha256: sha256Of("abd") }, { kind: "checksum" }],
    ["is cut short", streamOf("abc"), { ...limits, signal: AbortSignal.abort() }, { kind: "broken" }],
  ])(
    "a stream that %s is refused on its way into the archive and leaves nothing",
    async (_what, body, limits, refused) => {
      const dir = aFolder();
      expect(await spool(dir, body, limits)).toMatchObject({ ok: false, refused });
      expect(readdirSync(dir)).toEqual([]);
    },
  );

  it("a stream that comes byte by byte is broken off on its way into the archive, and a large one may take its time", async () => {
    let now = NOW;
    const lasting = { ...limits, maxBytes: 1e9, now: () => now };
    const slowly = (pieces: number, bytes: number) =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => {
          now += 29_000;
          if (pieces-- === 0) controller.close();
          else controller.enqueue(new Uint8Array(bytes));
        },
      });
    const dir = aFolder();
    expect(await spool(dir, slowly(1_000, 1), lasting)).toMatchObject({
      refused: { kind: "broken", reason: "it came too slowly" },
    });
    expect([now - NOW < 120_000, readdirSync(dir)]).toEqual([true, []]);
    expect(await spool(dir, slowly(20, 1_000_000), lasting)).toMatchObject({ ok: true, file: { bytes: 20_000_000 } });
  });

  it("the half-done file of a process that died is swept from the archive, and copies are not", async () => {
    const dir = aFolder();
    await folderBlobStore(dir).keep(await aFile(dir, "bytes"), never());
    await aFile(dir, "half-done");
    expect(await sweep(dir)).toBe(1);
    expect(readdirSync(dir)).toEqual([sha256Of("bytes").slice(0, 2)]);
    expect(await sweep(join(dir, "nowhere"))).toBe(0);
  });
});

describe("a Range header", () => {
  it.each([
    ["bytes=0-0", { start: 0, end: 0 }],
    ["bytes=5-", { start: 5, end: 9 }],
    ["bytes=-4", { start: 6, end: 9 }],
    ["bytes=-99", { start: 0, end: 9 }],
    ["bytes=8-99", { start: 8, end: 9 }],
    ["bytes=10-", "none"],
    ["bytes=-0", "none"],
    ["bytes=5-2", null],
    ["bytes=0-1,3-4", null],
    ["bytes=-", null],
    ["items=0-1", null],
    [null, null],
  ])("a Range header of %s asks for the right part of ten bytes", (header, range) => {
    expect(parseRange(header, 10)).toEqual(range);
  });
});
