import { aRun as aTask } from "../support/a-run.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { viaFetch } from "../../src/net/http-client.ts";
import { type StandInSkyvernOptions } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { silentLog, type Log } from "../../src/platform/log.ts";
import type { Artifact, ArtifactsStatus, Run } from "../../src/domain/run.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createSkyvernClient } from "../../src/skyvern/client.ts";
import type { SkyvernKey } from "../../src/skyvern/api-call.ts";
import { createRedact } from "../../src/skyvern/redact.ts";
import { createEnricher, type EnricherOptions } from "../../src/skyvern/artifacts/artifact-list.ts";
import { USEFUL_TYPES } from "../../src/skyvern/artifacts/relevant-artifacts.ts";

const KEY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzEifQ.test-key";
const CREATED = "2026-08-21T06:00:06.102114";
const CREATED_MS = Date.parse("2026-08-21T06:00:06.102Z");

let skyvern: StandInSkyvern;
let clock: number;
let waits: number[];
let saved: Map<string, { artifacts: Artifact[]; status: ArtifactsStatus }>;

beforeEach(() => start());
afterEach(() => skyvern.close());

/** Without those for timelines. */
const listCalls = () => skyvern.calls.filter(({ path }) => !path.endsWith("/timeline"));

async function start(options: Partial<StandInSkyvernOptions> = {}) {
  clock = Date.parse("2026-08-21T12:00:00Z");
  waits = [];
  saved = new Map();
  skyvern = await startSkyvern({ keys: [KEY], now: () => clock, ...options });
}

async function restart(options: Partial<StandInSkyvernOptions>) {
  await skyvern.close();
  await start(options);
}

const aRun = (run: Partial<Run> = {}): Run =>
  aTask({ run_id: "wr_1", run_type: "workflow_run", kind: "workflow", received_at: 0, ...run });

const aFile = (artifact_id: string | null) => ({
  key: artifact_id ?? "file-1",
  name: "report.pdf",
  size: null,
  checksum: null,
  artifact_id,
});

const sleep = (ms: number) => {
  waits.push(ms);
  clock += ms;
  return Promise.resolve();
};

/** An enricher whose waits pass on the test's clock. */
function anEnricher(options: Partial<EnricherOptions> & { keys?: SkyvernKey[] } = {}) {
  const { keys = [{ name: "acme", key: new Secret(KEY), organization: null }], ...rest } = options;
  return createEnricher({
    client: createSkyvernClient({
      baseUrl: skyvern.url,
      keys,
      fetch,
      request: viaFetch(fetch),
      sleep,
      now: () => clock,
      random: () => 0,
    }),
    load: (runId) => Promise.resolve(saved.get(runId) ?? null),
    redact: createRedact(),
    save: (runId, known) => {
      saved.set(runId, known);
      return Promise.resolve();
    },
    now: () => clock,
    sleep,
    log: silentLog,
    ...rest,
  });
}

function aWorkflow(artifacts: [id: string, type: string][], runId = "wr_1", more = {}) {
  skyvern.addRun({
    payload: { run_id: runId, run_type: "workflow_run", status: "completed", ...more },
    artifacts: artifacts.map(([artifact_id, artifact_type]) => ({ artifact_id, artifact_type, created_at: CREATED })),
  });
}

const broken = () => Promise.reject(new Error("disk full"));

const paths = () => listCalls().map(({ path }) => path);

