/** Copies of artifacts, from the webhook to the link that opens them when Skyvern has them no more. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TINY_PNG, TINY_WEBM, type StandInArtifact } from "../../src/stand-ins/skyvern.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { aFolder, anApp, PUBLIC_URL, type TestApp } from "../support/app.ts";
import { fixtureBundle, fixtureBytes, fixtureJson, mutated } from "../support/fixtures.ts";
import { aRuntime, whileLoopsRun, type TestRuntime } from "../support/runtime.ts";
import { ACCESS_KEY_ID, SECRET_ACCESS_KEY, startS3 } from "./s3-stand-in.ts";

const RUN = "workflow_run.completed";
const FILE = "a_565256456338616842";
const PDF = Buffer.from("%PDF-1.7 an invoice");
const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

interface Shown extends JsonObject {
  recording_url: string;
  screenshot_urls: string[];
  files: { name: string; url: string }[];
}

interface Rig {
  relay: TestApp;
  runtime: TestRuntime;
  dir: string;
  shown: Shown;
  runId: string;
}

/** The fixture's own files, with the checksum that its webhook names. */
const webhook = (checksum: string | null = sha256Of(PDF)): string => {
  const [first] = fixtureJson(RUN)["downloaded_files"] as JsonObject[];
  return mutated(RUN, { downloaded_files: [{ ...first, checksum }], downloaded_file_urls: null });
};

async function aRig(
  yaml: string,
  options: { dir?: string; body?: string; artifacts?: StandInArtifact[] } = {},
): Promise<Rig> {
  const { dir = aFolder(), body = webhook() } = options;
  const { artifacts = [{ artifact_id: FILE, artifact_type: "download", bytes: PDF }] } = options;
  const runtime = aRuntime();
  const skyvern = { now: () => runtime.now() };
  const file = `artifacts: { dir: ${JSON.stringify(dir)}, ${yaml} }`;
  const relay = await anApp({}, { file, runtime, skyvern });
  relay.standIns.skyvern.addRun({ payload: JSON.parse(body) as JsonObject, artifacts });
  const { run_id: runId } = (await relay.webhook(body)).json<{ run_id: string }>();
  return { relay, runtime, dir, runId, shown: await relay.read<Shown>(`/v1/runs/${runId}`) };
}

async function archive({ relay, runtime }: Rig): Promise<number> {
  runtime.advance(10_000);
  return relay.app.archive();
}

const open = async ({ relay }: Rig, link: string, headers: Record<string, string> = {}) => {
  const answer = await relay.app.fetch(new Request(link.replace(PUBLIC_URL, "http://relay.test"), { headers }));
  return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
};
/** Of what was copied, without the folder's two-letter names. */
const filesIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
const logged = ({ relay }: Rig, event: string): JsonObject[] =>
  relay
    .log()
    .split("\n")
    .filter((line) => line.includes(`"${event}"`))
    .map((line) => JSON.parse(line) as JsonObject);

