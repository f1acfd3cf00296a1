/** Members of the ZIPs that Skyvern answers on local storage. */
import { deflateRawSync } from "node:zlib";
import { Zip, ZipDeflate, strToU8, zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { BundleFault, isZip, openMember } from "../../src/skyvern/artifacts/bundle.ts";
import { TINY_PNG } from "../../src/stand-ins/skyvern.ts";
import { fixtureBundle } from "../support/fixtures.ts";

const GENUINE = fixtureBundle();

/** A body that comes in pieces, and how much of it was read. */
function aBody(bytes: Uint8Array, size = 1_000) {
  const seen = { bytes: 0, canceled: false };
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const piece = bytes.subarray(seen.bytes, seen.bytes + size);
        seen.bytes += piece.byteLength;
        if (piece.byteLength > 0) controller.enqueue(piece);
        else controller.close();
      },
      cancel: () => void (seen.canceled = true),
    },
    { highWaterMark: 0 },
  );
  return { body, seen };
}

/** What came out, and why no more did. */
async function take(bytes: Uint8Array, name: string, size?: number) {
  const { body, seen } = aBody(bytes, size);
  const made: Uint8Array[] = [];
  let fault: string | null = null;
  try {
    for await (const chunk of openMember(body, name)) made.push(chunk);
  } catch (error) {
    expect(error).toBeInstanceOf(BundleFault);
    fault = (error as Error).message;
  }
  return { bytes: Buffer.concat(made), fault, seen };
}

interface Entry {
  name: string;
  data: Uint8Array;
  method?: number;
  flags?: number;
  extra?: Uint8Array;
  sizes?: [packed: number, whole: number];
}

/** The local part of an entry, with whatever its header is to say. */
function entry({ name, data, method = 8, flags = 0, extra = new Uint8Array(), sizes }: Entry): Buffer {
  const head = Buffer.alloc(30);
  head.write("PK\x03\x04", "latin1");
  head.writeUInt16LE(45, 4);
  head.writeUInt16LE(flags, 6);
  head.writeUInt16LE(method, 8);
  head.writeUInt32LE(sizes?.[0] ?? data.byteLength, 18);
  head.writeUInt32LE(sizes?.[1] ?? data.byteLength, 22);
  head.writeUInt16LE(name.length, 26);
  head.writeUInt16LE(extra.byteLength, 28);
  return Buffer.concat([head, Buffer.from(name), extra, data]);
}

describe("a member of a bundle", () => {
  it("a member is taken out of a bundle as Skyvern made it, wherever the pieces of its body end", async () => {
    expect(isZip(GENUINE)).toBe(true);
    for (const size of [1, 7, 100_000]) {
      const har = await take(GENUINE, "har.har", size);
      expect(JSON.parse(har.bytes.toString())).toHaveProperty("log.version");
      expect(har.bytes).toHaveLength(2364);
      expect((await take(GENUINE, "browser_console.log", size)).bytes).toHaveLength(201);
    }
  });

  it("a bundle is read no further than its member goes", async () => {
    const zip = zipSync({ "one.png": TINY_PNG, "two.bin": new Uint8Array(3_000_000) }, { level: 0 });

    const { bytes, seen } = await take(zip, "one.png");

    expect(bytes).toEqual(Buffer.from(TINY_PNG));
    expect(seen).toMatchObject({ canceled: true });
    expect(seen.bytes).toBeLessThanOrEqual(1_000);
  });

  it("a member is found by its whole name, and a name leads nowhere", async () => {
    const zip = zipSync({ "../../etc/passwd": strToU8("up"), "a/b.png": TINY_PNG, "b.png": strToU8("other") });

    expect((await take(zip, "../../etc/passwd")).bytes.toString()).toBe("up");
    expect((await take(zip, "b.png")).bytes.toString()).toBe("other");
    for (const name of ["passwd", "/etc/passwd", "B.png", ""]) expect((await take(zip, name)).fault).toMatch(/no such/);
  });

  it("a member is the first of two with one name", async () => {
    const twice = [strToU8("first"), strToU8("second")].map((data) => entry({ name: "a", data, method: 0 }));

    expect((await take(Buffer.concat(twice), "a")).bytes.toString()).toBe("first");
  });

  it("a member comes out of a bundle that was written as a stream, and of one with 64-bit sizes", async () => {
    const chunks: Uint8Array[] = [];
    const zip = new Zip((_error, data) => void chunks.push(data));
    for (const [name, text] of Object.entries({ other: "x".repeat(5_000), a: "streamed" })) {
      const file = new ZipDeflate(name);
      zip.add(file);
      file.push(strToU8(text), true);
    }
    zip.end();
    expect((await take(Buffer.concat(chunks), "a")).bytes.toString()).toBe("streamed");

    const data = deflateRawSync("wide");
    const extra = Buffer.alloc(20);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(4n, 4);
    extra.writeBigUInt64LE(BigInt(data.byteLength), 12);
    const wide = entry({ name: "a", data, extra, sizes: [0xffff_ffff, 0xffff_ffff] });
    expect((await take(wide, "a")).bytes.toString()).toBe("wide");
  });
});