describe("the artifacts of a run", () => {
  test("the artifacts of a run are those of the useful types, with their times, and their status is complete", async () => {
    aWorkflow([
      ["a_1", "recording"],
      ["a_2", "llm_prompt"],
      ["a_3", "download"],
    ]);
    expect(await anEnricher().enrich(aRun())).toEqual({
      artifacts: [
        { artifact_id: "a_1", type: "recording", created_at: CREATED_MS },
        { artifact_id: "a_3", type: "download", created_at: CREATED_MS },
      ],
      status: "complete",
      reason: null,
      timeline: { blocks: [], omitted: 0 },
    });
    expect(listCalls()[0]?.query.getAll("artifact_type")).toEqual(USEFUL_TYPES);
  });

  test("a member of a bundle is listed with its name in it, and a recording without bytes as empty", async () => {
    skyvern.addRun({
      payload: { run_id: "wr_1", run_type: "workflow_run", status: "canceled" },
      artifacts: [
        { artifact_id: "a_1", artifact_type: "recording", bytes: new Uint8Array() },
        { artifact_id: "a_2", artifact_type: "har", row: { bundle_key: "har.har" } },
        { artifact_id: "a_3", artifact_type: "download", bytes: new Uint8Array() },
      ],
    });
    const { artifacts } = await anEnricher().enrich(aRun({ recording: "a_1" }));
    expect(artifacts).toEqual([
      { artifact_id: "a_1", type: "recording", created_at: expect.any(Number), empty: true },
      { artifact_id: "a_2", type: "har", created_at: expect.any(Number), bundle: "har.har" },
      { artifact_id: "a_3", type: "download", created_at: expect.any(Number) },
    ]);
  });

  test("the artifacts of a v2 task are asked for under its workflow run, whose id its payload gave", async () => {
    skyvern.addRun({
      payload: { run_id: "tsk_v2_1", run_type: "task_v2", status: "completed", workflow_run_id: "wr_2" },
      artifacts: [{ artifact_id: "a_1", artifact_type: "recording" }],
    });
    const workflow = { run_id: "wr_2", permanent_id: null, id: null, title: null };
    const run = aRun({ run_id: "tsk_v2_1", run_type: "task_v2", kind: "task", workflow });
    expect((await anEnricher().enrich(run)).artifacts).toMatchObject([{ artifact_id: "a_1" }]);
    expect(paths()).toEqual(["/v1/runs/wr_2/artifacts"]);
  });

  test.each([
    ["its page's address", "https://app.skyvern.com/runs/wr_2?tab=x", "wr_2"],
    ["no address, its own id", null, "tsk_v2_1"],
    ["another page, its own id", "https://app.skyvern.com/tasks/tsk_v2_1", "tsk_v2_1"],
  ])(
    "the artifacts of a v2 task known by a replay are asked for by what is left in it: %s",
    async (_what, app_url, id) => {
      await anEnricher().enrich(aRun({ run_id: "tsk_v2_1", run_type: "task_v2", kind: "task", app_url }));
      expect(paths()).toEqual([`/v1/runs/${id}/artifacts`]);
    },
  );

  test("the artifacts of a v1 task are asked for under its own id, also when it ran in a workflow", async () => {
    const workflow = { run_id: "wr_2", permanent_id: null, id: null, title: null };
    await anEnricher().enrich(aRun({ run_id: "tsk_1", run_type: "task_v1", kind: "task", workflow }));
    expect(paths()).toEqual(["/v1/runs/tsk_1/artifacts"]);
  });

  test("the downloads of a task, which Skyvern does not list, come from its files", async () => {
    skyvern.addRun({
      payload: { run_id: "tsk_1", run_type: "task_v1", status: "completed" },
      artifacts: [
        { artifact_id: "a_1", artifact_type: "screenshot_final" },
        { artifact_id: "a_2", artifact_type: "download" },
      ],
    });
    const run = aRun({ run_id: "tsk_1", run_type: "task_v1", files: [aFile("a_2"), aFile(null)] });
    const { artifacts, status } = await anEnricher().enrich(run);
    expect(artifacts.map(({ artifact_id, type, created_at }) => [artifact_id, type, created_at === null])).toEqual([
      ["a_1", "screenshot_final", false],
      ["a_2", "download", true],
    ]);
    expect(status).toBe("complete");
  });

  test("an artifact that only the payload named is added, each id once, and Skyvern's own row wins", async () => {
    aWorkflow([["a_2", "screenshot_final"]]);
    const run = aRun({ recording: "a_1", screenshots: ["a_2", "a_3", "screenshot-3"], files: [aFile("a_1")] });
    const { artifacts } = await anEnricher().enrich(run);
    expect(artifacts.map(({ artifact_id, type }) => [artifact_id, type])).toEqual([
      ["a_2", "screenshot_final"],
      ["a_1", "recording"],
      ["a_3", "screenshot_action"],
    ]);
  });

  test("a Skyvern that does not know one of the types is asked for all, and the relevant ones are selected", async () => {
    await restart({ artifactTypes: ["recording", "llm_prompt"] });
    aWorkflow([
      ["a_1", "recording"],
      ["a_2", "llm_prompt"],
    ]);
    const { artifacts, status } = await anEnricher().enrich(aRun());
    expect([artifacts.map(({ artifact_id }) => artifact_id), status]).toEqual([["a_1"], "complete"]);
  });

  test("the artifacts of a run are asked for with the key of its organization", async () => {
    const other = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvXzIifQ.other";
    const keys = [
      { name: "first", key: new Secret(KEY), organization: "o_1" },
      { name: "other", key: new Secret(other), organization: "o_2" },
    ];
    await anEnricher({ keys }).enrich(aRun({ organization_id: "o_2" }));
    expect(listCalls()[0]?.headers["x-api-key"]).toBe(other);
  });
});