describe("artifacts that Skyvern no longer has", () => {
  it("an artifact that Skyvern no longer has is served from its copy, at day 60 as well", async () => {
    const rig = await aRig("archive: all");
    expect(await archive(rig)).toBe(1);
    rig.relay.standIns.skyvern.runs.clear();
    rig.runtime.advance(60 * 86_400_000);

    const picture = await open(rig, rig.shown.screenshot_urls[0] ?? "");
    expect([picture.status, picture.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect(picture.bytes).toEqual(Buffer.from(TINY_PNG));
    const film = await open(rig, rig.shown.recording_url);
    expect([film.status, film.headers.get("content-type"), film.bytes.length]).toEqual([
      200,
      "video/webm",
      TINY_WEBM.length,
    ]);
    const file = await open(rig, rig.shown.files[0]?.url ?? "");
    expect(file.bytes).toEqual(PDF);
    expect(file.headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''INV-2026-0801.pdf");
    expect(file.headers.get("content-security-policy")).toContain("sandbox");
  });

  it("a member of a bundle, copied by itself, is served from its copy when Skyvern no longer has it", async () => {
    const har = { artifact_id: "a_har", artifact_type: "har", bytes: fixtureBundle(), row: { bundle_key: "har.har" } };
    const rig = await aRig("archive: all", { artifacts: [har] });
    await archive(rig);
    rig.relay.standIns.skyvern.runs.clear();
    const { artifacts } = await rig.relay.read<{ artifacts: { type: string; url: string }[] }>(`/v1/runs/${rig.runId}`);

    const { status, bytes } = await open(rig, artifacts.find(({ type }) => type === "har")?.url ?? "");

    expect(status).toBe(200);
    expect(JSON.parse(bytes.toString())).toHaveProperty("log.version");
  });

  it("an artifact that Skyvern no longer has is served in ranges, so that a reader can seek in a recording", async () => {
    const rig = await aRig("archive: all");
    await archive(rig);
    rig.relay.standIns.skyvern.runs.clear();
    const part = await open(rig, rig.shown.recording_url, { range: "bytes=4-7" });
    expect([part.status, part.headers.get("content-range"), part.bytes.length]).toEqual([
      206,
      `bytes 4-7/${TINY_WEBM.length}`,
      4,
    ]);
    expect((await open(rig, rig.shown.recording_url, { range: "bytes=9000-" })).status).toBe(416);
  });

  it("an artifact that Skyvern no longer has is found out to be gone even where a URL can still be signed for it", async () => {
    const rig = await aRig("archive: all", {
      artifacts: [{ artifact_id: FILE, artifact_type: "download", bytes: PDF }],
    });
    await archive(rig);
    const link = rig.shown.files[0]?.url ?? "";
    expect(await open(rig, link)).toMatchObject({ status: 200, bytes: PDF });
    rig.relay.standIns.skyvern.addRun({
      payload: JSON.parse(webhook()) as JsonObject,
      artifacts: [{ artifact_id: FILE, artifact_type: "download", archived: true }],
    });
    expect(await open(rig, link)).toMatchObject({ status: 200, bytes: PDF });
  });

  it("an artifact that Skyvern no longer has is a placeholder when it was not copied", async () => {
    const rig = await aRig("archive: screenshots");
    await archive(rig);
    rig.relay.standIns.skyvern.runs.clear();
    expect((await open(rig, rig.shown.recording_url)).status).toBe(404);
    expect((await open(rig, rig.shown.screenshot_urls[0] ?? "")).headers.get("content-type")).toBe("image/png");
  });

  it("an artifact that Skyvern no longer has is a placeholder when its copy was removed, and the log names it", async () => {
    const rig = await aRig("archive: all");
    await archive(rig);
    rig.relay.standIns.skyvern.runs.clear();
    const sha256 = sha256Of(TINY_PNG);
    writeFileSync(join(rig.dir, sha256.slice(0, 2), sha256), "");
    const picture = await open(rig, rig.shown.screenshot_urls[0] ?? "");
    expect([picture.status, picture.headers.get("content-type")]).toEqual([200, "image/svg+xml"]);
    expect(logged(rig, "archive.copy_missing")).toMatchObject([{ sha256 }]);
  });

  it("an artifact that Skyvern no longer has is not opened by the link of another run", async () => {
    const rig = await aRig("archive: all");
    await archive(rig);
    rig.relay.standIns.skyvern.runs.clear();
    const other = await rig.relay.webhook(fixtureBytes("workflow_run.failed"));
    const { run_id: otherId } = other.json<{ run_id: string }>();
    expect((await rig.relay.get(`/artifacts/${otherId}/${FILE}`)).status).toBe(404);
  });

  it("an artifact that Skyvern no longer has is a placeholder without an archive, and no folder is made", async () => {
    const rig = await aRig("archive: off");
    expect(await archive(rig)).toBe(0);
    expect(readdirSync(rig.dir)).toEqual([]);
    rig.relay.standIns.skyvern.runs.clear();
    expect((await open(rig, rig.shown.screenshot_urls[0] ?? "")).headers.get("content-type")).toBe("image/svg+xml");
  });
});

describe("the archive", () => {
  it("the archive copies all that a run has, or only its screenshots, and equal bytes once", async () => {
    const all = await aRig("archive: all");
    await archive(all);
    // Three screenshots of the same pixels are one file.
    expect(filesIn(all.dir).toSorted()).toEqual([sha256Of(TINY_PNG), sha256Of(TINY_WEBM), sha256Of(PDF)].toSorted());
    const screenshots = await aRig("archive: screenshots");
    await archive(screenshots);
    expect(filesIn(screenshots.dir)).toEqual([sha256Of(TINY_PNG)]);
  });

  it("the archive copies no recording without bytes, and does not ask Skyvern for it", async () => {
    const film = { artifact_id: "a_565255520035746310", artifact_type: "recording", bytes: new Uint8Array() };
    const rig = await aRig("archive: all", { artifacts: [film] });
    await archive(rig);
    expect(rig.relay.standIns.skyvern.calls.filter(({ path }) => path.includes(film.artifact_id))).toEqual([]);
    expect(logged(rig, "artifact.not_archived")).toEqual([]);
  });

  it("the archive copies an artifact once, and the next time only what is new", async () => {
    const rig = await aRig("archive: all");
    await archive(rig);
    const calls = rig.relay.standIns.skyvern.calls.length;
    expect(await archive(rig)).toBe(0);
    expect(rig.relay.standIns.skyvern.calls.length).toBe(calls);
  });

  it("the archive copies nothing of a task v2 until its recording is final", async () => {
    const body = fixtureBytes("task_v2.completed").toString();
    const rig = await aRig("archive: all", { body, artifacts: [] });
    expect(await archive(rig)).toBe(0);
    rig.runtime.advance(120_000);
    expect(await archive(rig)).toBe(1);
  });

  it("the archive copies nothing over the limit for one file or for all of a run, and logs what it left", async () => {
    const large = { artifact_id: FILE, artifact_type: "download", bytes: Buffer.alloc(1_500, 1) };
    const rig = await aRig("archive: all, max_file: 1kB", { body: webhook(null), artifacts: [large] });
    await archive(rig);
    expect(filesIn(rig.dir)).not.toContain(sha256Of(large.bytes));
    expect(logged(rig, "artifact.not_archived")).toMatchObject([
      { artifact: FILE, reason: expect.stringContaining("max_file") },
    ]);

    const half = { artifact_id: FILE, artifact_type: "download", bytes: Buffer.alloc(600_000, 1) };
    const film = { artifact_id: "a_565255520035746310", artifact_type: "recording", bytes: Buffer.alloc(600_000, 2) };
    const full = await aRig("archive: all, max_total: 1MB", { body: webhook(null), artifacts: [half, film] });
    await archive(full);
    expect(await full.relay.app.store.copiedBytes()).toBeLessThanOrEqual(1_000_000);
    expect(logged(full, "artifact.not_archived")).toMatchObject([{ reason: expect.stringContaining("max_total") }]);
  });

  it("the archive stores no bytes without Skyvern's checksum, and tries again", async () => {
    const rig = await aRig("archive: all", { body: webhook(sha256Of(Buffer.from("something else"))) });
    await archive(rig);
    expect(filesIn(rig.dir)).not.toContain(sha256Of(PDF));
    expect(logged(rig, "artifact.archiving_failed")).toMatchObject([
      { artifact: FILE, reason: expect.stringContaining("checksum") },
    ]);
    expect(logged(rig, "run.archived")).toMatchObject([{ retry: 1, again: true }]);
  });
});

describe("failures", () => {
  it("an artifact that Skyvern fails to give is tried again later, and those copied before are not", async () => {
    const rig = await aRig("archive: all");
    rig.relay.standIns.skyvern.faults.push({ on: new RegExp(FILE), times: 50, status: 500 });
    await archive(rig);
    expect(filesIn(rig.dir)).toHaveLength(2);
    rig.relay.standIns.skyvern.faults.splice(0);
    rig.relay.standIns.skyvern.calls.splice(0);

    expect(await archive(rig)).toBe(0);
    rig.runtime.advance(60_000);
    expect(await archive(rig)).toBe(1);

    expect(filesIn(rig.dir)).toHaveLength(3);
    expect(rig.relay.standIns.skyvern.calls.filter(({ path }) => path.endsWith("/content")).length).toBe(1);
  });

  it("an artifact that Skyvern never gives is not tried again after six rounds", async () => {
    const rig = await aRig("archive: all");
    rig.relay.standIns.skyvern.faults.push({ on: new RegExp(FILE), times: 500, status: 500 });
    let rounds = 0;
    for (let n = 0; n < 10; n++) {
      rounds += await archive(rig);
      rig.runtime.advance(2 * 86_400_000);
    }
    expect(rounds).toBe(6);
    expect(logged(rig, "run.archived").at(-1)).toMatchObject({ again: false });
  });

  it("a process that ends in the middle leaves the run in the archive's queue, and its half-done file is swept away", async () => {
    const database = join(aFolder(), "relay.db");
    const dir = aFolder();
    const runtime = aRuntime();
    const file = `artifacts: { archive: all, dir: ${JSON.stringify(dir)} }\nskyvern: { reconcile: false }`;
    const skyvern = { now: () => runtime.now() };
    const first = await anApp({ DATABASE_URL: `sqlite:${database}` }, { file, runtime, skyvern });
    await first.webhook(webhook());
    await first.stop();
    writeFileSync(join(dir, "incoming-of-a-dead-process"), "half");

    runtime.advance(10_000);
    const second = await anApp(
      { DATABASE_URL: `sqlite:${database}`, HOST: "127.0.0.1", PORT: "0" },
      { file, runtime: whileLoopsRun(runtime), skyvern },
    );
    second.standIns.skyvern.addRun({
      payload: JSON.parse(webhook()) as JsonObject,
      artifacts: [{ artifact_id: FILE, artifact_type: "download", bytes: PDF }],
    });
    await second.start();
    const half = () => existsSync(join(dir, "incoming-of-a-dead-process"));
    await expect.poll(() => [filesIn(dir).length, half()]).toEqual([3, false]);
  });
});

describe("S3-compatible storage", () => {
  it("S3-compatible storage takes the copies and gives them back, and the folder beside it stays empty", async () => {
    const s3 = await startS3();
    const s3Yaml = `{ endpoint: "${s3.url}", bucket: runs, region: eu-central-1, access_key_id: ${ACCESS_KEY_ID}, secret_access_key: "${SECRET_ACCESS_KEY}" }`;
    const rig = await aRig(`archive: all, s3: ${s3Yaml}`);
    await archive(rig);
    expect([...s3.objects.keys()].toSorted()).toEqual(
      [TINY_PNG, TINY_WEBM, PDF]
        .map(sha256Of)
        .map((sha256) => `/runs/skyvern-relay/${sha256.slice(0, 2)}/${sha256}`)
        .toSorted(),
    );
    expect(filesIn(rig.dir)).toEqual([]);

    rig.relay.standIns.skyvern.runs.clear();
    const part = await open(rig, rig.shown.recording_url, { range: "bytes=4-7" });
    expect([part.status, part.bytes.length, part.headers.get("content-type")]).toEqual([206, 4, "video/webm"]);
    expect((await open(rig, rig.shown.files[0]?.url ?? "")).bytes).toEqual(PDF);
    expect(rig.relay.log()).not.toContain(SECRET_ACCESS_KEY);
  });

  it("a copy is tried again when the S3-compatible storage is away", async () => {
    const s3 = await startS3();
    const s3Yaml = `{ endpoint: "${s3.url}", bucket: runs, region: eu-central-1, access_key_id: ${ACCESS_KEY_ID}, secret_access_key: "${SECRET_ACCESS_KEY}" }`;
    const rig = await aRig(`archive: screenshots, s3: ${s3Yaml}`);
    s3.faults.push(...Array.from({ length: 6 }, () => 503));
    await archive(rig);
    expect(s3.objects.size).toBe(0);
    rig.runtime.advance(60_000);
    await archive(rig);
    expect(s3.objects.size).toBe(1);
  });
});
