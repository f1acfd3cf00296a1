import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { slowSearch } from "../../src/http/api/schemas.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { fixtureBytes, mutated } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";

interface Page {
  data: { run_id: string }[];
  next_cursor: string | null;
}
interface Problem {
  errors?: { parameter: string; message: string }[];
}

const V2 = "tsk_v2_565346328529285494";
const idsOf = ({ data }: Page): string[] => data.map(({ run_id }) => run_id);
const q = (text: string): string => `/v1/runs?q=${encodeURIComponent(text)}`;
const aRun = (id: string, values: Record<string, unknown> = {}): string =>
  JSON.stringify({ run_id: id, status: "completed", ...values });

async function someRuns(): Promise<TestApp> {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime });
  for (const body of [
    fixtureBytes("task_v2.completed"),
    fixtureBytes("task_v2.completed-unicode-and-numbers"),
    fixtureBytes("workflow_run.completed"),
    fixtureBytes("task_v2.failed"),
    aRun("tsk_order", { output: { order: "PO-4711/B", total: 1250.5 } }),
  ]) {
    await relay.webhook(body);
    runtime.advance(1_000);
  }
  return relay;
}

describe("GET /v1/runs?q=", () => {
  it.each([
    [V2, [V2]],
    ["565346328529285494", [V2]],
    ["tsk_v2_5653463*", [V2]],
    ["PO-4711/B", ["tsk_order"]],
    ["po 4711", ["tsk_order"]],
    ["1250.5", ["tsk_order"]],
    ["PO-471", []],
    ["10000000000000000000000", ["tsk_v2_565439099822879190"]],
    ["10000000000000000000001", []],
    ["no such words anywhere", []],
  ])("GET /v1/runs?q= finds by %s the runs %j", async (text, ids) => {
    const relay = await someRuns();
    expect(idsOf(await relay.read<Page>(q(text)))).toEqual(ids);
  });

  it("GET /v1/runs?q= may be combined with every other filter, and with a cursor", async () => {
    const relay = await someRuns();
    const all = await relay.read<Page>(`${q("tsk")}&run_type=task_v2`);
    expect(all.data.length).toBeGreaterThan(2);

    const first = await relay.read<Page>(`${q("tsk")}&run_type=task_v2&limit=1`);
    await relay.webhook(aRun("tsk_v2_new", { run_type: "task_v2" }));
    const second = await relay.read<Page>(`${q("tsk")}&run_type=task_v2&limit=200&cursor=${first.next_cursor}`);

    expect([...idsOf(first), ...idsOf(second)]).toEqual(idsOf(all));
    expect(idsOf(await relay.read<Page>(`${q("tsk")}&status=failed&run_type=task_v2`))).toEqual([
      "tsk_v2_565361790411551118",
    ]);
    expect(idsOf(await relay.read<Page>(`${q("tsk")}&since=2030-01-01`))).toEqual([]);
  });

  it("GET /v1/runs?q= finds a correction by its words, and no more by what the run said before", async () => {
    const relay = await anApp();
    await relay.webhook(mutated("task_v2.failed", { failure_reason: "Zanzibar was closed" }));
    expect(idsOf(await relay.read<Page>(q("zanzibar")))).toHaveLength(1);
    await relay.webhook(
      mutated("task_v2.failed", {
        status: "completed",
        failure_reason: null,
        summary: "Mombasa was open",
        finished_at: "2026-08-21T23:00:00",
        modified_at: "2026-08-21T23:00:00",
      }),
    );
    expect(idsOf(await relay.read<Page>(q("zanzibar")))).toEqual([]);
    expect(idsOf(await relay.read<Page>(q("mombasa")))).toHaveLength(1);
  });

  it("GET /v1/runs?q= asks for another letter where over 100 words begin so, and with it finds what begins so", async () => {
    const relay = await anApp();
    const codes = Array.from({ length: 101 }, (_none, i) => `żab${String.fromCodePoint(0x61 + (i % 26))}${i}`);
    await relay.webhook(aRun("tsk_many", { output: { codes } }));
    expect(idsOf(await relay.read<Page>(q("tsk_many")))).toEqual(["tsk_many"]);
    const answer = await relay.get(q("Żab*"));
    expect(answer.status).toBe(400);
    expect(answer.json<Problem>().errors).toEqual([
      { parameter: "q", message: 'asks for more than 100 words that begin with "zab": add a letter' },
    ]);
    expect(idsOf(await relay.read<Page>(q("ŻABA*")))).toEqual(["tsk_many"]);
  });

  it.each(["", "   ", "***", '"', "in*", "()", "x ".repeat(11), "a".repeat(501)])(
    "GET /v1/runs?q= of %j is answered 400 with a problem that names q",
    async (text) => {
      const relay = await anApp();
      const answer = await relay.get(q(text));
      expect([answer.status, answer.json<Problem>().errors?.map((error) => error.parameter)]).toEqual([400, ["q"]]);
    },
  );

  it.each([
    '"unclosed',
    "a AND",
    "NOT",
    "a OR b NEAR(c, 5)",
    "words: a",
    "{words}: a",
    "a + b",
    "^a",
    "a*bcd*",
    "a\0b",
    "'; drop table runs --",
    "\ud800 lone",
    "🎉 party",
    `${"(".repeat(200)}a`,
    "a:b:c",
    "-a",
    '""a""',
  ])("GET /v1/runs?q= takes %j as text like any other", async (text) => {
    const relay = await someRuns();
    const answer = await relay.get(q(text.toWellFormed()));
    expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"data"')]);
  });
});

it("GET /v1/runs?q= answers 400 to a faulty search, and says what is wrong with q", async () => {
  const asked: unknown[] = [];
  const store = {
    searchFault: async (search: unknown) => {
      asked.push(search);
      return "asks for too many words: add a letter";
    },
  };
  const search = [{ words: ["inv"], prefix: true }];
  const app = new Hono();
  app.get("/text", async (c) => (await slowSearch(c, store, search)) ?? c.text("fine"));
  app.get("/none", async (c) => (await slowSearch(c, store, undefined)) ?? c.text("fine"));
  const answer = await app.request("/text");
  expect([answer.status, ((await answer.json()) as Problem).errors]).toEqual([
    400,
    [{ parameter: "q", message: "asks for too many words: add a letter" }],
  ]);
  expect(await (await app.request("/none")).text()).toBe("fine");
  expect(asked).toEqual([search]);
});