describe("when Skyvern does not answer", () => {
  test("a Skyvern that does not answer is asked again after 0.5 s, 1 s, 2 s … until it does", async () => {
    aWorkflow([["a_1", "recording"]]);
    skyvern.faults.push({ status: 500, times: 2 }, { instead: "reset" });
    expect((await anEnricher().enrich(aRun())).status).toBe("complete");
    expect(waits).toEqual([500, 1000, 2000]);
  });

  test("a Retry-After of Skyvern is waited for", async () => {
    skyvern.faults.push({ status: 429, headers: { "retry-after": "7" } });
    await anEnricher().enrich(aRun());
    expect(waits).toEqual([7000]);
  });

  test("a Skyvern that does not answer is not waited for beyond the budget, and the list says that it is unavailable, and why", async () => {
    skyvern.faults.push({ status: 500, times: 99 });
    expect(await anEnricher({ budgetMs: 10_000 }).enrich(aRun())).toEqual({
      artifacts: [],
      status: "unavailable",
      reason: "Skyvern answered the artifact list with 500: Unexpected error: OperationalError",
    });
    expect(waits).toEqual([500, 1000, 2000]);
    expect(listCalls()).toHaveLength(4);
  });

  test("runs that Skyvern refuses take nothing from the others", async () => {
    aWorkflow([["a_1", "recording"]]);
    skyvern.faults.push({ status: 403, times: 2 });
    const enricher = anEnricher();
    for (const id of ["..", "wr_1", "wr_2", ".."]) await enricher.enrich(aRun({ run_id: id }));
    expect((await enricher.enrich(aRun())).status).toBe("complete");
  });

  test("the third run in a row does not wait for Skyvern, and one in half a minute asks whether the outage is over", async () => {
    skyvern.faults.push({ status: 500, times: 8 });
    const enricher = anEnricher();
    for (const id of ["wr_1", "wr_2"]) await enricher.enrich(aRun({ run_id: id }));
    waits.length = 0;
    const calls = listCalls().length;
    expect((await enricher.enrich(aRun({ run_id: "wr_3" }))).reason).toBe("Skyvern could not be reached a moment ago");
    expect([waits.length, listCalls().length]).toEqual([0, calls]);
    clock += 31_000;
    expect((await enricher.enrich(aRun({ run_id: "wr_4" }))).status).toBe("complete");
    expect((await enricher.enrich(aRun({ run_id: "wr_5" }))).status).toBe("complete");
  });

  test("a Retry-After beyond the budget ends the retries at once", async () => {
    skyvern.faults.push({ status: 429, headers: { "retry-after": "3600" } });
    expect((await anEnricher().enrich(aRun())).status).toBe("unavailable");
    expect(waits).toEqual([]);
  });

  test.each([
    ["a recording", { recording: "a_1" }, ["a_1"]],
    ["a screenshot by its place", { screenshots: ["screenshot-1"] }, []],
    ["a file without an id", { files: [aFile(null)] }, []],
  ])("the list is partial when Skyvern does not answer and the payload named %s", async (_what, named, ids) => {
    skyvern.faults.push({ status: 403 });
    const { artifacts, status, reason } = await anEnricher().enrich(aRun(named));
    expect([artifacts.map(({ artifact_id }) => artifact_id), status]).toEqual([ids, "partial"]);
    expect(reason).toBe("Skyvern answered the artifact list with 403: Invalid credentials");
  });

  test.each([403, 404, 400])("an answer of %i ends the retries at once", async (status) => {
    skyvern.faults.push({ status, times: 99 });
    expect((await anEnricher().enrich(aRun())).status).toBe("unavailable");
    expect([listCalls().length, waits]).toEqual([1, []]);
  });

  test("a Skyvern that hangs costs no more than the budget", async () => {
    skyvern.faults.push({ instead: "hang", times: 99 });
    const { status, reason } = await anEnricher({ budgetMs: 40, now: Date.now }).enrich(aRun({ recording: "a_1" }));
    expect([status, reason]).toEqual(["partial", "Skyvern did not answer within 40 ms"]);
  });

  test("no reason and no log line of the artifact list holds the key", async () => {
    const lines: unknown[] = [];
    const note = (event: string, fields?: object) => void lines.push(event, fields);
    const log: Log = { debug: note, info: note, warn: note, error: note };
    skyvern.faults.push({ status: 403, body: JSON.stringify({ detail: `no such key: ${KEY}` }) });
    const { reason } = await anEnricher({ log }).enrich(aRun());
    expect(reason).toContain("[secret]");
    expect(JSON.stringify([lines, reason])).not.toContain(KEY);
    expect(lines).toContain("artifacts.listed");
  });
});

