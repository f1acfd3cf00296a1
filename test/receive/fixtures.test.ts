/** Every payload Skyvern is known to have sent, through the whole relay and out of its API. */
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import { anApp, PUBLIC_URL, type Answer, type TestApp } from "../support/app.ts";
import { EXPECTED_RUNS } from "../support/expected-runs.ts";
import {
  FIXTURE_ORGANIZATION,
  fixtureBytes,
  fixtureJson,
  fixtureText,
  mutated,
  SIGNATURES,
  signatureOf,
  WEBHOOKS,
} from "../support/fixtures.ts";
import { NOW } from "../support/runtime.ts";

const nameOf = (file: string): string => file.slice("webhook.".length, -".json".length);
const RUNS = WEBHOOKS.map(nameOf).filter((name) => !/^(not-a-run|test-sample)/.test(name));
const isFinal = (name: string): boolean => !["running", "retrying"].includes(EXPECTED_RUNS[name]?.status ?? "");
const expected = (name: string) => {
  const run = EXPECTED_RUNS[name];
  if (run === undefined) throw new Error(`add what ${name} means to test/support/expected-runs.ts`);
  return run;
};

const result = (answer: Answer): [number, unknown] => [
  answer.status,
  answer.json()["result"] ?? answer.json()["error"],
];

interface RunAnswer extends JsonObject {
  deliveries: JsonObject[];
  receipts: JsonObject[];
}
const runOf = (relay: TestApp, id: string): Promise<RunAnswer> => relay.read(`/v1/runs/${id}`);

/** A link of the relay to this artifact: signed, so its query is not looked at here. */
const linkTo = (runId: string, key: string) =>
  expect.stringMatching(
    new RegExp(`^${PUBLIC_URL}/artifacts/${runId}/${key}\\?exp=\\d+&sig=[A-Za-z0-9_-]{43}$`),
  ) as unknown;

describe("the fixtures", () => {
  it.each(WEBHOOKS)("the fixture %s has the signature that its file of signatures says", (file) => {
    expect(signatureOf(fixtureBytes(nameOf(file)))).toBe(SIGNATURES.files[file]?.["x-skyvern-signature"]);
  });

  it("every fixture is in the table of what it means", () => {
    expect(Object.keys(EXPECTED_RUNS).toSorted()).toEqual(RUNS.toSorted());
  });
});

describe.each(RUNS)("the payload %s", (name) => {
  it("a genuine payload is answered 200 with its run and verdict, and its run is what interface and contract say", async () => {
    const relay = await anApp();
    const { run_id: runId, ...run } = expected(name);
    const file = `webhook.${name}.json`;

    const answer = await relay.webhook(fixtureBytes(name), {
      signature: SIGNATURES.files[file]?.["x-skyvern-signature"] ?? null,
    });

    expect([answer.status, answer.json()]).toEqual([
      200,
      { run_id: runId, result: isFinal(name) ? "accepted" : "stored" },
    ]);
    const shown = await runOf(relay, runId);
    expect(shown).toMatchObject({
      run_id: runId,
      run_type: run.run_type,
      kind: run.kind,
      status: run.status,
      reported_status: run.reported_status ?? run.status,
      revision: 1,
      source: "webhook",
      organization_id: FIXTURE_ORGANIZATION,
      channel: null,
      title: run.title ?? null,
      prompt: run.prompt ?? null,
      url: run.url ?? null,
      summary: run.summary ?? null,
      app_url: run.app_url ?? null,
      workflow: run.workflow ?? null,
      failure: run.failure ?? null,
      artifacts: [],
      artifacts_status: "pending",
      recording_url: run.recording === undefined ? null : linkTo(runId, run.recording),
      screenshot_urls: (run.screenshots ?? []).map((key) => linkTo(runId, key)),
      files: (run.files ?? []).map(({ key, ...file }) => ({ ...file, url: linkTo(runId, key) })),
      step_count: run.step_count ?? null,
      created_at: run.created_at,
      queued_at: run.queued_at ?? null,
      started_at: run.started_at ?? null,
      finished_at: run.finished_at ?? null,
      received_at: new Date(NOW).toISOString(),
      duration_ms: run.duration_ms ?? null,
      run_url: `${PUBLIC_URL}/runs/${runId}`,
    });
    expect(shown["parameters"]).toEqual(fixtureJson(name)["parameters"] ?? null);
  });

  it("a genuine payload keeps its output, but for the signatures in its URLs and the headers of its requests", async () => {
    const relay = await anApp();
    const { output, extracted_information } = fixtureJson(name);

    await relay.webhook(fixtureBytes(name));

    const shown = await runOf(relay, expected(name).run_id);
    expect(shown["output"]).toEqual(withoutSignatures(withoutHeaders(output ?? extracted_information ?? null)));
  });

  it("a genuine payload that arrives twice makes one run, and is a duplicate the second time", async () => {
    const relay = await anApp();
    await relay.webhook(fixtureBytes(name));

    const again = await relay.webhook(fixtureBytes(name));

    expect(result(again)).toEqual([200, "duplicate"]);
    const { receipts } = await runOf(relay, expected(name).run_id);
    expect(receipts).toMatchObject([{ copies: 2 }]);
    expect(await relay.read("/v1/runs")).toMatchObject({ data: [{ run_id: expected(name).run_id }] });
  });
});

