/** Confirm by API: of a body that no key signed only the run id counts, and only where the operator asked for it. */
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import type { StandInSkyvern } from "../support/skyvern.ts";
import { aListeningApp, anApp, aSignedRequest, type Answer, type AppOptions, type TestApp } from "../support/app.ts";
import { atSkyvern, type AtSkyvern } from "../support/at-skyvern.ts";
import { fixtureText, signatureOf } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const ENDED = NOW - 3_600_000;
const ON = "skyvern: { confirm: true }";

const confirming = (options: AppOptions = {}) => anApp({}, { standIns: ["http"], file: ON, ...options });
const add = ({ standIns }: TestApp, run: Partial<AtSkyvern> & { id: string }) =>
  standIns.skyvern.addRun(atSkyvern({ endedAt: ENDED, ...run }));
const paths = (skyvern: StandInSkyvern): string[] => skyvern.calls.map(({ path }) => path);

/** What a stranger, or Skyvern with a key that nobody else knows, sends about a run. */
const aLie = (id: string): string =>
  JSON.stringify({
    ...atSkyvern({ id, endedAt: ENDED }).payload,
    status: "failed",
    workflow_title: "Pay the stranger",
    output: { iban: "DE00 STRANGER" },
    failure_reason: "made up",
    webhook_callback_url: "https://relay.example.com/webhook/stranger",
    organization_id: "o_stranger",
  });
const unsigned = (relay: TestApp, body: string, path = "/webhook"): Promise<Answer> =>
  relay.webhook(body, { signature: null, path });

describe("switched off", () => {
  it.each([
    ["no signature", null],
    ["the signature of another key", signatureOf(aLie("tsk_1"), "another key")],
    ["what is no signature", "let me in"],
  ])(
    "an unconfirmed body with a real run id and %s is refused without `confirm`, and Skyvern is not asked",
    async (_what, signature) => {
      const relay = await anApp({}, { standIns: ["http"] });
      add(relay, { id: "tsk_1" });
      const answer = await relay.webhook(aLie("tsk_1"), { signature });
      expect(answer.status).toBe(401);
      expect(relay.standIns.skyvern.calls).toEqual([]);
      expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });
      expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [] });
    },
  );
});