describe("saved lists", () => {
  test("a complete list is saved and not asked for again, and artifacts that a later payload names are added to it", async () => {
    aWorkflow([["a_1", "recording"]]);
    const enricher = anEnricher();
    await enricher.enrich(aRun());
    expect(saved.get("wr_1")).toMatchObject({ status: "complete", artifacts: [{ artifact_id: "a_1" }] });
    const { artifacts, status } = await enricher.enrich(aRun({ screenshots: ["a_9"] }));
    expect([artifacts.map(({ artifact_id }) => artifact_id), status]).toEqual([["a_1", "a_9"], "complete"]);
    expect(listCalls()).toHaveLength(1);
  });

  test("the lister saves new artifacts; until then others get the same list without asking again", async () => {
    aWorkflow([["a_1", "recording"]]);
    const enricher = anEnricher();
    const first = await enricher.list(aRun(), "pending");
    expect(first).toMatchObject({ artifacts: [{ artifact_id: "a_1" }], status: "complete", isNew: true });
    expect(await enricher.list(aRun(), "pending")).toEqual(first);
    expect([listCalls().length, saved.size]).toEqual([1, 0]);
    saved.set("wr_1", { artifacts: [], status: "complete" });
    expect(await enricher.list(aRun(), "complete")).toMatchObject({ artifacts: [], isNew: false });
  });

  test("a list that a lister could not get is asked for again", async () => {
    aWorkflow([["a_1", "recording"]]);
    skyvern.faults.push({ status: 403 });
    const enricher = anEnricher();
    expect(await enricher.list(aRun(), "pending")).toMatchObject({ status: "unavailable", isNew: true });
    expect(await enricher.list(aRun(), "unavailable")).toMatchObject({ status: "complete", isNew: true });
  });

  test("a lister that leaves has found nothing", async () => {
    expect(await anEnricher().list(aRun(), "pending", AbortSignal.abort())).toMatchObject({ isNew: false });
    expect(listCalls()).toHaveLength(0);
  });

  test("a partial list is saved, and asked for again by the next call", async () => {
    aWorkflow([["a_1", "recording"]]);
    skyvern.faults.push({ status: 403 });
    const enricher = anEnricher();
    await enricher.enrich(aRun({ recording: "a_1" }));
    expect(saved.get("wr_1")?.status).toBe("partial");
    expect((await enricher.enrich(aRun({ recording: "a_1" }))).status).toBe("complete");
    expect(saved.get("wr_1")?.status).toBe("complete");
  });

  test("a refresh asks for a list though it is known, and a failed one loses nothing", async () => {
    aWorkflow([["a_1", "recording"]]);
    const enricher = anEnricher();
    await enricher.enrich(aRun());
    aWorkflow([
      ["a_1", "recording"],
      ["a_2", "pdf"],
    ]);
    expect((await enricher.refresh(aRun())).artifacts).toHaveLength(2);
    skyvern.faults.push({ status: 403 });
    const { artifacts, status, reason } = await enricher.refresh(aRun());
    expect([artifacts.length, status, reason]).toEqual([2, "complete", expect.stringContaining("403")]);
    expect(saved.get("wr_1")).toMatchObject({ status: "complete", artifacts: [{}, {}] });
  });

  test("trouble with the store does not cost a message its artifacts", async () => {
    aWorkflow([["a_1", "recording"]]);
    const { artifacts, status } = await anEnricher({ load: broken, save: broken }).enrich(aRun());
    expect([artifacts.length, status]).toEqual([1, "complete"]);
  });
});