/** The headers and the body that an `http_request` block sent, and what the fixture with secrets has in its address. */
function withoutHeaders(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutHeaders);
  if (typeof value !== "object" || value === null) return value;
  const isRequest = "request_headers" in value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]): [string, Json] => {
      if (!isRequest || one === null) return [key, withoutHeaders(one)];
      if (/headers$/.test(key)) return [key, masked(one)];
      if (/url$/.test(key)) return [key, String(one).replace(/(?<=[?&]token=)[^&]+/, "[redacted]")];
      if (key === "request_body") return [key, { ...(one as JsonObject), password: "[redacted]" }];
      return [key, withoutHeaders(one)];
    }),
  );
}

const masked = (headers: Json): Json =>
  Object.fromEntries(Object.keys(headers as JsonObject).map((name) => [name, "[redacted]"]));

/** The contract's signed URLs carry `sig` (Skyvern's) or AWS's names. */
const withoutSignatures = (value: Json): Json =>
  JSON.parse(
    JSON.stringify(value).replace(
      /([?&](?:sig|Signature|AWSAccessKeyId|x-amz-security-token)=)[^&"]+/g,
      "$1[redacted]",
    ),
  ) as Json;

describe("numbers", () => {
  it("numbers come out of the API and into an HTTP sink digit for digit", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const name = "task_v2.completed-unicode-and-numbers";
    const digits =
      '"price":1299,"tax_rate":0.19,"weight_kg":1e-07,"huge":10000000000000000000000,' +
      '"iban_like":12345678901234567890,"order_no":9007199254740993,"neg_zero":0,"ratio":0.30000000000000004,' +
      '"nested":[1,[2,2.5],{"deep":3}]';
    expect(fixtureText(name)).toContain(digits);

    await relay.webhook(fixtureBytes(name));
    await relay.deliver();

    for (const path of [`/v1/runs/${expected(name).run_id}`, "/v1/runs"]) {
      expect((await relay.get(path)).text).toContain(digits);
    }
    expect(relay.standIns.http.requests.map(({ body }) => body)).toEqual([expect.stringContaining(digits)]);
  });

  it("numbers keep the .0 of the time before Skyvern dropped it", async () => {
    const relay = await anApp();
    const name = "legacy-pre-v0.2.1.task_v1.completed";

    await relay.webhook(fixtureBytes(name));

    const { text } = await relay.get(`/v1/runs/${expected(name).run_id}`);
    expect(text).toContain('"output":{"total_due":128.0,"name":"Müller"}');
  });

  it.each(["1e400", "-1e400", "9".repeat(40), `0.${"1".repeat(40)}`, "1E+2", "1.0", "-0", "-0.0"])(
    "the number %s comes out as it came in",
    async (number) => {
      const relay = await anApp({}, { standIns: ["http", "slack"] });

      await relay.webhook(`{"run_id":"tsk_1","status":"completed","output":{"n":${number}}}`);
      await relay.deliver();

      expect((await relay.get("/v1/runs/tsk_1")).text).toContain(`"output":{"n":${number}}`);
      expect(relay.standIns.http.requests[0]?.body).toContain(`"output":{"n":${number}}`);
      expect(relay.standIns.slack.messages()).toHaveLength(1);
    },
  );
});

