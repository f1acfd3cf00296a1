import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { anApp, TOKEN, type TestApp } from "../support/app.ts";
import { events } from "../support/at-skyvern.ts";
import { fixtureBytes, FIXTURE_ORGANIZATION, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

interface Page {
  data: JsonObject[];
  next_cursor: string | null;
}
interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors?: { parameter: string; message: string }[];
}

const idsOf = ({ data }: Page): unknown[] => data.map(({ run_id }) => run_id);
const aRun = (id: string, values: Record<string, unknown> = {}): string =>
  JSON.stringify({ run_id: id, status: "completed", output: { n: 1 }, ...values });

describe("the token", () => {
  const ADDRESSES = [
    "/v1/runs",
    "/v1/runs/tsk_1",
    "/v1/deliveries",
    "/v1/receipts/unrecognized",
    "/v1/nothing",
    "/metrics",
  ];

  it("the history API slows wrong tokens only, says so once in the log, and lets the right one in at once", async () => {
    const relay = await anApp();
    const ask = async (token: string) => (await relay.get("/v1/runs", { authorization: `Bearer ${token}` })).status;
    const statuses = [];
    for (let i = 0; i < 50; i += 1) statuses.push(await ask(`a-wrong-token-${i}`));
    expect(statuses).toEqual([...Array<number>(10).fill(401), ...Array<number>(40).fill(429)]);
    expect(await ask(TOKEN)).toBe(200);
    // The same brake, whatever is asked for.
    expect((await relay.get("/metrics", { authorization: "Bearer a-wrong-token" })).status).toBe(429);
    const refused = await relay.get("/v1/runs", { authorization: "Bearer a-wrong-token" });
    expect(refused.headers.get("content-type")).toContain("application/problem+json");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(events(relay, "token.refused")).toHaveLength(10);
    expect(events(relay, "token.throttled")).toHaveLength(1);
    expect(relay.log()).not.toContain("a-wrong-token");
  });

  it("a token that has a name opens the history API with it and without it", async () => {
    const relay = await anApp({ RELAY_TOKEN: `ops:${TOKEN},another-token-of-the-tests` });
    const ask = async (token: string) => (await relay.get("/v1/runs", { authorization: `Bearer ${token}` })).status;
    expect([await ask(TOKEN), await ask(`ops:${TOKEN}`), await ask("another-token-of-the-tests")]).toEqual([
      200, 200, 200,
    ]);
    expect([await ask("ops:"), await ask("ops")]).toEqual([401, 401]);
  });

  it("a name ends at the first colon, so a token may begin with a word and a colon", async () => {
    const relay = await anApp({ RELAY_TOKEN: `ops:dev:${TOKEN}` });
    const ask = async (token: string) => (await relay.get("/v1/runs", { authorization: `Bearer ${token}` })).status;
    expect([await ask(`ops:dev:${TOKEN}`), await ask(`dev:${TOKEN}`), await ask(TOKEN)]).toEqual([200, 200, 401]);
  });

  it.each(ADDRESSES)("%s without RELAY_TOKEN is answered 403, which names the variable", async (path) => {
    const relay = await anApp({ RELAY_TOKEN: undefined });

    for (const authorization of ["", "Bearer ", "Bearer undefined", `Bearer ${TOKEN}`]) {
      const answer = await relay.get(path, { authorization });
      expect([answer.status, answer.headers.get("content-type")]).toEqual([403, "application/problem+json"]);
      expect(answer.json<Problem>().detail).toContain("RELAY_TOKEN");
    }
  });

  it.each([
    "",
    TOKEN,
    `Basic ${btoa(`x:${TOKEN}`)}`,
    "Bearer",
    "Bearer ",
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN} x`,
    "Bearer a,b",
    `bearer${TOKEN}`,
  ])("the history API answers 401 to %j in Authorization, and says how to send the token", async (authorization) => {
    const relay = await anApp({ RELAY_TOKEN: `${TOKEN},another-token-of-tests` });

    for (const path of ADDRESSES) {
      const answer = await relay.get(path, { authorization });
      expect([answer.status, answer.headers.get("content-type")]).toEqual([401, "application/problem+json"]);
      expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer/);
      expect(answer.text).not.toContain(TOKEN);
    }
  });

  it.each([`Bearer ${TOKEN}`, `bearer ${TOKEN}`, "Bearer another-token-of-tests", `BEARER   ${TOKEN}  `])(
    "the history API lets %j in",
    async (authorization) => {
      const relay = await anApp({ RELAY_TOKEN: `${TOKEN}, another-token-of-tests` });

      expect((await relay.get("/v1/runs", { authorization })).status).toBe(200);
    },
  );

  it("POST /v1/runs/{run_id}/redeliver needs the token, too", async () => {
    const relay = await anApp();
    const response = await relay.app.fetch(
      new Request("http://relay.test/v1/runs/tsk_1/redeliver", { method: "POST" }),
    );
    expect(response.status).toBe(401);
  });
});

/** Runs that differ in everything one can ask for. */
async function someRuns(): Promise<TestApp> {
  const runtime = aRuntime();
  const file = `
sinks:
  ops: { kind: http, url: https://ops.example.com/ }
  crm: { kind: http, url: https://crm.example.com/ }
routes:
  - { when: { status: [failed, terminated] }, to: [ops] }
  - { when: { status: completed }, to: [ops, crm] }
`;
  const relay = await anApp({}, { runtime, file });
  for (const [name, path] of [
    ["task_v1.completed", "/webhook/billing"],
    ["task_v1.failed", "/webhook/billing"],
    ["task_v2.completed", "/webhook"],
    ["task_v2.terminated", "/webhook/legal"],
    ["workflow_run.completed", "/webhook/legal"],
    ["task_v1.running-nonterminal", "/webhook"],
  ] as const) {
    await relay.webhook(fixtureBytes(name), { path });
    runtime.advance(60_000);
  }
  return relay;
}

const V1 = "tsk_565008666790408272";
const V1_FAILED = "tsk_565047025143328900";
const V2 = "tsk_v2_565346328529285494";
const V2_TERMINATED = "tsk_v2_565377252293816734";
const WORKFLOW = "wr_565255494265942522";
const RUNNING = "tsk_565080259600265422";
const minute = (n: number): string => new Date(NOW + n * 60_000).toISOString();

describe("GET /v1/runs", () => {
  it("GET /v1/runs lists the newest runs first, each as sinks get it", async () => {
    const relay = await someRuns();

    const page = await relay.read<Page>("/v1/runs");

    expect(idsOf(page)).toEqual([RUNNING, WORKFLOW, V2_TERMINATED, V2, V1_FAILED, V1]);
    expect(page.next_cursor).toBeNull();
    const { deliveries: _d, receipts: _r, ...run } = await relay.read(`/v1/runs/${WORKFLOW}`);
    expect(page.data[1]).toEqual(run);
  });

  it.each([
    ["status=failed", [V1_FAILED]],
    ["status=failed&status=terminated", [V2_TERMINATED, V1_FAILED]],
    ["status=nothing", []],
    ["run_type=task_v2", [V2_TERMINATED, V2]],
    ["run_type=task_v2&run_type=workflow_run", [WORKFLOW, V2_TERMINATED, V2]],
    ["workflow=wpid_524111425557180924", [WORKFLOW]],
    ["workflow=Invoice+Downloader", [WORKFLOW]],
    ["workflow=wpid_565346328529285498&workflow=Invoice%20Downloader", [WORKFLOW, V2]],
    [`organization_id=${FIXTURE_ORGANIZATION}`, [RUNNING, WORKFLOW, V2_TERMINATED, V2, V1_FAILED, V1]],
    ["organization_id=o_other", []],
    ["channel=billing", [V1_FAILED, V1]],
    ["channel=billing&channel=legal", [WORKFLOW, V2_TERMINATED, V1_FAILED, V1]],
    ["source=webhook&status=failed", [V1_FAILED]],
    ["source=reconciled", []],
    ["sink=crm", [WORKFLOW, V2, V1]],
    ["sink=ops&sink=crm", [WORKFLOW, V2_TERMINATED, V2, V1_FAILED, V1]],
    ["sink=nobody", []],
    ["delivery=pending", [WORKFLOW, V2_TERMINATED, V2, V1_FAILED, V1]],
    ["delivery=dead", []],
    [`since=${minute(3)}`, [RUNNING, WORKFLOW, V2_TERMINATED]],
    [`until=${minute(3)}`, [V2, V1_FAILED, V1]],
    [`since=${minute(1)}&until=${minute(3)}`, [V2, V1_FAILED]],
    ["since=2026-08-23T10:03:00", [RUNNING, WORKFLOW, V2_TERMINATED]],
    ["since=2026-08-23T12:03:00%2B02:00", [RUNNING, WORKFLOW, V2_TERMINATED]],
    ["since=2026-08-23", [RUNNING, WORKFLOW, V2_TERMINATED, V2, V1_FAILED, V1]],
    ["until=2026-08-23", []],
    ["limit=2", [RUNNING, WORKFLOW]],
    ["status=completed&channel=legal&run_type=workflow_run&sink=crm", [WORKFLOW]],
    ["status=completed&channel=billing&run_type=workflow_run", []],
    ["status=%27%20OR%201%3D1%20--", []],
  ])("GET /v1/runs?%s has the runs that fit, newest first", async (query, ids) => {
    const relay = await someRuns();
    expect(idsOf(await relay.read<Page>(`/v1/runs?${query}`))).toEqual(ids);
  });

  it("GET /v1/runs asks for a sink and a delivery's state in the same delivery", async () => {
    const relay = await anApp(
      {},
      { standIns: ["http"], file: "sinks: { slow: { kind: http, url: https://slow.invalid/ } }" },
    );
    await relay.webhook(aRun("tsk_1"));
    await relay.deliver();

    expect(idsOf(await relay.read<Page>("/v1/runs?sink=http&delivery=delivered"))).toEqual(["tsk_1"]);
    expect(idsOf(await relay.read<Page>("/v1/runs?sink=slow&delivery=delivered"))).toEqual([]);
    expect(idsOf(await relay.read<Page>("/v1/runs?sink=slow&delivery=pending"))).toEqual(["tsk_1"]);
  });

  it("pages of GET /v1/runs stay right while runs arrive and change, also when many came in one millisecond", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime });
    const sent: string[] = [];
    for (let n = 0; n < 25; n++) {
      const id = `tsk_${String((n * 7) % 25).padStart(2, "0")}`;
      await relay.webhook(aRun(id));
      sent.push(id);
      if (n % 10 === 9) runtime.advance(1);
    }

    const seen: unknown[] = [];
    let cursor: string | null = null;
    for (let page = 0; page === 0 || cursor !== null; page++) {
      const answer: Page = await relay.read<Page>(`/v1/runs?limit=4${cursor === null ? "" : `&cursor=${cursor}`}`);
      seen.push(...idsOf(answer));
      cursor = answer.next_cursor;
      runtime.advance(1);
      await relay.webhook(aRun(`tsk_new_${page}`));
      await relay.webhook(aRun(sent[page] ?? "", { summary: "more is known" }));
    }

    expect(seen).toHaveLength(25);
    expect(new Set(seen)).toEqual(new Set(sent));
  });

  it("the last page of GET /v1/runs has no cursor though it is full, and a cursor keeps to its filters", async () => {
    const relay = await someRuns();
    const first = await relay.read<Page>("/v1/runs?status=completed&limit=2");
    expect(idsOf(first)).toEqual([WORKFLOW, V2]);

    const second = await relay.read<Page>(`/v1/runs?status=completed&limit=2&cursor=${first.next_cursor}`);

    expect(idsOf(second)).toEqual([V1]);
    expect(second.next_cursor).toBeNull();
    expect((await relay.read<Page>("/v1/runs?status=completed&limit=3")).next_cursor).toBeNull();
  });

  it.each([
    ["limit=0", "limit"],
    ["limit=201", "limit"],
    ["limit=1.5", "limit"],
    ["limit=", "limit"],
    ["limit=many", "limit"],
    ["limit=1e2", "limit"],
    ["limit=0x10", "limit"],
    ["limit=%205", "limit"],
    ["limit=-1", "limit"],
    ["limit=99999999999999999999", "limit"],
    ["limit=5&limit=6", "limit"],
    ["cursor=nonsense", "cursor"],
    [`cursor=${btoa("[1]")}`, "cursor"],
    [`cursor=${btoa('["1","x"]')}`, "cursor"],
    [`cursor=${btoa('[1e999,"x"]')}`, "cursor"],
    [`cursor=${btoa('[9007199254740993,"x"]')}`, "cursor"],
    [`cursor=${btoa('[1,"x"]')}&cursor=${btoa('[2,"y"]')}`, "cursor"],
    [`cursor=${btoa('{"at":1}')}`, "cursor"],
    [`cursor=${"A".repeat(1001)}`, "cursor"],
    ["cursor=", "cursor"],
    ["cursor=%00", "cursor"],
    ["since=yesterday", "since"],
    ["since=2026-13-01", "since"],
    ["since=+010000-01-01T00:00:00Z", "since"],
    ["since=10000-01-01", "since"],
    ["since=9999-12-31T23:59:59-01:00", "since"],
    ["since=1969-12-31", "since"],
    ["since=0000-01-01", "since"],
    ["since=2026-01-01T00:00:00%2B25:00", "since"],
    ["since=2026-01-01&since=2026-01-02", "since"],
    ["until=1787310156", "until"],
    ["since=2026-01-02&until=2026-01-01", "since"],
    ["until=2026-02-30T00:00:00Z", "until"],
    ["source=email", "source"],
    ["delivery=lost", "delivery"],
    ["delivery=dead&delivery=lost", "delivery"],
    ["status=", "status"],
    ["status=a%00b", "status"],
    [`status=${"x".repeat(501)}`, "status"],
    [Array(51).fill("status=failed").join("&"), "status"],
    ["q=a&q=b", "q"],
    ["stauts=failed", "stauts"],
    ["organization=o_1", "organization"],
  ])("GET /v1/runs?%s is answered 400 with a problem document that names %s", async (query, parameter) => {
    const relay = await anApp();

    const answer = await relay.get(`/v1/runs?${query}`);

    expect([answer.status, answer.headers.get("content-type")]).toEqual([400, "application/problem+json"]);
    const { type, title, status, errors } = answer.json<Problem>();
    expect({ type, title, status }).toEqual({ type: "about:blank", title: "Bad Request", status: 400 });
    expect(errors?.map((error) => error.parameter)).toEqual([parameter]);
    // In words of ours.
    expect(errors?.[0]?.message).toMatch(/^(must|was|has|needs|is no|is not|there is no) /);
  });

  it.each([
    ["source=email", "must be webhook, reconciled or backfill"],
    ["delivery=lost", "must be pending, sending, delivered, dead or canceled"],
    ["limit=201", "must be a whole number from 1 to 200"],
    ["until=tomorrow", "must be an ISO 8601 time of the years 1970 to 9999, like 2026-01-20T12:00:00Z"],
    ["status=", "must be a text of 1 to 500 characters"],
  ])("GET /v1/runs says of ?%s that it %s", async (query, message) => {
    const relay = await anApp();
    const { errors } = (await relay.get(`/v1/runs?${query}`)).json<Problem>();
    expect(errors?.map((error) => error.message)).toEqual([message]);
  });

  it("GET /v1/runs names every bad parameter at once", async () => {
    const relay = await anApp();
    const { errors } = (await relay.get("/v1/runs?limit=0&source=email&since=soon&x=1&y=2")).json<Problem>();
    expect(errors?.map(({ parameter }) => parameter).toSorted()).toEqual(["limit", "since", "source", "x", "y"]);
  });
});

describe("GET /v1/runs/{run_id}", () => {
  it("GET /v1/runs/{run_id} has the deliveries of the run with every attempt, and its receipts", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    relay.standIns.http.answers.push({ status: 500 });
    const runtimeStart = NOW;
    await relay.webhook(fixtureBytes("task_v2.completed"), { path: "/webhook/billing" });
    await relay.deliver();

    const run = await relay.read(`/v1/runs/${V2}`);
    const [receipt] = run["receipts"] as { id: string }[];
    const stored = (await relay.get(`/v1/runs/${V2}/receipts/${receipt?.id}/raw`)).text;
    expect(stored).not.toBe(fixtureBytes("task_v2.completed").toString());

    expect(run).toMatchObject({
      channel: "billing",
      deliveries: [
        {
          run_id: V2,
          revision: 1,
          sink: "http",
          kind: "http",
          cause: "result",
          state: "pending",
          attempts: 1,
          last_error: expect.stringContaining("500") as string,
          created_at: new Date(runtimeStart).toISOString(),
          delivered_at: null,
          receipt: null,
          log: [{ n: 1, outcome: "retry", reason: expect.stringContaining("500") as string }],
        },
      ],
      receipts: [
        {
          run_id: V2,
          verdict: "accepted",
          reported_status: "completed",
          source: "webhook",
          channel: "billing",
          key: "SKYVERN_API_KEY[1]",
          body_bytes: stored.length,
          body_hash: createHash("sha256").update(stored).digest("hex"),
          copies: 1,
          routing: [{ route: "default", matched: true }],
        },
      ],
    });
  });

  it("GET /v1/runs/{run_id} does not show the time at which Skyvern says it sent the webhook, as it is not signed", async () => {
    const relay = await anApp();
    await relay.webhook(aRun("tsk_1"), { headers: { "x-skyvern-timestamp": "1111111111" } });
    expect((await relay.get("/v1/runs/tsk_1")).text).not.toContain("1111111111");
  });

  it.each(["tsk_nobody", "x".repeat(3000), "%00", "..%2f..%2fetc%2fpasswd", "%E0%A4%A"])(
    "GET /v1/runs/{run_id} of %.30s, which is unknown, is answered 404 as a problem document",
    async (id) => {
      const relay = await anApp();
      const answer = await relay.get(`/v1/runs/${id}`);
      expect([answer.status, answer.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
      expect(answer.text.length).toBeLessThan(400);
    },
  );

  it.each(["wr/1?x=%2e#ü", "...", "./x", "/", "a b", "💥", "<script>", "%41", "a\\b", "'; drop table runs; --"])(
    "GET /v1/runs/{run_id} finds the id %j, however odd",
    async (id) => {
      const relay = await anApp();
      await relay.webhook(aRun(id));
      expect(await relay.read(`/v1/runs/${encodeURIComponent(id)}`)).toMatchObject({ run_id: id });
    },
  );
});

describe("GET …/raw", () => {
  it("GET /v1/runs/{run_id}/receipts/{id}/raw gives the bytes received, masked, as a download", async () => {
    const relay = await anApp();
    await relay.webhook(fixtureBytes("task_v2.completed-unicode-and-numbers"));
    const id = "tsk_v2_565439099822879190";
    const { receipts } = await relay.read<{ receipts: { id: string }[] }>(`/v1/runs/${id}`);

    const answer = await relay.get(`/v1/runs/${id}/receipts/${receipts[0]?.id}/raw`);

    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-disposition")).toBe("attachment");
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
    expect(answer.text).toContain('"weight_kg":1e-07,"huge":10000000000000000000000');
    expect(answer.text).toContain('{"authorization":"[redacted]","x-tenant":"[redacted]"}');
    expect(answer.text).not.toContain("customer-secret-token");
  });

  it("GET /v1/receipts/{id}/raw answers 404 for the receipt of a run", async () => {
    const relay = await anApp();
    await relay.webhook(aRun("tsk_1"));
    const { receipts } = await relay.read<{ receipts: { id: string }[] }>("/v1/runs/tsk_1");
    expect((await relay.get(`/v1/receipts/${receipts[0]?.id}/raw`)).status).toBe(404);
  });

  it("GET /v1/runs/{run_id}/receipts/{id}/raw answers 404 for the receipt of another run, and for none", async () => {
    const relay = await anApp();
    await relay.webhook(aRun("tsk_1"));
    await relay.webhook(aRun("tsk_2"));
    const { receipts } = await relay.read<{ receipts: { id: string }[] }>("/v1/runs/tsk_1");

    for (const path of [
      `tsk_2/receipts/${receipts[0]?.id}`,
      "tsk_1/receipts/rcp_0",
      `tsk_0/receipts/${receipts[0]?.id}`,
    ]) {
      expect((await relay.get(`/v1/runs/${path}/raw`)).status).toBe(404);
    }
  });
});

describe("GET /v1/deliveries", () => {
  it.each([
    ["", 8],
    ["sink=crm", 3],
    ["sink=crm&sink=ops", 8],
    [`run_id=${V1}`, 2],
    ["state=pending", 8],
    ["state=dead&state=delivered", 0],
    [`since=${minute(4)}`, 2],
    [`until=${minute(1)}`, 2],
  ])("GET /v1/deliveries?%s finds %i deliveries", async (query, count) => {
    const relay = await someRuns();
    expect((await relay.read<Page>(`/v1/deliveries?${query}`)).data).toHaveLength(count);
  });

  it.each(["", `run_id=${V1}&`])(
    "GET /v1/deliveries?%s pages through all that fit, newest first, each once",
    async (filter) => {
      const relay = await someRuns();
      const all = (await relay.read<Page>(`/v1/deliveries?${filter}`)).data.map(({ id }) => id);
      const seen: unknown[] = [];
      let cursor: string | null = "";
      while (cursor !== null) {
        const page: Page = await relay.read<Page>(
          `/v1/deliveries?${filter}limit=1${cursor === "" ? "" : `&cursor=${cursor}`}`,
        );
        seen.push(...page.data.map(({ id }) => id));
        cursor = page.next_cursor;
      }
      expect(seen).toEqual(all);
    },
  );

  it.each([
    ["state=lost", "state"],
    ["limit=-1", "limit"],
    ["cursor=!", "cursor"],
    ["status=failed", "status"],
    ["since=2026-01-02&until=2026-01-01", "since"],
  ])("GET /v1/deliveries?%s is answered 400 and names %s", async (query, parameter) => {
    const relay = await anApp();
    const answer = await relay.get(`/v1/deliveries?${query}`);
    expect([answer.status, answer.json<Problem>().errors?.map((error) => error.parameter)]).toEqual([400, [parameter]]);
  });
});

describe("POST /v1/runs/{run_id}/redeliver", () => {
  async function aToldRun(): Promise<TestApp> {
    const relay = await anApp({}, { standIns: ["http", "slack"] });
    await relay.webhook(aRun("tsk_1"));
    await relay.deliver();
    return relay;
  }

  it("POST /v1/runs/{run_id}/redeliver sends the run again to every sink it was meant for, under new ids", async () => {
    const relay = await aToldRun();

    const answer = await relay.post("/v1/runs/tsk_1/redeliver");
    await relay.deliver();

    expect(answer.status).toBe(202);
    const { data } = answer.json<Page>();
    expect(data.map(({ sink, cause, state, revision }) => [sink, cause, state, revision])).toEqual([
      ["slack", "redelivery", "pending", 1],
      ["http", "redelivery", "pending", 1],
    ]);
    const ids = relay.standIns.http.requests.map(({ headers }) => headers["webhook-id"]);
    expect(new Set(ids).size).toBe(2);
    expect(data.map(({ id }) => id)).toContain(ids[1]);
  });

  it.each([undefined, {}, "", "{}"])(
    "POST /v1/runs/{run_id}/redeliver with the body %j means every sink",
    async (body) => {
      const relay = await aToldRun();
      expect((await relay.post("/v1/runs/tsk_1/redeliver", body)).json<Page>().data).toHaveLength(2);
    },
  );

  it("POST /v1/runs/{run_id}/redeliver sends the run to the named sinks only, also to one it was not meant for", async () => {
    const relay = await anApp(
      {},
      {
        file: "sinks: { a: { kind: http, url: https://a.example/ }, b: { kind: http, url: https://b.example/ } }\nroutes: [{ to: [a] }]",
      },
    );
    await relay.webhook(aRun("tsk_1"));

    const answer = await relay.post("/v1/runs/tsk_1/redeliver", { sinks: ["b"] });

    expect(answer.status).toBe(202);
    expect(answer.json<Page>().data.map(({ sink }) => sink)).toEqual(["b"]);
  });

  it("POST /v1/runs/{run_id}/redeliver to an unknown sink is answered 400, names it, and sends nothing", async () => {
    const relay = await aToldRun();
    const answer = await relay.post("/v1/runs/tsk_1/redeliver", { sinks: ["http", "nobody"] });
    expect(answer.status).toBe(400);
    expect(answer.json<Problem>().errors).toEqual([{ parameter: "sinks", message: 'there is no sink "nobody"' }]);
    expect((await relay.read<Page>("/v1/deliveries")).data).toHaveLength(2);
  });

  it("POST /v1/runs/{run_id}/redeliver of an unknown run is answered 404", async () => {
    const relay = await aToldRun();
    expect((await relay.post("/v1/runs/tsk_2/redeliver", {})).status).toBe(404);
  });

  it("POST /v1/runs/{run_id}/redeliver of a run that is not final is answered 409, as it is never delivered as an outcome", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    await relay.webhook(aRun("tsk_1", { status: "running" }));
    for (const body of [undefined, { sinks: ["http"] }]) {
      expect((await relay.post("/v1/runs/tsk_1/redeliver", body)).status).toBe(409);
    }
    expect((await relay.read<Page>("/v1/deliveries")).data).toEqual([]);
  });

  it("POST /v1/runs/{run_id}/redeliver of a run that no route matched is answered 409 and asks for the sinks", async () => {
    const relay = await anApp(
      {},
      {
        file: "sinks: { a: { kind: http, url: https://a.example/ } }\nroutes: [{ when: { status: failed }, to: [a] }]",
      },
    );
    await relay.webhook(aRun("tsk_1"));
    expect((await relay.post("/v1/runs/tsk_1/redeliver")).status).toBe(409);
    expect((await relay.post("/v1/runs/tsk_1/redeliver", { sinks: ["a"] })).status).toBe(202);
  });

  it.each([
    ["{", "body"],
    ["[]", "body"],
    ["null", "body"],
    ['{"sinks":"http"}', "sinks"],
    ['{"sinks":[]}', "sinks"],
    ['{"sinks":[1]}', "sinks"],
    ['{"sink":["http"]}', "sink"],
  ])("POST /v1/runs/{run_id}/redeliver with the body %s is answered 400 and names %s", async (body, parameter) => {
    const relay = await aToldRun();
    const answer = await relay.post("/v1/runs/tsk_1/redeliver", body);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([400, "application/problem+json"]);
    expect(answer.json<Problem>().errors).toEqual([
      { parameter, message: expect.stringMatching(/^(must be|there is no)/) as string },
    ]);
    expect((await relay.read<Page>("/v1/deliveries")).data).toHaveLength(2);
  });

  it.each(["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8", "APPLICATION/JSON"])(
    "POST /v1/runs/{run_id}/redeliver reads a body that its client calls %s, rather than send to every sink",
    async (type) => {
      const relay = await aToldRun();
      const response = await relay.app.fetch(
        new Request("http://relay.test/v1/runs/tsk_1/redeliver", {
          method: "POST",
          headers: { authorization: `Bearer ${TOKEN}`, "content-type": type },
          body: '{"sinks":["http"]}',
        }),
      );
      expect(((await response.json()) as Page).data.map(({ sink }) => sink)).toEqual(["http"]);
    },
  );
});

describe("POST /v1/redeliver", () => {
  it.each([
    ["{", "body"],
    ["", "body"],
    ['{"state":"lost"}', "state"],
    ['{"since":"soon"}', "since"],
    ['{"since":"2026-01-02","until":"2026-01-01"}', "since"],
    ['{"sink":"nobody"}', "sink"],
    ['{"all":true}', "all"],
    ['{"dry_run":"yes"}', "dry_run"],
    ["[]", "body"],
    ["null", "body"],
  ])("POST /v1/redeliver with the body %j is answered 400 and names %s", async (body, parameter) => {
    const relay = await anApp({}, { standIns: ["http"] });
    const answer = await relay.post("/v1/redeliver", body);
    expect([answer.status, answer.json<Problem>().errors?.map((error) => error.parameter)]).toEqual([400, [parameter]]);
  });
});

it("GET /v1/runs/{run_id} shows a corrected run as it is now, with both deliveries", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  await relay.webhook(
    mutated("task_v2.failed", { finished_at: "2026-08-21T13:00:00", modified_at: "2026-08-21T13:00:00" }),
  );
  await relay.deliver();
  const answer = await relay.webhook(
    mutated("task_v2.failed", { status: "completed", failure_reason: null, failure_category: null }),
  );
  await relay.deliver();

  expect(answer.json()["result"]).toBe("corrected");
  expect(await relay.read("/v1/runs/tsk_v2_565361790411551118")).toMatchObject({
    status: "completed",
    failure: null,
    revision: 2,
    deliveries: [
      { cause: "result", revision: 1, state: "delivered" },
      { cause: "correction", revision: 2, state: "delivered" },
    ],
    receipts: [{ verdict: "accepted" }, { verdict: "corrected" }],
  });
});