describe("calls at one time", () => {
  test("calls for one run share one question to Skyvern, and calls for two runs do not", async () => {
    aWorkflow([["a_1", "recording"]]);
    const enricher = anEnricher();
    const answers = await Promise.all([
      enricher.enrich(aRun()),
      enricher.enrich(aRun({ recording: "a_9" })),
      enricher.enrich(aRun({ run_id: "wr_2" })),
    ]);
    expect(answers.map(({ artifacts }) => artifacts.map(({ artifact_id }) => artifact_id))).toEqual([
      ["a_1"],
      ["a_1", "a_9"],
      [],
    ]);
    expect(paths().sort()).toEqual(["/v1/runs/wr_1/artifacts", "/v1/runs/wr_2/artifacts"]);
  });

  test("a call that leaves gets what the payload named at once, and the other stays for the answer", async () => {
    aWorkflow([["a_1", "recording"]]);
    const wait = Promise.withResolvers<void>();
    skyvern.faults.push({ status: 500 });
    const enricher = anEnricher({ sleep: () => wait.promise });
    const leaving = new AbortController();
    const staying = new AbortController();
    const left = enricher.enrich(aRun({ recording: "a_1" }), leaving.signal);
    const stayed = enricher.enrich(aRun(), staying.signal);
    leaving.abort();
    expect(await left).toMatchObject({ status: "partial", reason: "the attempt was aborted", artifacts: [{}] });
    wait.resolve();
    expect((await stayed).status).toBe("complete");
  });

  test("the question to Skyvern is aborted when its last call leaves, nothing is saved, and the next call asks again", async () => {
    aWorkflow([["a_1", "recording"]]);
    skyvern.faults.push({ status: 500 });
    const asleep = Promise.withResolvers<AbortSignal | undefined>();
    const wake = Promise.withResolvers<void>();
    const sleep = (_ms: number, signal?: AbortSignal) => {
      asleep.resolve(signal);
      return wake.promise;
    };
    const saves: ArtifactsStatus[] = [];
    const save: EnricherOptions["save"] = (_runId, { status }) => {
      saves.push(status);
      return Promise.resolve();
    };
    const enricher = anEnricher({ sleep, save });
    const abort = new AbortController();
    const call = enricher.enrich(aRun(), abort.signal);
    const signal = await asleep.promise;
    abort.abort();
    expect((await call).status).toBe("unavailable");
    expect(signal?.aborted).toBe(true);
    expect((await enricher.enrich(aRun())).status).toBe("complete");
    wake.resolve();
    await new Promise(setImmediate);
    expect(listCalls()).toHaveLength(2);
    expect(saves).toEqual(["complete"]);
  });

  test("a signal aborted beforehand asks nothing", async () => {
    expect((await anEnricher().enrich(aRun(), AbortSignal.abort())).status).toBe("unavailable");
    expect(listCalls()).toEqual([]);
  });
});