describe("several webhooks of one run", () => {
  const COMPLETED = "task_v2.completed";
  const FAILED = "task_v2.failed-after-webhook-timeout";

  it.each([
    { order: "after", names: [COMPLETED, FAILED] },
    { order: "before", names: [FAILED, COMPLETED] },
  ])(
    "a webhook that says failed only because one timed out, $order the completed one, leaves one completed run, delivered once",
    async ({ names }) => {
      const relay = await anApp({}, { standIns: ["http", "slack", "smtp"] });

      const answers = [];
      for (const name of names) answers.push(result(await relay.webhook(fixtureBytes(name))));
      await relay.deliver();

      expect(answers).toEqual([
        [200, "accepted"],
        [200, "duplicate"],
      ]);
      const run = await runOf(relay, expected(COMPLETED).run_id);
      expect(run).toMatchObject({ status: "completed", reported_status: "failed", failure: null, revision: 1 });
      expect(run.deliveries.map(({ sink, state }) => `${String(sink)} ${String(state)}`).toSorted()).toEqual([
        "email delivered",
        "http delivered",
        "slack delivered",
      ]);
      expectOneMessageEach(relay, "run.completed");
    },
  );

  it("a delivery between two webhooks of one run still reaches each sink once", async () => {
    const relay = await anApp({}, { standIns: ["http", "slack", "smtp"] });

    for (const name of [COMPLETED, FAILED, COMPLETED]) {
      await relay.webhook(fixtureBytes(name));
      await relay.deliver();
    }

    expectOneMessageEach(relay, "run.completed");
  });

  function expectOneMessageEach({ standIns }: TestApp, type: string) {
    expect(standIns.http.requests.map(({ body }) => (JSON.parse(body) as JsonObject)["type"])).toEqual([type]);
    expect(standIns.slack.messages()).toHaveLength(1);
    expect(standIns.smtp.messages).toHaveLength(1);
  }

  it("a cancel is accepted, and the executor's later webhook updates it", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const [first, second] = [
      "workflow_run.canceled-1-from-cancel-api",
      "workflow_run.canceled-2-from-executor",
    ] as const;

    const answers = [
      result(await relay.webhook(fixtureBytes(first))),
      result(await relay.webhook(fixtureBytes(second))),
    ];
    await relay.deliver();

    expect(answers).toEqual([
      [200, "accepted"],
      [200, "updated"],
    ]);
    const { run_id: runId, recording, files } = expected(second);
    const run = await runOf(relay, runId);
    expect(run).toMatchObject({ status: "canceled", revision: 2, recording_url: linkTo(runId, recording ?? "") });
    expect(run["files"]).toHaveLength(files?.length ?? 0);
    expect(run.receipts.map(({ verdict }) => verdict)).toEqual(["accepted", "updated"]);
  });

  it("a replay, which lacks half the keys, erases none of them", async () => {
    const relay = await anApp();

    await relay.webhook(fixtureBytes(COMPLETED));
    const before = await runOf(relay, expected(COMPLETED).run_id);
    const answer = await relay.webhook(fixtureBytes("replay.task_v2.completed"));

    expect(result(answer)).toEqual([200, "duplicate"]);
    expect(await runOf(relay, expected(COMPLETED).run_id)).toMatchObject({
      prompt: before["prompt"],
      url: before["url"],
      summary: before["summary"],
      organization_id: before["organization_id"],
      workflow: before["workflow"],
      revision: 1,
    });
  });

  it("a run that is not final is delivered to no sink until it is", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const name = "task_v1.running-nonterminal";
    await relay.webhook(fixtureBytes(name));
    await relay.deliver();
    expect(relay.standIns.http.requests).toEqual([]);

    const later = await relay.webhook(
      mutated(name, { status: "completed", finished_at: "2026-08-20T18:41:00", modified_at: "2026-08-20T18:41:00" }),
    );
    await relay.deliver();

    expect(result(later)).toEqual([200, "accepted"]);
    expect(relay.standIns.http.requests).toHaveLength(1);
  });

  it("a webhook that says running does not undo an outcome", async () => {
    const relay = await anApp();
    await relay.webhook(fixtureBytes(COMPLETED));

    const answer = await relay.webhook(mutated(COMPLETED, { status: "running", finished_at: null }));

    expect(result(answer)).toEqual([200, "stored"]);
    expect(await runOf(relay, expected(COMPLETED).run_id)).toMatchObject({ status: "completed", revision: 1 });
  });
});

