/** Retention of the real relay: what is removed, what stays, and what the outside sees of it. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { prune, type RetentionDeps } from "../../src/app/retention.ts";
import { ACCESS_KEY_ID, SECRET_ACCESS_KEY, startS3 } from "../archive/s3-stand-in.ts";
import { aFolder, anApp, PUBLIC_URL, type TestApp } from "../support/app.ts";
import { fixtureBytes, fixtureJson, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW, type TestRuntime } from "../support/runtime.ts";

const DAY = 86_400_000;
const RUN = "workflow_run.completed";
const ID = String(fixtureJson(RUN)["run_id"]);

interface Rig {
  relay: TestApp;
  runtime: TestRuntime;
  dir: string;
}

async function aRig(retention: string, archive = "archive: all"): Promise<Rig> {
  const [runtime, dir] = [aRuntime(), aFolder()];
  const file = `retention: ${retention}\nartifacts: { dir: ${JSON.stringify(dir)}, ${archive} }`;
  const relay = await anApp({}, { file, runtime, standIns: ["http"], skyvern: { now: () => runtime.now() } });
  relay.standIns.skyvern.addRun({ payload: fixtureJson(RUN) });
  return { relay, runtime, dir };
}

/** The run told and archived, and the links of its message. */
async function told({ relay, runtime }: Rig): Promise<JsonObject & { screenshot_urls: string[] }> {
  await relay.webhook(fixtureBytes(RUN));
  await relay.deliver();
  runtime.advance(10_000);
  await relay.app.archive();
  return relay.read(`/v1/runs/${ID}`);
}

const filesIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);

const NOTHING = { runs: 0, raw: 0, unrecognized: 0, tests: 0, listed_runs: 0 };

it("a relay keeps runs for a year and their bytes for 90 days, unless the configuration says otherwise", async () => {
  const rig = await aRig("{}");
  await told(rig);
  rig.runtime.advance(89 * DAY);
  expect(await rig.relay.app.prune()).toEqual(NOTHING);
  rig.runtime.advance(2 * DAY);
  expect(await rig.relay.app.prune()).toMatchObject({ runs: 0, raw: 1 });
  rig.runtime.advance(275 * DAY);
  expect(await rig.relay.app.prune()).toMatchObject({ runs: 1 });
});

describe("retention set to false", () => {
  it("retention set to false removes nothing", async () => {
    const rig = await aRig("{ runs: false, raw: false }");
    await told(rig);
    rig.runtime.advance(3_000 * DAY);
    expect(await rig.relay.app.prune()).toEqual(NOTHING);
    expect((await rig.relay.get(`/v1/runs/${ID}`)).status).toBe(200);
  });
});