describe("a bundle that cannot be opened", () => {
  it.each([
    ["without the member", GENUINE, /no such member/],
    ["without any", zipSync({}), /no such member/],
    ["cut off in its member", zipSync({ a: GENUINE }).subarray(0, 300), /cut off/],
    ["cut off in a header", GENUINE.subarray(0, 20), /cut off/],
    [
      "of other bytes after its mark",
      Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(9_000, 7)]),
      /cannot be unpacked/,
    ],
    ["with damaged bytes", entry({ name: "a", data: Buffer.alloc(500, 0xff) }), /cannot be unpacked/],
    ["encrypted", entry({ name: "a", data: Buffer.from("5b9e1f0cc1d2e3", "hex"), flags: 1 }), /cannot be unpacked/],
    ["encrypted by AES", entry({ name: "a", data: Buffer.alloc(90, 1), method: 99, flags: 1 }), /cannot be unpacked/],
    ["packed in another way", entry({ name: "a", data: Buffer.alloc(90, 1), method: 14 }), /cannot be unpacked/],
  ])("a bundle that cannot be opened says so in a sentence: %s", async (_what, bytes, message) => {
    const { fault, seen } = await take(bytes, bytes === GENUINE ? "missing.png" : "a");

    expect(fault).toMatch(message);
    expect(seen.bytes).toBeLessThanOrEqual(bytes.byteLength);
  });

  it("a bundle breaks off early where a byte becomes a thousand, whatever its header says of its size", async () => {
    const zeros = deflateRawSync(Buffer.alloc(80_000_000));
    for (const sizes of [
      [zeros.byteLength, 80_000_000],
      [zeros.byteLength, 10],
    ] as [number, number][]) {
      const { bytes, fault, seen } = await take(entry({ name: "a", data: zeros, sizes }), "a");

      expect(fault).toMatch(/too large/);
      expect(bytes.byteLength).toBeLessThan(6_000_000);
      expect(seen).toMatchObject({ canceled: true });
      expect(seen.bytes).toBeLessThan(10_000);
    }
  });

  it("a bundle does not have other members unpacked or kept", async () => {
    const zeros = deflateRawSync(Buffer.alloc(80_000_000));
    const zip = Buffer.concat([entry({ name: "bomb", data: zeros }), entry({ name: "a", data: TINY_PNG, method: 0 })]);

    expect((await take(zip, "a")).bytes).toEqual(Buffer.from(TINY_PNG));
  });

  it("a bundle is read for at most 2,000 entries", async () => {
    const small = entry({ name: "x", data: new Uint8Array([1]), method: 0 });
    const zip = Buffer.concat(Array.from({ length: 100_000 }, () => small));

    const { fault, seen } = await take(zip, "a");

    expect(fault).toMatch(/too large/);
    expect(seen.bytes).toBeLessThan(2_050 * small.byteLength);
  });

  it("a bundle is read for at most 200 MB", async () => {
    const head = entry({ name: "x", data: new Uint8Array(), method: 0, sizes: [900_000_000, 900_000_000] });
    const piece = new Uint8Array(1_000_000);
    let came = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(came++ === 0 ? head : piece),
    });

    await expect(new Response(openMember(body, "a")).arrayBuffer()).rejects.toThrow(/too large/);
    expect(came).toBeLessThan(205);
  });
});