const ODD: [what: string, changes: Record<string, unknown>][] = [
  ["unknown keys", { attempt: 3, "new-thing": { a: [1] }, "": 1, constructor: "x", toString: null }],
  ["an unknown run type", { run_type: "task_v9" }],
  ["no run type", { run_type: undefined }],
  ["an old id prefix", { run_id: "oc_395182736450129774", task_id: "oc_395182736450129774" }],
  ["an id of no known form", { run_id: "9f1c1f0e-ffff", task_id: null }],
  [
    "only an id and a status",
    Object.fromEntries(
      Object.keys(fixtureJson("task_v2.completed")).flatMap((key) =>
        ["run_id", "status"].includes(key) ? [] : [[key, undefined]],
      ),
    ),
  ],
  ["lists where texts were", { prompt: [], url: {}, summary: 5, failure_reason: [1], app_url: false }],
  [
    "texts where lists were",
    {
      errors: "none",
      downloaded_files: "a.pdf",
      screenshot_urls: "https://x.example/1.png",
      failure_category: "AUTH_FAILURE",
    },
  ],
  [
    "other items in lists",
    {
      errors: [null, 1, "x", []],
      downloaded_files: [null, "https://x.example/a.pdf", 5],
      screenshot_urls: [null, 5, {}],
      failure_category: ["AUTH_FAILURE", null, {}],
    },
  ],
  [
    "numbers and junk where times were",
    { created_at: 1787310156, started_at: "soon", finished_at: {}, modified_at: "2026-99-99T99:99:99" },
  ],
  ["texts where numbers were", { step_count: "4", max_screenshot_scrolls: "many" }],
  ["odd numbers", { step_count: -1 }],
  ["another id's type wrong", { run_id: 5 }],
  ["parameters that are a list", { parameters: [1, 2], run_request: "x" }],
];