describe("runs: 90d, raw: 30d", () => {
  it("retention removes the bytes of a receipt after 30 days, and the receipt stays and says that they are gone", async () => {
    const rig = await aRig("{ runs: 90d, raw: 30d }");
    await told(rig);
    const { receipts } = await rig.relay.read<{ receipts: { id: string }[] }>(`/v1/runs/${ID}`);
    const raw = `/v1/runs/${ID}/receipts/${receipts[0]?.id}/raw`;
    rig.runtime.advance(29 * DAY);
    expect(await rig.relay.app.prune()).toEqual(NOTHING);
    expect((await rig.relay.get(raw)).status).toBe(200);

    rig.runtime.advance(2 * DAY);
    expect(await rig.relay.app.prune()).toEqual({ ...NOTHING, raw: 1 });
    expect((await rig.relay.get(raw)).status).toBe(404);
    expect((await rig.relay.read<{ receipts: unknown[] }>(`/v1/runs/${ID}`)).receipts).toHaveLength(1);
  });

  it("retention removes a run and its copies after 90 days; its links show a placeholder, and statistics still count it", async () => {
    const rig = await aRig("{ runs: 90d, raw: 30d }");
    const { relay, runtime, dir } = rig;
    const shown = await told(rig);
    expect(filesIn(dir).length).toBeGreaterThan(1);
    runtime.advance(89 * DAY);
    expect((await relay.app.prune()).runs).toBe(0);
    expect(filesIn(dir).length).toBeGreaterThan(1);

    runtime.advance(2 * DAY);
    expect(await relay.app.prune()).toMatchObject({ runs: 1 });
    await relay.app.archive();
    expect(filesIn(dir)).toEqual([]);
    expect((await relay.get(`/v1/runs/${ID}`)).status).toBe(404);
    const link = (shown.screenshot_urls[0] ?? "").replace(PUBLIC_URL, "");
    const picture = await relay.get(link, { accept: "image/avif,image/webp,*/*" });
    expect([picture.status, picture.headers.get("content-type")]).toEqual([200, "image/svg+xml"]);
    const since = new Date(NOW - DAY).toISOString();
    const stats = await relay.read<JsonObject>(`/v1/stats?bucket=day&since=${since}`);
    expect(JSON.stringify(stats)).toContain('"completed":1');
    expect(relay.log()).toContain('"retention.pruned"');
  });

  it("retention leaves a run that is held, and one with a pending delivery", async () => {
    const rig = await aRig(`{ runs: 90d, raw: 30d, hold: [${ID}] }`);
    const { relay, runtime, dir } = rig;
    await told(rig);
    await relay.webhook(mutated("task_v1.completed", { run_id: "tsk_waits", task_id: "tsk_waits" }));
    runtime.advance(200 * DAY);
    expect(await relay.app.prune()).toEqual({ ...NOTHING, raw: 1 });
    await relay.app.archive();
    expect(filesIn(dir).length).toBeGreaterThan(1);
    for (const id of [ID, "tsk_waits"]) expect((await relay.get(`/v1/runs/${id}`)).status).toBe(200);
  });

  it("retention removes copies in S3-compatible storage, and tries again when the storage is away", async () => {
    const s3 = await startS3();
    const place = `{ endpoint: "${s3.url}", bucket: runs, region: eu-central-1, access_key_id: ${ACCESS_KEY_ID}, secret_access_key: "${SECRET_ACCESS_KEY}" }`;
    const rig = await aRig("{ runs: 90d }", `archive: screenshots, s3: ${place}`);
    await told(rig);
    expect(s3.objects.size).toBe(1);
    rig.runtime.advance(91 * DAY);
    await rig.relay.app.prune();
    s3.faults.push(503);
    await rig.relay.app.archive();
    expect(s3.objects.size).toBe(1);
    expect(rig.relay.log()).toContain('"archive.removal_failed"');
    rig.runtime.advance(599_000);
    await rig.relay.app.archive();
    expect(s3.objects.size).toBe(1);
    rig.runtime.advance(1_000);
    await rig.relay.app.archive();
    expect(s3.objects.size).toBe(0);
  });
});

describe("pruning", () => {
  /** A store in which each step takes so long, and there are so many. */
  const aSlowStore = (runtime: TestRuntime, steps: number, tookMs: number): RetentionDeps["store"] => {
    let left = steps;
    const nothing = async () => ({ removed: 0, next: null });
    return {
      pruneRuns: async () => {
        runtime.advance(tookMs);
        left -= 1;
        return { removed: 1, next: left > 0 ? "on" : null };
      },
      pruneBodies: nothing,
      pruneUnrecognized: nothing,
      pruneTests: nothing,
      pruneListedRuns: nothing,
      shrink: async () => 0,
      emptyLog: async () => true,
    };
  };
  const settings = { runsMs: DAY, rawMs: null, hold: [] };

  it("pruning rests four times as long as each step took, so that receiving comes first", async () => {
    const runtime = aRuntime();
    const store = aSlowStore(runtime, 10, 50);
    expect(await prune({ ...runtime, store, settings })).toMatchObject({ runs: 10 });
    // The last step has nothing to rest for.
    expect(runtime.now() - NOW).toBe(10 * 50 + 9 * 200);
  });

  it("pruning ends soon after the relay stops, and goes on the next time", async () => {
    const runtime = aRuntime();
    const stopping = new AbortController();
    const store = aSlowStore(runtime, 100, 1);
    const sleep = async () => {
      stopping.abort();
    };
    expect(await prune({ ...runtime, sleep, store, settings }, { signal: stopping.signal })).toMatchObject({ runs: 1 });
    expect(await prune({ ...runtime, store, settings })).toMatchObject({ runs: 99 });
  });
});