describe("switched on", () => {
  it.each([
    ["without a signature", null],
    ["with a wrong one", signatureOf("something else")],
    ["with what is none", "let me in"],
  ])(
    "an unsigned body, %s, becomes what the API says of its run, and nothing of what the body says",
    async (_what, signature) => {
      const relay = await confirming();
      add(relay, { id: "tsk_1", webhookUrl: "https://relay.example.com/webhook/billing" });
      const answer = await relay.webhook(aLie("tsk_1"), { signature, path: "/webhook/stranger" });
      expect({ status: answer.status, ...answer.json() }).toEqual({ status: 200, run_id: "tsk_1", result: "accepted" });
      await relay.deliver();

      const { receipts, ...run } = await relay.read<{ receipts: { id: string }[] }>("/v1/runs/tsk_1");
      expect(run).toMatchObject({
        status: "completed",
        reported_status: "completed",
        source: "reconciled",
        channel: "billing",
        title: null,
        prompt: "Do tsk_1",
        failure: null,
        output: JSON.parse(fixtureText("task_v1.completed")).output,
        organization_id: "o_512846093377601280",
      });
      const raw = await relay.get(`/v1/runs/tsk_1/receipts/${receipts[0]?.id}/raw`);
      const told = relay.standIns.http.requests.map(({ body }) => body);
      expect(told).toHaveLength(1);
      for (const text of [JSON.stringify(run), raw.text, ...told, relay.log()]) {
        expect(text).not.toMatch(/stranger|made up/i);
      }
    },
  );

  it("a confirmed run named again is a duplicate, and nothing is delivered twice", async () => {
    const relay = await confirming();
    add(relay, { id: "tsk_1" });
    for (const result of ["accepted", "duplicate", "duplicate"]) {
      expect((await unsigned(relay, aLie("tsk_1"))).json()).toMatchObject({ result });
      await relay.deliver();
    }
    expect(relay.standIns.http.requests).toHaveLength(1);
  });

  it("a signed webhook is taken as it is, without asking Skyvern to confirm it", async () => {
    const relay = await confirming();
    const body = fixtureText("task_v1.completed");
    expect((await relay.webhook(body)).json()).toMatchObject({ result: "accepted" });
    expect(relay.standIns.skyvern.calls).toEqual([]);
  });

  it("a confirmed run that goes on is stored, and delivered when it ends", async () => {
    const relay = await confirming();
    add(relay, { id: "tsk_1", status: "running", endedAt: null, createdAt: ENDED });
    expect((await unsigned(relay, aLie("tsk_1"))).json()).toMatchObject({ result: "stored" });
    add(relay, { id: "tsk_1" });
    expect((await unsigned(relay, aLie("tsk_1"))).json()).toMatchObject({ result: "accepted" });
  });

  it("a run id that Skyvern does not know is refused, and asked for once in a minute", async () => {
    const runtime = aRuntime();
    const relay = await confirming({ runtime });
    for (let i = 0; i < 5; i += 1) expect((await unsigned(relay, aLie("tsk_none"))).status).toBe(401);
    expect(paths(relay.standIns.skyvern)).toEqual(["/v1/runs/tsk_none"]);
    runtime.advance(60_001);
    expect((await unsigned(relay, aLie("tsk_none"))).status).toBe(401);
    expect(relay.standIns.skyvern.calls).toHaveLength(2);
    expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });
  });

  it("a confirmed run whose webhook leads elsewhere is refused, and taken with scope all", async () => {
    const elsewhere = { id: "tsk_1", webhookUrl: "https://elsewhere.example.com/webhook" };
    const relay = await confirming();
    add(relay, elsewhere);
    expect((await unsigned(relay, aLie("tsk_1"))).status).toBe(401);
    expect((await unsigned(relay, aLie("tsk_1"))).status).toBe(401);
    expect(relay.standIns.skyvern.calls).toHaveLength(1);
    expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });

    const open = await confirming({ file: "skyvern: { confirm: true, reconcile: { scope: all } }" });
    add(open, elsewhere);
    expect((await unsigned(open, aLie("tsk_1"))).json()).toMatchObject({ result: "accepted" });
  });

  it("many run ids are confirmed at once, then many a second, and the others may come again", async () => {
    const runtime = aRuntime();
    const relay = await confirming({ runtime });
    for (let i = 0; i < 40; i += 1) add(relay, { id: `tsk_${i}` });
    const statuses = [];
    for (let i = 0; i < 40; i += 1) statuses.push((await unsigned(relay, aLie(`tsk_${i}`))).status);
    expect(statuses).toEqual([...Array<number>(20).fill(200), ...Array<number>(20).fill(503)]);
    expect(relay.standIns.skyvern.calls).toHaveLength(20);
    runtime.advance(1_000);
    const again = [20, 21, 22].map((i) => unsigned(relay, aLie(`tsk_${i}`)));
    expect((await Promise.all(again)).map(({ status }) => status)).toEqual([200, 200, 503]);
  });

  it.each([
    ["leads out of its place", "../../v1/artifacts/a_1"],
    ["is a way up", ".."],
    ["holds a slash", "tsk_1/artifacts"],
    ["is encoded", "%2e%2e%2f"],
    ["holds a query", "tsk_1?x=1"],
    ["holds a line break", "tsk_1\r\nx: y"],
    ["is nearly a megabyte long", "t".repeat(1_000_000)],
    ["is empty", ""],
    ["is a number", 7],
    ["is an object", { run_id: "tsk_1" }],
    ["is a list", ["tsk_1"]],
  ])("an unsigned body whose run id %s is refused, and Skyvern is not asked", async (_what, id) => {
    const relay = await confirming();
    expect((await unsigned(relay, JSON.stringify({ run_id: id, status: "completed" }))).status).toBe(401);
    expect(relay.standIns.skyvern.calls).toEqual([]);
  });

  it.each([
    ["is not JSON", "{"],
    ["is empty", ""],
    ["is a list", "[]"],
    ["says no status", '{"run_id":"tsk_1"}'],
    ["is nested without end", '{"run_id":'.repeat(100_000)],
    [
      "is nested a hundred thousand levels",
      `{"run_id":"tsk_1","status":"x","y":${"[".repeat(100_000)}0.0${"]".repeat(100_000)}}`,
    ],
  ])("an unsigned body that %s is refused, and Skyvern is not asked", async (_what, body) => {
    const relay = await confirming();
    expect((await unsigned(relay, body)).status).toBe(401);
    expect(relay.standIns.skyvern.calls).toEqual([]);
  });

  it.each([
    ["is down", { status: 500 }],
    ["says that it is too much", { status: 429 }],
    ["hangs up", { instead: "reset" as const }],
    ["refuses the key", { status: 403 }],
    ["does not take the stored address", { status: 400, body: '{"detail":"Invalid webhook_url: blocked host."}' }],
    ["does not take the request", { status: 422 }],
    ["leads elsewhere", { status: 302, headers: { location: "https://elsewhere.example.com/" } }],
    ["is behind a proxy that knows no such page", { status: 404, body: "<h1>Not Found</h1>" }],
    ["is not at this address", { status: 404, body: '{"detail":"Not Found"}' }],
  ])(
    "the sender of an unsigned body is asked to come again when Skyvern %s, and the id does not count as unknown",
    async (_what, fault) => {
      const relay = await confirming();
      add(relay, { id: "tsk_1" });
      relay.standIns.skyvern.faults.push(fault);
      const answer = await unsigned(relay, aLie("tsk_1"));
      expect({ status: answer.status, retryAfter: answer.headers.get("retry-after") }).toEqual({
        status: 503,
        retryAfter: "5",
      });
      // One try each: the sender waits.
      expect(relay.standIns.skyvern.calls).toHaveLength(1);
      expect((await unsigned(relay, aLie("tsk_1"))).json()).toMatchObject({ result: "accepted" });
    },
  );

  it.each([
    ["without a signature", null, 1024 * 1024 + 1],
    ["with a wrong one", signatureOf("something else"), 9_000_000],
  ])("a body %s of more than a megabyte is answered 413, and Skyvern is not asked", async (_what, signature, bytes) => {
    const relay = await confirming();
    add(relay, { id: "tsk_1" });
    const body = `{"run_id":"tsk_1","status":"completed","output":[${"1e-7,".repeat(bytes / 5)}1]}`;
    expect((await relay.webhook(body, { signature })).status).toBe(413);
    expect(relay.standIns.skyvern.calls).toEqual([]);
  });

  it("an unsigned body is parsed for its ids only, and what stands beside them need not be JSON", async () => {
    const relay = await confirming();
    add(relay, { id: "tsk_1" });
    const body = `{"output":[0x1,{"run_id":"tsk_2"}],"status":"completed","run_id":null,"task_id":"tsk_1"}`;
    expect((await unsigned(relay, body)).json()).toMatchObject({ run_id: "tsk_1" });
  });

  it("an address that had a run confirmed has half of the questions to itself", async () => {
    const runtime = aRuntime();
    const relay = await confirming({ runtime });
    for (let i = 0; i < 40; i += 1) add(relay, { id: `tsk_${i}` });
    const send = async (from: string, id: string): Promise<number> => {
      const incoming = Object.assign(Readable.from([Buffer.from(aLie(id))]), { socket: { remoteAddress: from } });
      return (await relay.app.fetch(aSignedRequest(aLie(id), { signature: null }), { incoming })).status;
    };
    expect(await send("192.0.2.1", "tsk_0")).toBe(200);
    // A stranger at every question, each from another address.
    const strangers = [];
    for (let i = 0; i < 30; i += 1) strangers.push(await send(`198.51.100.${i}`, `tsk_none_${i}`));
    expect(strangers.filter((status) => status === 401)).toHaveLength(9);
    expect(strangers.at(-1)).toBe(503);
    expect(await send("192.0.2.1", "tsk_1")).toBe(200);
  });

  it("an address that sends too many unsigned bodies is no longer read, whatever they name", async () => {
    const relay = await confirming();
    const statuses = [];
    for (let i = 0; i < 25; i += 1) statuses.push((await unsigned(relay, "{}")).status);
    expect(statuses).toEqual([...Array<number>(20).fill(401), ...Array<number>(5).fill(503)]);
  });

  it("an answer of the API that is no run confirms nothing", async () => {
    const relay = await confirming();
    relay.standIns.skyvern.faults.push({
      status: 200,
      body: '{"run_request":{"webhook_url":"https://relay.example.com/"}}',
    });
    expect((await unsigned(relay, aLie("tsk_1"))).status).toBe(401);
  });

  it("every organization is asked for a run until one knows it", async () => {
    const keys = [
      { key: "key-of-acme", organization: "o_acme" },
      { key: "key-of-umbrella", organization: "o_umbrella" },
    ];
    const relay = await confirming({ skyvern: { keys } });
    const two = await anApp(
      { SKYVERN_API_KEY: "key-of-acme,key-of-umbrella", SKYVERN_BASE_URL: relay.standIns.skyvern.url },
      { file: ON },
    );
    add(relay, { id: "tsk_1", organization: "o_umbrella" });
    expect((await unsigned(two, aLie("tsk_1"))).json()).toMatchObject({ result: "accepted" });
    expect(relay.standIns.skyvern.calls.map(({ headers }) => headers["x-api-key"])).toEqual([
      "key-of-acme",
      "key-of-umbrella",
    ]);
  });
});

it("Skyvern's own retries bring a run in that it could not be asked about at first", async () => {
  const file = "skyvern: { confirm: true, reconcile: false }";
  const relay = await aListeningApp({}, { file, skyvern: { sleep: () => Promise.resolve() } });
  const { skyvern } = relay.standIns;
  add(relay, { id: "tsk_1" });
  skyvern.faults.push({ status: 503 });
  // Signed with the web page's own token.
  const sent = await skyvern.sendWebhook(
    atSkyvern({ id: "tsk_1", endedAt: ENDED }).payload,
    `${relay.url}/webhook`,
    "a-session",
  );
  expect(sent).toMatchObject({ delivered: true, attempts: [{ status: 503 }, { status: 200 }] });
});
