import { describe, expect, it } from "vitest";
import { parseJson, type JsonObject } from "../../src/platform/json.ts";
import { createHistory, type HistoryDeps } from "../../src/http/api/history.ts";
import { anApp, aListeningApp, type TestApp } from "../support/app.ts";
import { fixtureBytes, mutated } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";
import { rawConnection } from "../support/raw-http.ts";
import { until } from "../support/until.ts";

const aRun = (id: string, values: Record<string, unknown> = {}): string =>
  JSON.stringify({ run_id: id, status: "completed", ...values });

/** Reads CSV as RFC 4180 says; no more forgiving than that. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [];
  let at = 0;
  while (at < text.length) {
    const row: string[] = [];
    for (;;) {
      let cell = "";
      if (text[at] === '"') {
        for (at += 1; ;) {
          const end = text.indexOf('"', at);
          if (end < 0) throw new Error("a quote is never closed");
          cell += text.slice(at, end);
          at = end + 1;
          if (text[at] !== '"') break;
          cell += '"';
          at += 1;
        }
      } else {
        const end = at + text.slice(at).search(/[,\r\n"]/);
        cell = text.slice(at, end);
        at = end;
      }
      row.push(cell);
      if (text[at] === ",") at += 1;
      else if (text.startsWith("\r\n", at)) {
        at += 2;
        break;
      } else throw new Error(`expected , or CRLF at ${JSON.stringify(text.slice(at, at + 20))}`);
    }
    rows.push(row);
  }
  return rows;
}

const table = (text: string): Record<string, string>[] => {
  const [header = [], ...rows] = readCsv(text);
  return rows.map((row) => {
    expect(row).toHaveLength(header.length);
    return Object.fromEntries(header.map((name, i) => [name, row[i] ?? ""]));
  });
};

async function someRuns(): Promise<TestApp> {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime });
  for (const name of ["task_v1.failed", "task_v2.completed-unicode-and-numbers", "workflow_run.completed"]) {
    await relay.webhook(fixtureBytes(name), { path: "/webhook/billing" });
    runtime.advance(1_000);
  }
  return relay;
}

describe("GET /v1/runs.ndjson", () => {
  it("GET /v1/runs.ndjson has a line for each run that fits, as the list has it, numbers digit for digit", async () => {
    const relay = await someRuns();
    const answer = await relay.get("/v1/runs.ndjson?status=completed&channel=billing");
    expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = answer.text.split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      (await relay.read("/v1/runs?status=completed&channel=billing"))["data"],
    );
    expect(answer.text).toContain("10000000000000000000000");
    expect(answer.text).toContain("1e-07");
  });

  it("GET /v1/runs.ndjson holds more runs than any page, each once, while others arrive", async () => {
    const relay = await anApp();
    for (let i = 0; i < 230; i++) await relay.webhook(aRun(`tsk_${i}`));
    const response = await relay.app.fetch(new Request("http://relay.test/v1/runs.ndjson", { headers: bearer }));
    const reader = response.body?.getReader();
    let text = "";
    for (let n = 0; ; n++) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) break;
      text += new TextDecoder().decode(value);
      await relay.webhook(aRun(`tsk_new_${n}`));
    }
    const ids = text
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { run_id: string }).run_id);
    expect(ids).toHaveLength(230);
    expect(new Set(ids).size).toBe(230);
    expect(ids.some((id) => id.includes("new"))).toBe(false);
  });

  it("GET /v1/runs.ndjson is empty when no run fits", async () => {
    const relay = await someRuns();
    expect((await relay.get("/v1/runs.ndjson?status=nothing")).text).toBe("");
  });
});

const bearer = { authorization: "Bearer a-token-of-the-tests" };

describe("GET /v1/runs.csv", () => {
  it("GET /v1/runs.csv has a header, one line a run, and the values of the list", async () => {
    const relay = await someRuns();
    const answer = await relay.get("/v1/runs.csv?q=tsk*&status=failed");
    expect(answer.headers.get("content-type")).toBe("text/csv; charset=utf-8; header=present");
    const { data } = parseJson((await relay.get("/v1/runs?status=failed")).text) as { data: JsonObject[] };
    const [run] = data;
    const rows = table(answer.text);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      run_id: run?.["run_id"],
      status: "failed",
      channel: "billing",
      step_count: String(run?.["step_count"]),
      received_at: run?.["received_at"],
      duration_ms: String(run?.["duration_ms"]),
      failure_reason: (run?.["failure"] as JsonObject | undefined)?.["reason"],
      failure_codes: "REACH_MAX_RETRIES OTP_TIMEOUT",
    });
  });

  it("GET /v1/runs.csv has the header alone when no run fits", async () => {
    const relay = await someRuns();
    const rows = readCsv((await relay.get("/v1/runs.csv?status=nothing")).text);
    expect(rows).toHaveLength(1);
    expect(rows[0]?.slice(0, 4)).toEqual(["run_id", "run_type", "kind", "status"]);
  });

  it("GET /v1/runs.csv writes an output as JSON, digit for digit, whatever is in it", async () => {
    const relay = await anApp();
    await relay.webhook(
      '{"run_id":"tsk_1","status":"completed","output":{"a":"x,\\"y\\"\\r\\nz","n":12345678901234567890}}',
    );
    const [row] = table((await relay.get("/v1/runs.csv")).text);
    expect(row?.["output"]).toBe('{"a":"x,\\"y\\"\\r\\nz","n":12345678901234567890}');
  });

  it.each([
    "=1+1",
    '=HYPERLINK("https://evil.example","x")',
    "+1",
    "-1+1|cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "=1\r\n=2",
    // Full width, which some spreadsheets read as the plain ones.
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
  ])("a cell of GET /v1/runs.csv that begins as %j is no formula", async (hostile) => {
    const relay = await anApp();
    await relay.webhook(mutated("task_v2.completed", { summary: hostile, prompt: hostile }), { path: "/webhook/-1" });
    const { text } = await relay.get("/v1/runs.csv");
    const [row] = table(text);
    expect(row).toMatchObject({ summary: `'${hostile}`, channel: "'-1" });
    for (const cell of readCsv(text).flat()) expect(cell).not.toMatch(/^[=+\-@\t\r\n＝＋－＠]/);
  });

  it.each(["x".repeat(40_000), "=1".repeat(20_000), "🎉".repeat(20_000), `x${"🎉".repeat(20_000)}`])(
    "GET /v1/runs.csv cuts what Excel cannot hold, and says so, between two characters",
    async (long) => {
      const relay = await anApp();
      const exact = "y".repeat(32_767);
      await relay.webhook(mutated("task_v2.completed", { summary: long, prompt: exact, output: { long } }));
      const [row] = table((await relay.get("/v1/runs.csv")).text);
      const { summary = "", output = "", prompt } = row ?? {};
      for (const cell of [summary, output]) {
        expect(cell.length).toBeLessThanOrEqual(32_767);
        expect(cell).toMatch(/… \[cut: 400\d\d characters\]$/);
        expect(cell.isWellFormed()).toBe(true);
      }
      expect(long.replace(/^=/, "'=").startsWith(summary.slice(0, 32_700))).toBe(true);
      expect(prompt).toBe(exact);
      expect((await relay.get("/v1/runs.ndjson")).text).toContain(long);
    },
  );

  it("GET /v1/runs.csv has a byte order mark when it is asked for, and not otherwise", async () => {
    const relay = await someRuns();
    const bytes = async (query: string) =>
      Buffer.from(
        await (
          await relay.app.fetch(new Request(`http://relay.test/v1/runs.csv${query}`, { headers: bearer }))
        ).arrayBuffer(),
      );
    const [plain, no, marked] = [await bytes(""), await bytes("?bom=0"), await bytes("?bom=1&status=failed")];
    expect([plain.toString("utf8", 0, 7), no.equals(plain)]).toEqual(["run_id,", true]);
    expect([marked.toString("hex", 0, 3), marked.toString("utf8", 3, 10)]).toEqual(["efbbbf", "run_id,"]);
    expect((await relay.get("/v1/runs.csv?bom=yes")).json()["errors"]).toEqual([
      { parameter: "bom", message: "must be 0 or 1" },
    ]);
    expect((await relay.get("/v1/runs.ndjson?bom=1")).status).toBe(400);
  });

  it("GET /v1/runs.csv leaves ordinary text as it is, in any script", async () => {
    const relay = await anApp();
    const summary = 'Über "1.234,50 €" 東京 🎉, a=b';
    await relay.webhook(mutated("task_v2.completed", { summary }));
    expect(table((await relay.get("/v1/runs.csv")).text)[0]?.["summary"]).toBe(summary);
  });
});

describe.each(["csv", "ndjson"])("the file as .%s", (ending) => {
  it("an export is a download under a name that has the time and nothing of the query", async () => {
    const relay = await someRuns();
    const { headers } = await relay.get(`/v1/runs.${ending}?channel=${encodeURIComponent('"; filename="x.exe')}`);
    expect(headers.get("content-disposition")).toBe(`attachment; filename="skyvern-runs-20260823100003.${ending}"`);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  });

  it.each([
    ["limit=5", "limit"],
    ["cursor=x", "cursor"],
    ["q=*", "q"],
    ["since=soon", "since"],
    ["stauts=failed", "stauts"],
  ])("an export with ?%s is answered 400 and names %s", async (query, parameter) => {
    const relay = await anApp();
    const answer = await relay.get(`/v1/runs.${ending}?${query}`);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([400, "application/problem+json"]);
    expect(answer.json<{ errors: { parameter: string }[] }>().errors.map((error) => error.parameter)).toEqual([
      parameter,
    ]);
  });

  it("an export needs the token", async () => {
    const relay = await anApp();
    expect((await relay.get(`/v1/runs.${ending}`, { authorization: "" })).status).toBe(401);
  });

  it("an export is read from the database only as far as its reader reads", async () => {
    const relay = await anApp();
    for (let i = 0; i < 160; i++) await relay.webhook(aRun(`tsk_${i}`));
    let pages = 0;
    const runs: typeof relay.app.store.runs = (filter, page) => {
      pages += 1;
      return relay.app.store.runs(filter, page);
    };
    const links = { run: (id: string) => id, artifact: (id: string) => id };
    const parts = { store: { runs }, links, runtime: aRuntime() } as unknown as HistoryDeps;
    const response = await createHistory(parts).request(`/runs.${ending}`);
    const reader = response.body?.getReader();
    expect(pages).toBe(0);
    const first = new TextDecoder().decode((await reader?.read())?.value);
    if (ending === "csv") await reader?.read();
    expect(first).toContain("run_id");
    expect(pages).toBe(1);
    await reader?.cancel();
    expect(pages).toBe(1);
    // To its end it takes four.
    await (await createHistory(parts).request(`/runs.${ending}`)).text();
    expect(pages).toBe(5);
  });
});

it("an export stops reading when its client goes away", async () => {
  const relay = await aListeningApp();
  const output = { filler: "x".repeat(100_000) };
  for (let i = 0; i < 300; i++) await relay.webhook(aRun(`tsk_${i}`, { output }));
  const store = relay.app.store as { runs: typeof relay.app.store.runs };
  const { runs } = store;
  let pages = 0;
  store.runs = (filter, page) => {
    pages += 1;
    return runs(filter, page);
  };
  const connection = await rawConnection(relay.port);
  connection.write(`GET /v1/runs.ndjson HTTP/1.1\r\nhost: relay\r\nauthorization: ${bearer.authorization}\r\n\r\n`);
  await until("the first page was read", () => pages > 0);
  connection.socket.pause();
  connection.socket.destroy();
  await connection.closed;
  const seen = pages;
  // Another request later, whatever was under way has ended.
  for (let i = 0; i < 20; i++) await relay.read("/v1/sinks");
  expect(pages).toBeLessThanOrEqual(seen + 1);
  expect(pages).toBeLessThan(6);
});