describe("genuine payloads of no known era", () => {
  it.each(ODD)("a genuine payload with %s is accepted and delivered", async (_what, changes) => {
    const relay = await anApp({}, { standIns: ["http", "slack"] });
    const body = mutated("task_v2.completed", changes);
    const sent = JSON.parse(body) as Record<string, unknown>;
    const id = [sent["run_id"], sent["task_id"], sent["workflow_run_id"]].find((value) => typeof value === "string");

    const answer = await relay.webhook(body);
    await relay.deliver();

    expect([answer.status, answer.json()]).toEqual([200, { run_id: id, result: "accepted" }]);
    const run = await runOf(relay, String(id));
    expect(run.deliveries.map(({ state }) => state)).toEqual(["delivered", "delivered"]);
  });

  it("genuine payloads of no known era all reach a mailbox too", async () => {
    const relay = await anApp({}, { standIns: ["smtp"] });
    for (const [index, [, changes]] of ODD.entries()) {
      await relay.webhook(mutated("task_v2.completed", { run_id: `tsk_v2_${index}`, ...changes }));
    }

    await relay.deliver();

    expect(relay.standIns.smtp.messages).toHaveLength(ODD.length);
  });

  it.each(["archived", "COMPLETED", "completed ", "paused", "created", "queued", "__proto__", "x".repeat(100)])(
    "a genuine payload with the status %j is stored as it is and delivered to no sink",
    async (status) => {
      const relay = await anApp({}, { standIns: ["http"] });

      const answer = await relay.webhook(mutated("task_v1.completed", { status }));
      await relay.deliver();

      expect(result(answer)).toEqual([200, "stored"]);
      const { run_id: id } = expected("task_v1.completed");
      expect(await runOf(relay, id)).toMatchObject({ status, reported_status: status, deliveries: [] });
    },
  );

  it.each([
    ["no status", mutated("task_v1.completed", { status: undefined })],
    ["a null status", mutated("task_v1.completed", { status: null })],
    ["a status that is no text", mutated("task_v1.completed", { status: { is: "completed" } })],
    ["no id", mutated("task_v1.completed", { run_id: undefined, task_id: undefined })],
    ["empty ids", mutated("task_v1.completed", { run_id: "", task_id: " ", workflow_run_id: null })],
    ["an endless id", mutated("task_v1.completed", { run_id: "tsk_".padEnd(500, "1") })],
    ["a list instead of an object", `[${fixtureText("task_v1.completed")}]`],
    ["a text", '"completed"'],
    ["a number", "42"],
    ["null", "null"],
    ["an empty object", "{}"],
    ["its keys in __proto__", '{"__proto__":{"run_id":"tsk_1","status":"completed"}}'],
    ["a frame around it", `{"event":"run.finished","data":${fixtureText("task_v1.completed")}}`],
  ])("a genuine payload with %s is stored, answered 202 and listed", async (_what, body) => {
    const relay = await anApp();

    const answer = await relay.webhook(body);

    expect([answer.status, answer.json()]).toEqual([202, { result: "unrecognized" }]);
    expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });
    const { data } = await relay.read<{ data: JsonObject[] }>("/v1/receipts/unrecognized");
    expect(data).toMatchObject([
      { run_id: null, verdict: "unrecognized", note: expect.any(String) as string, copies: 1 },
    ]);
    expect((await relay.get("/metrics")).text).toContain("skyvern_relay_unrecognized_receipts 1");
    const raw = await relay.get(`/v1/receipts/${String(data[0]?.["id"])}/raw`);
    expect(raw.status).toBe(200);
    const again = await relay.webhook(body);
    expect([again.status, again.json()]).toEqual([202, { result: "unrecognized" }]);
    expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [{ copies: 2 }] });
  });

  it.each([
    ["as Skyvern sends it", fixtureText("not-a-run.totp-request")],
    ["for a task", '{"task_id":"tsk_1"}'],
    ["for a workflow run", '{"workflow_run_id":"wr_1","workflow_permanent_id":"wpid_1"}'],
    ["with nulls", '{"task_id":null,"workflow_run_id":"wr_1","workflow_permanent_id":null}'],
    ["with its identifier", '{"task_id":"tsk_1","totp_identifier":"ada@example.com"}'],
  ])("a genuine payload that asks for a one-time code, %s, is answered 422 and not stored", async (_what, body) => {
    const relay = await anApp();

    const answer = await relay.webhook(body);

    expect(answer.status).toBe(422);
    expect(answer.json()["error"]).toMatch(/totp_url/);
    expect(answer.text.length).toBeLessThan(200);
    expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });
    expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [] });
  });
});
