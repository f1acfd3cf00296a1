import { describe, expect, test } from "vitest";
import {
  parseArtifactId,
  parseExpiry,
  parseFileName,
  isArtifactId,
  parseWebUrl,
} from "../../src/skyvern/artifacts/artifact-url.ts";

describe("parseArtifactId", () => {
  test.each([
    ["https://api.skyvern.com/v1/artifacts/a_565/content?expiry=1787295854&kid=k&sig=s", "a_565"],
    ["https://api.skyvern.com/v1/artifacts/a_565/content", "a_565"],
    ["http://skyvern:8000/v1/artifacts/a_565/content?[redacted]", "a_565"],
    ["https://proxy.example/skyvern/v1/artifacts/a_565/content/", "a_565"],
    ["file:///data/tsk_1/2026-11-28T15:17:33.295886_a_602136603915749464_recording.mp4", "a_602136603915749464"],
    ["file:///data/o_1/wr_1/wrb_1/2026-08-20T14:05:11.512_a_565_screenshot_action.png", "a_565"],
    ["file:///C:/data/2026-08-20T14%3A05%3A11.512_a_565_screenshot_final.png", "a_565"],
  ])("the artifact's id is read in %s", (url, id) => expect(parseArtifactId(url)).toBe(id));

  test.each([
    ["a storage URL", "https://bucket.s3.amazonaws.com/v1/x_a_565_recording.webm?X-Amz-Signature=s"],
    ["a file on Skyvern's disk", "file:///v1/artifacts/a_565/content"],
    ["a step's ZIP, which is none of its members", "file:///data/2026-11-28T15:33:48.443763_a_565_step_archive.zip"],
    ["a download's name that was chosen by a page", "file:///data/downloads/wr_1/a_565_recording.mp4"],
    ["a name that begins with a time and goes on", "file:///data/2026-11-28_a_565_x/../2026-11-28_my_a_565_b.png"],
    ["a storage URL with such a name", "https://bucket.s3.amazonaws.com/2026-11-28T15:17:33.2_a_565_recording.mp4"],
    ["another path of the API", "https://api.skyvern.com/v1/artifacts/a_565/signed-url"],
    ["a path that leads elsewhere", "https://api.skyvern.com/v1/artifacts/..%2Fruns/content"],
    ["a place where an id should be", "https://api.skyvern.com/v1/artifacts/screenshot-1/content"],
    ["an id with broken escapes", "https://api.skyvern.com/v1/artifacts/%E0%A4%A/content"],
    ["an address in the query", "https://evil.example/?u=/v1/artifacts/a_565/content"],
    ["no URL", "a_565"],
  ])("no artifact's id is read in %s", (_what, url) => expect(parseArtifactId(url)).toBeNull());
});

describe("parseFileName", () => {
  test.each([
    ["https://host/x/report.pdf?sig=1#p", "report.pdf"],
    ["file:///data/downloads/tsk_1/Kontoauszug%20%C3%9Cbersicht.csv", "Kontoauszug Übersicht.csv"],
    ["https://host/%E0%A4%A.pdf", "%E0%A4%A.pdf"],
    ["https://host/..%2F..%2Fetc%2Fpasswd", ".._.._etc_passwd"],
    ["https://host/a%0D%0Ab%00.txt", "a_b_.txt"],
    ["https://host/invoice%E2%80%AEfdp.exe", "invoice_fdp.exe"],
  ])("the URL %s names the file %s", (url, name) => expect(parseFileName(url)).toBe(name));

  test.each([
    "https://host/",
    "https://host/a/..",
    "https://host/%2E%2E%20",
    "https://host/v1/artifacts/a_1/content",
    "x",
  ])("the URL %s names no file", (url) => expect(parseFileName(url)).toBeNull());

  test("the long name of a file is cut before its extension", () => {
    const name = parseFileName(`https://host/${"é".repeat(300)}.pdf`);
    expect(name).toHaveLength(200);
    expect(name).toMatch(/é\.pdf$/);
  });
});

test("an artifact's key is an id when it has a prefix, and a place otherwise", () => {
  expect(["a_565264800000000012", "a_sample_1", "art_x-9"].filter(isArtifactId)).toHaveLength(3);
  expect(["recording", "screenshot-1", "file-12", "", "a_", "a_/../b", "a_1 "].filter(isArtifactId)).toEqual([]);
});

test("a URL that Skyvern signed says when it dies, and others do not", () => {
  expect(parseExpiry("https://host/v1/artifacts/a_1/content?expiry=1787295854&sig=s")).toBe(1_787_295_854_000);
  expect(parseExpiry("https://host/x?expiry=soon")).toBeNull();
  expect(parseExpiry("file:///x?expiry=1787295854")).toBeNull();
});

test("only http and https are web URLs", () => {
  expect(parseWebUrl("HTTPS://Host/x")?.href).toBe("https://host/x");
  for (const url of ["javascript:alert(1)", "data:text/html,x", "file:///x", "//host/x", ""]) {
    expect(parseWebUrl(url)).toBeNull();
  }
});
