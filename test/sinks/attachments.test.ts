import { describe, expect, it } from "vitest";
import { readFiles, captionOf, readScreenshot, safeName } from "../../src/sinks/attachments.ts";
import { noAbort } from "./a-report.ts";
import { draw } from "../support/a-png.ts";
import { anEvidence, bytesOf } from "./an-attachment.ts";

describe("the name a file is sent under", () => {
  it.each([
    ["invoice.pdf", "invoice.pdf"],
    ["Rechnung März €.pdf", "Rechnung März €.pdf"],
    ["../../etc/passwd", "etc_passwd"],
    ["C:\\Windows\\evil.exe", "C_Windows_evil.exe"],
    [".bashrc", "bashrc"],
    ["a\r\nBcc: x@example.com", "a_Bcc_ x@example.com"],
    ["invoice\u202Efdp.exe", "invoice_fdp.exe"],
    ["zero\u200Bwidth.txt", "zero_width.txt"],
    ["$(rm -rf).sh", "(rm -rf).sh"],
    ["   ", "file"],
    ["...", "file"],
    ["", "file"],
    ["x".repeat(300) + ".pdf", "x".repeat(96) + ".pdf"],
    ["half \uD800 of a pair.txt", "half \uFFFD of a pair.txt"],
  ])("the name %j is safe for an attached file as %j", (name, safe) => {
    expect(safeName(name)).toBe(safe);
  });
});

describe("files to send along", () => {
  it("a run's files are attached that fit one by one and together, in the run's order", async () => {
    const evidence = anEvidence({
      files: { "a.pdf": 40, "large.zip": 120, "b.pdf": 50, "c.pdf": 30 },
      limits: { each: 100, total: 100 },
    });
    const { files, omitted } = await readFiles(evidence, 100, noAbort());
    expect(files.map(({ name, bytes }) => [name, bytes.byteLength])).toEqual([
      ["a.pdf", 40],
      ["b.pdf", 50],
    ]);
    expect(omitted).toBe(2);
    // What is known to be too large is not even asked for.
    expect(evidence.asked).toEqual(["a.pdf", "b.pdf"]);
  });

  it("attached files of one name get different names that no program runs", async () => {
    const evidence = anEvidence({ files: { "a/x.pdf": 1, "a\\x.pdf": 1, "page.html": 1, "run.exe": 1 } });
    const { files } = await readFiles(evidence, 100, noAbort());
    expect(files.map(({ name, type }) => [name, type])).toEqual([
      ["a_x.pdf", "application/pdf"],
      ["a_x (2).pdf", "application/pdf"],
      ["page.html", "application/octet-stream"],
      ["run.exe", "application/octet-stream"],
    ]);
  });

  it("a file that cannot be had, or is empty, is left out of the attached ones", async () => {
    const evidence = anEvidence({ files: { "gone.pdf": null, "empty.txt": 0, "a.pdf": 3 } });
    expect(await readFiles(evidence, 100, noAbort())).toMatchObject({ files: [{ name: "a.pdf" }], omitted: 2 });
  });
});

describe("a screenshot to show", () => {
  it("a screenshot in a message is named by its place", async () => {
    const evidence = anEvidence({ screenshots: ["a_1", "a_2"] });
    const shown = async (place: number) => (await readScreenshot(evidence, place, noAbort())).picture;
    expect(await shown(1)).toMatchObject({ key: "a_1", name: "screenshot.png" });
    expect(await shown(2)).toMatchObject({ key: "a_2", name: "screenshot-2.png" });
    expect(await readScreenshot(evidence, 3, noAbort())).toEqual({ picture: null, why: null });
  });

  it("a screenshot in a message says in one short line what is known of where it comes from", async () => {
    const at = Date.parse("2026-11-28T15:33:48.830Z");
    const origins = {
      a_1: { block: "a\n b", at },
      a_2: { block: null, at },
      a_3: { block: "x".repeat(9_000), at: null },
    };
    const words = ["a_1", "a_2", "a_3", "a_4"].map((key) => captionOf(anEvidence({ origins }), key));
    expect(words).toEqual(["a b, 15:33:48 UTC", "15:33:48 UTC", "x".repeat(100), ""]);
  });

  it.each([
    ["no picture at all", { kind: "bytes", type: null, bytes: bytesOf(9) }, "it is neither PNG, JPEG nor GIF"],
    ["a blank page", { kind: "bytes", type: "image/png", bytes: draw({}) }, "it is blank"],
    ["a WebP", { kind: "bytes", type: "image/webp", bytes: bytesOf(9) }, "it is neither PNG, JPEG nor GIF"],
    ["too large", { kind: "too_large" }, "it is too large for a message"],
    ["not to be had", { kind: "unavailable" }, "the relay could not get it from Skyvern"],
  ] as const)("a screenshot that is %s is not shown, and the reader is told why", async (_what, found, why) => {
    const evidence = anEvidence({ screenshots: ["a_1"], found: { a_1: found } });
    expect(await readScreenshot(evidence, 1, noAbort())).toEqual({
      picture: null,
      why: `The screenshot is not shown: ${why}.`,
    });
  });
});
