import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { lookOf } from "../../src/domain/status-look.ts";
import { buildContent } from "../../src/sinks/content.ts";
import { renderMail } from "../../src/sinks/email/render.ts";
import { sampleCommand } from "../../src/web/runs/page.ts";
import { fixtureJson } from "../support/fixtures.ts";
import { aReport } from "../sinks/a-report.ts";
import { aReader, aRelay, aTask, HOST, KEY, type Reader, type Relay } from "./relay.ts";

let relay: Relay;
let reader: Reader;
beforeEach(async () => {
  relay = await aRelay();
  reader = await aReader(relay);
});
afterEach(() => relay.close());

const textOf = (html: string): string =>
  html
    .replace(/<[^>]*>/g, " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&gt;", ">")
    .replaceAll("&lt;", "<")
    .replaceAll("&amp;", "&")
    .replace(/\s+/g, " ");

const linksTo = (html: string, path: RegExp): string[] =>
  [...html.matchAll(/href="([^"]+)"/g)]
    .map(([, href]) => (href ?? "").replaceAll("&amp;", "&"))
    .filter((href) => path.test(href));

describe("a download of runs", () => {
  test("a download of runs has the runs of the filter, and the byte order mark that Excel needs", async () => {
    for (const id of ["tsk_1", "tsk_2"]) await relay.webhook(aTask({ run_id: id, task_id: id }), `/webhook/${id}`);
    const [href = ""] = linksTo(await reader.page("/?channel=tsk_2"), /csv/);
    expect(href).toBe("/runs.csv?channel=tsk_2");
    const answer = await reader.get(href);
    expect(answer.headers.get("content-disposition")).toMatch(/^attachment; filename="skyvern-runs-\d{14}\.csv"$/);
    const text = Buffer.from(await answer.arrayBuffer()).toString();
    expect(text).toMatch(/^\uFEFFrun_id,.*\r\ntsk_2,.*\r\n$/);
  });

  test("a download of runs needs a session, and says what is wrong with its address", async () => {
    expect((await relay.request("/runs.csv")).status).toBe(303);
    const wrong = await reader.get("/runs.csv?since=soon&stauts=failed");
    expect([wrong.status, textOf(await wrong.text())]).toEqual([400, expect.stringContaining("stauts")]);
  });
});

describe("with nothing received", () => {
  test("the list of an empty relay says which address to give to Skyvern and how to send a sample", async () => {
    const text = textOf(await reader.page("/"));
    expect(text).toContain(`${HOST}/webhook`);
    expect(text).toContain("openssl dgst -sha256 -hmac");
  });

  test("the sample on the list of an empty relay is a command that the relay accepts", async () => {
    const { port } = await relay.start();
    const env = { PATH: process.env["PATH"] ?? "", SKYVERN_API_KEY: KEY };
    const { stdout } = await promisify(execFile)("sh", ["-c", sampleCommand(`http://127.0.0.1:${port}`)], { env });
    expect(JSON.parse(stdout)).toMatchObject({ result: "accepted" });
    expect(textOf(await reader.page("/"))).toContain("tsk_sample_");
  });

  test("the other pages of an empty relay say that there is nothing, and why", async () => {
    expect(textOf(await reader.page("/deliveries?state=dead"))).toContain("No dead deliveries");
    expect(textOf(await reader.page("/unrecognized"))).toContain(
      "The relay recognized every webhook that it received.",
    );
    expect(textOf(await reader.page("/sinks"))).toContain("Nothing was sent here yet.");
    const sinkless = await aRelay({ env: { SINK_URL: undefined } });
    expect(textOf(await (await aReader(sinkless)).page("/sinks"))).toContain("No sink is configured");
    await sinkless.close();
  });

  test("an unknown run is not found, and the page says what may have happened", async () => {
    const answer = await reader.get("/runs/tsk_none");
    expect(answer.status).toBe(404);
    const page = await answer.text();
    expect(textOf(page)).toContain("The relay does not know this run tsk_none Its id may be mistyped");
    expect(textOf(page)).toContain(`started with the webhook address ${HOST}/webhook .`);
    expect(page).toContain("<code>skyvern-relay backfill --since 1d</code>");
    expect(page).toContain('<a class="button" href="/">All runs</a>');
  });
});

describe("the list of runs", () => {
  const send = async (n: number) => {
    for (let i = 1; i <= n; i++) {
      await relay.webhook(aTask({ run_id: `tsk_v2_${i}`, task_id: `tsk_v2_${i}`, prompt: `Number ${i}.` }));
    }
  };

  test("the list of runs is newest first, and its pages hold every run once, also when runs arrive meanwhile", async () => {
    await send(120);
    const seen: string[] = [];
    let next: string | undefined = "/";
    while (next !== undefined) {
      const html: string = await reader.page(next);
      seen.push(...linksTo(html, /^\/runs\//));
      [next] = linksTo(html, /[?&]after=/);
      if (seen.length === 50) await relay.webhook(aTask({ run_id: "tsk_v2_new", task_id: "tsk_v2_new" }));
    }
    expect(seen).toEqual(Array.from({ length: 120 }, (_, i) => `/runs/tsk_v2_${120 - i}`));
  });

  test("the list of runs keeps the filters in the address of the next page", async () => {
    await send(60);
    const [older = ""] = linksTo(await reader.page("/?run_type=task_v2&channel="), /after=/);
    expect(older).toMatch(/^\/\?run_type=task_v2&after=/);
    expect(linksTo(await reader.page(older), /^\/runs\//)).toHaveLength(10);
  });

  test("the list of runs filters by status, type, workflow, channel, sink, delivery and time, and by several values", async () => {
    await relay.webhook(aTask({ run_id: "tsk_a", task_id: "tsk_a", status: "failed", run_type: "task_v1" }));
    await relay.webhook(aTask({ run_id: "tsk_b", task_id: "tsk_b", status: "timed_out" }), "/webhook/invoices");
    await relay.webhook(
      aTask({
        run_id: "wr_c",
        workflow_title: "Invoices",
        workflow_run_id: "wr_c",
        workflow_permanent_id: "wpid_1",
        run_type: "workflow_run",
      }),
    );
    await relay.app.deliverDue();
    await relay.webhook(aTask({ run_id: "tsk_d", task_id: "tsk_d" }));
    const shown = async (query: string) =>
      linksTo(await reader.page(`/?${query}`), /^\/runs\//)
        .map((href) => href.slice(6))
        .sort();
    expect(await shown("status=failed&status=timed_out")).toEqual(["tsk_a", "tsk_b"]);
    expect(await shown("run_type=task_v1")).toEqual(["tsk_a"]);
    expect(await shown("workflow=Invoices")).toEqual(["wr_c"]);
    expect(await shown("channel=invoices")).toEqual(["tsk_b"]);
    expect(await shown("sink=http&delivery=pending")).toEqual(["tsk_d"]);
    expect(await shown("delivery=delivered")).toEqual(["tsk_a", "tsk_b", "wr_c"]);
    expect(await shown("since=2026-01-20T12:00&until=2026-01-20T12:01")).toHaveLength(4);
    expect(await shown("since=2026-01-21")).toEqual([]);
    expect(await shown("until=2026-01-20T12:00:00%2B01:00")).toEqual([]);
  });

  test("/runs leads to the list with its filters", async () => {
    const answer = await reader.get("/runs?status=failed&q=a%26b");
    expect([answer.status, answer.headers.get("location")]).toEqual([303, "/?status=failed&q=a%26b"]);
  });

  test("the list of runs says so when no run fits, and shows the way back", async () => {
    await send(1);
    const html = await reader.page("/?status=canceled");
    expect(textOf(html)).toContain("No run was received that fits these filters.");
    expect(html).not.toContain("openssl");
  });

  test.each([
    ["color=red", "color there is no such filter"],
    ["since=yesterday", "since must be a time like 2026-01-20"],
    ["since=2026-01-21&until=2026-01-20", "since must not be after until"],
    ["delivery=lost", "delivery must be one of pending"],
    ["after=here", "after is not a position in this list"],
  ])("the list of runs names what is wrong with ?%s", async (query, said) => {
    await send(1);
    const answer = await reader.get(`/?${query}`);
    expect(answer.status).toBe(400);
    expect(textOf(await answer.text())).toContain(said);
  });

  test("the list of runs shows where each was delivered, with what the newest delivery came to", async () => {
    relay.sinkAnswers.push(400);
    await relay.webhook(aTask());
    expect(textOf(await reader.page("/"))).toContain("http pending");
    await relay.app.deliverDue();
    expect(textOf(await reader.page("/"))).toContain("http dead");
    await reader.post("/runs/tsk_v2_1/redeliver");
    await relay.app.deliverDue();
    expect(textOf(await reader.page("/"))).toContain("http delivered");
  });
});

describe("the page of a run", () => {
  test("the page of a run shows outcome, output, numbers digit for digit, where it was delivered, and the story in order", async () => {
    const payload = JSON.stringify(aTask({ output: { total: "BIG", rate: 1 } })).replace(
      '"BIG"',
      "12345678901234567890",
    );
    await relay.webhook(payload, "/webhook/invoices");
    await relay.webhook(payload, "/webhook/invoices");
    await relay.app.deliverDue();
    const text = textOf(await reader.page("/runs/tsk_v2_1"));
    for (const said of [
      "Completed",
      "Read the invoice",
      "Two invoices.",
      "12345678901234567890",
      "invoices",
      "2 min 20 s",
      "status: 200",
    ])
      expect(text).toContain(said);
    expect(text).toContain("The same bytes came 2 times");
    const story = [
      "Run created",
      "Queued",
      "Started",
      "Finished",
      "Result accepted",
      "Route default matched",
      "Queued for http (http)",
      "Delivered to http (attempt 1",
    ];
    const places = story.map((said) => text.indexOf(said, text.indexOf("Technical story")));
    expect(places).not.toContain(-1);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(await (await reader.get("/runs/tsk_v2_1/output.json")).text()).toBe(
      '{"total":12345678901234567890,"rate":1}',
    );
  });

  test("a web page in a run's output and in its reason is read as its text, in the list and once on the run's page", async () => {
    const body = "<html><head><title>502 Bad Gateway</title></head><body><p>Away.</p></body></html>";
    const failed = fixtureJson("workflow_run.failed-attempt-2-final-1.0.56");
    await relay.webhook({
      ...failed,
      run_id: "wr_1",
      workflow_run_id: "wr_1",
      failure_reason: `http_request block failed. failure reason: HTTP 502: ${body}`,
      output: { rates_output: { status_code: 502, response_body: body }, extracted_information: [] },
    });
    expect(textOf(await reader.page("/"))).toContain("HTTP 502: 502 Bad Gateway Away.");
    const html = await reader.page("/runs/wr_1");
    expect(textOf(html)).toContain("Why it did not complete HTTP 502: 502 Bad Gateway Away.");
    // The raw answer stays in the tree and the JSON alone.
    const [seen = ""] = html.split(/<summary>(?:The whole output|Everything, as a tree)<\/summary>/);
    expect(seen).not.toContain("&lt;");
    expect(html).toContain("&lt;title&gt;502 Bad Gateway");
  });

  test("the page of a failed run shows its reason, codes, categories and Skyvern's own words", async () => {
    await relay.webhook(
      aTask({
        status: "failed",
        output: null,
        failure_reason: "The list never loaded.",
        errors: [{ error_code: "REACH_MAX_RETRIES", reasoning: "Too many retries." }],
        failure_category: [{ category: "PAGE_LOAD_TIMEOUT", confidence_float: 0.8 }],
      }),
    );
    const text = textOf(await reader.page("/runs/tsk_v2_1"));
    for (const said of [
      "Failed",
      "The list never loaded.",
      "Error code: REACH_MAX_RETRIES",
      "Category: Page load timeout",
      "Too many retries.",
    ])
      expect(text).toContain(said);
    expect(text).not.toContain("no output");
  });

  test.each(["completed", "failed", "terminated", "timed_out", "canceled"])(
    "a run that is %s has the same colour in the list, on its page and in mail",
    async (status) => {
      await relay.webhook(aTask({ status }));
      const { tone } = lookOf(status);
      expect(await reader.page("/")).toMatch(new RegExp(`class="a-status"><span class="badge ${tone}">`));
      expect(await reader.page("/runs/tsk_v2_1")).toContain(`class="verdict"><span class="badge ${tone}">`);
      const report = aReport({ status });
      expect(renderMail(buildContent(report, "result"), report, { cause: "result", previous: null }).html).toContain(
        `<p class="${tone}"`,
      );
    },
  );

  test("the page of a completed run that had errors has its result first, and the errors after it", async () => {
    const errors = [{ error_code: "SLOW", reasoning: "The page was slow" }];
    await relay.webhook(aTask({ status: "completed", output: { total: 4 }, failure_reason: null, errors }));
    const html = await reader.page("/runs/tsk_v2_1");
    const text = textOf(html);
    expect(text).toMatch(/What came of it(?! until then).*total.*Errors on the way The page was slow Error code: SLOW/);
    expect(text).not.toContain("did not complete");
    expect(html).not.toContain("bad-card");
  });

  test("the page of a canceled run is not red, and that of a run of files shows a result", async () => {
    await relay.webhook(aTask({ status: "canceled", output: null }));
    const html = await reader.page("/runs/tsk_v2_1");
    expect(textOf(html)).toContain("Why it did not complete Skyvern gives no reason.");
    expect(html).not.toContain("bad-card");
    const file = { url: "https://files.example/a.pdf", filename: "a.pdf" };
    const given = { run_id: "tsk_v2_2", task_id: "tsk_v2_2", output: null, summary: null };
    await relay.webhook(aTask({ ...given, downloaded_files: [file] }));
    const text = textOf(await reader.page("/runs/tsk_v2_2"));
    expect(text).toContain("What came of it File a.pdf");
    expect(text).not.toContain("no output");
  });

  test("a file is named once, with its link, where the page says what came of the run", async () => {
    const downloaded_files = [{ url: "https://files.example/a.pdf", filename: "a.pdf", file_size: 193 }];
    const output = {
      get_output: { task_id: "tsk_1", status: "completed", extracted_information: null, downloaded_files },
    };
    await relay.webhook({
      ...fixtureJson("workflow_run.completed"),
      run_id: "wr_1",
      workflow_run_id: "wr_1",
      output: { read_output: { total: 3 }, ...output },
      downloaded_files,
    });
    const html = await reader.page("/runs/wr_1");
    const seen = textOf(html.slice(html.indexOf('id="output"'), html.indexOf("Everything, as a tree")));
    expect(seen).toContain("What came of it");
    expect(seen.match(/a\.pdf/g)).toEqual(["a.pdf"]);
    // A phone would part the size from its unit.
    expect(html).toContain("193\u00a0B");
    expect(html).toMatch(/<a href="\/artifacts\/wr_1\/[^"]+"[^>]*>a\.pdf<\/a\s*>/);
  });

  test("the page of a run that is not final says so and offers nothing to send", async () => {
    await relay.webhook(aTask({ status: "running", output: null }));
    const html = await reader.page("/runs/tsk_v2_1");
    expect(textOf(html)).toContain("Not final yet: stored");
    expect(textOf(html)).toMatch(/Running .* Type Task 2\.0/);
    expect(html).not.toContain("/redeliver");
    expect((await reader.post("/runs/tsk_v2_1/redeliver")).status).toBe(409);
  });

  test("the pictures of a run come through the relay, and only that run's", async () => {
    const screenshot = "https://api.skyvern.com/v1/artifacts/a_1/content?expiry=1&kid=k&sig=s";
    const payload = aTask({ screenshot_urls: [screenshot], recording_url: screenshot.replace("a_1", "a_2") });
    relay.skyvern.addRun({ payload: payload as never });
    await relay.webhook(payload);
    const html = await reader.page("/runs/tsk_v2_1");
    expect(html).toContain('src="/runs/tsk_v2_1/media/a_1"');
    expect(html).not.toContain("api.skyvern.com");
    const picture = await reader.get("/runs/tsk_v2_1/media/a_1");
    expect([picture.status, picture.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect(picture.headers.get("content-security-policy")).toContain("sandbox");
    expect((await picture.arrayBuffer()).byteLength).toBeGreaterThan(0);
    expect((await reader.get("/runs/tsk_v2_1/media/a_3")).status).toBe(404);
  });

  test("pictures and recording are not listed among the files as well", async () => {
    const screenshot = "https://api.skyvern.com/v1/artifacts/a_1/content?expiry=1&kid=k&sig=s";
    const payload = {
      ...aTask({ screenshot_urls: [screenshot], recording_url: screenshot.replace("a_1", "a_2") }),
      workflow_run_id: "wr_1",
    };
    const har = { artifact_id: "a_3", artifact_type: "har" };
    relay.skyvern.addRun({ payload: payload as never, artifacts: [har] });
    await relay.webhook(payload);
    await reader.post("/runs/tsk_v2_1/artifacts/refresh");
    expect(textOf(await reader.page("/runs/tsk_v2_1"))).toContain("1 other artifact har");
  });

  test("a recording that has no bytes is neither shown nor linked", async () => {
    const film = (id: string) => `https://api.skyvern.com/v1/artifacts/${id}/content?expiry=1&kid=k&sig=s`;
    const payload = { ...aTask({ status: "canceled", recording_url: film("a_2") }), workflow_run_id: "wr_1" };
    const empty = { artifact_id: "a_2", artifact_type: "recording", bytes: new Uint8Array() };
    relay.skyvern.addRun({ payload: payload as never, artifacts: [empty] });
    await relay.webhook(payload);
    expect(await reader.page("/runs/tsk_v2_1")).toContain("<video");

    await reader.post("/runs/tsk_v2_1/artifacts/refresh");

    const html = await reader.page("/runs/tsk_v2_1");
    expect(html).not.toContain("<video");
    expect(html).not.toContain("a_2");
    await relay.app.deliverDue();
    const { data } = JSON.parse(relay.sinkBodies.at(-1) ?? "") as { data: unknown };
    expect(data).toMatchObject({ recording_url: null, artifacts: [] });
  });

  test("a picture and a recording that are gone are answered with nothing, so that the page says so in words", async () => {
    const recording_url = "https://api.skyvern.com/v1/artifacts/a_2/content?sig=s";
    const screenshot_urls = ["https://api.skyvern.com/v1/artifacts/a_1/content?sig=s"];
    await relay.webhook(aTask({ screenshot_urls, recording_url }));
    for (const key of ["a_1", "a_2"]) {
      const answer = await reader.get(`/runs/tsk_v2_1/media/${key}`);
      expect([answer.status, await answer.text(), answer.headers.get("cache-control")]).toEqual([204, "", "no-store"]);
    }
  });

  test("the received bytes can be read and downloaded on the page of a run, as they were stored", async () => {
    await relay.webhook(aTask({ extra_http_headers: { authorization: "Bearer hidden" } }));
    const [receipt = ""] = linksTo(await reader.page("/runs/tsk_v2_1"), /\/receipts\//);
    const text = textOf(await reader.page(receipt));
    expect(text).toContain('"run_id":"tsk_v2_1"');
    expect(text).not.toContain("hidden");
    const raw = await reader.get(`${receipt}/raw`);
    expect(raw.headers.get("content-disposition")).toMatch(/^attachment/);
    expect(JSON.parse(await raw.text())).toMatchObject({ run_id: "tsk_v2_1" });
    expect((await reader.get(receipt.replace("tsk_v2_1", "tsk_other"))).status).toBe(404);
  });
});

describe("the page of a run that Skyvern tries again", () => {
  const body = (name: string): string =>
    readFileSync(new URL(`../fixtures/webhook.workflow_run.${name}-1.0.56.json`, import.meta.url), "utf8");

  test("the page of a run that Skyvern tries again says what is waited for, then has the table of its attempts", async () => {
    await relay.webhook(body("failed-retry-pending"));
    const list = textOf(await reader.page("/"));
    expect(list).toContain("Retrying");
    const html = await reader.page("/runs/wr_602137252455812824");
    expect(html).not.toContain("bad-card");
    const waiting = textOf(html);
    expect(waiting).toMatch(/Retrying Retry every attempt, .* Why the attempt did not complete HTTP 500/);
    expect(waiting).toContain("Attempt 1 ended as failed. Skyvern tries again at 2026-11-28 15:20:49 UTC");
    expect(waiting.split("Technical story")[0]?.match(/tries again/g)).toHaveLength(1);
    expect(waiting).toContain("Delivered to Live The result is delivered once the last attempt has ended.");
    expect(waiting).not.toContain("Redeliver");
    await relay.webhook(body("completed-attempt-2"));
    const text = textOf(await reader.page("/runs/wr_602137252455812824"));
    expect(text).toContain("Completed at the 2nd attempt");
    expect(text).not.toContain("s · attempt 2");
    expect(text).toMatch(
      /Attempts Failed Attempt 1 2026-11-28 15:20:04 UTC · 0\.2 s HTTP 500: .* Completed Attempt 2 2026-11-28 15:20:49 UTC/,
    );
    expect(text).toContain("Attempt 2 started");
  });

  test("the page of a run says a reason once that every attempt and its block share", async () => {
    await relay.webhook(body("failed-attempt-2-final"));
    const [seen = ""] = textOf(await reader.page("/runs/wr_602137252455812870")).split("Technical story");
    expect(seen).toMatch(/Attempts Failed Attempt 1 .* Failed Attempt 2 /);
    expect(seen.match(/HTTP 404: no/g)).toHaveLength(1);
    expect(seen).toContain("took 30.5 s · 2 attempts");
  });

  test("the page of a run names the attempt of a message about one, among the deliveries and in what happened", async () => {
    const attempts = await aRelay({
      env: { SINK_URL: undefined },
      file: 'sinks: { crm: { kind: http, url: "http://127.0.0.1:1/", attempts: true } }',
    });
    onTestFinished(() => attempts.close());
    const own = await aReader(attempts);
    await attempts.webhook(body("failed-retry-pending"));
    await attempts.app.deliverDue();
    expect(textOf(await own.page("/deliveries"))).toMatch(/Run attempt 1 failed/);
    expect(textOf(await own.page("/runs/wr_602137252455812824"))).toMatch(/Delivery \S+, run attempt 1/);
    expect(textOf(await own.page("/runs/wr_602137252455812824"))).not.toContain("Redeliver");
  });
});

describe("redelivering", () => {
  test("a redelivery from a run's page goes to one sink, or to all, and the page says so", async () => {
    await relay.webhook(aTask());
    await relay.app.deliverDue();
    const answer = await reader.post("/runs/tsk_v2_1/redeliver", { sink: "http" });
    expect([answer.status, answer.headers.get("location")]).toEqual([303, "/runs/tsk_v2_1?queued=1"]);
    await reader.post("/runs/tsk_v2_1/redeliver");
    await relay.app.deliverDue();
    expect(relay.sinkBodies).toHaveLength(3);
    const text = textOf(await reader.page("/runs/tsk_v2_1?queued=1"));
    expect(text).toContain("Queued again for 1 sink.");
    expect(text.match(/Queued again on request for http/g)).toHaveLength(2);
  });

  test("a redelivery to an unknown sink, or of an unknown run, is refused", async () => {
    await relay.webhook(aTask());
    expect((await reader.post("/runs/tsk_v2_1/redeliver", { sink: "nowhere" })).status).toBe(400);
    expect((await reader.post("/runs/tsk_none/redeliver")).status).toBe(404);
  });

  test("a redelivery from the dead deliveries returns there, and never to another host", async () => {
    relay.sinkAnswers.push(400);
    await relay.webhook(aTask());
    await relay.app.deliverDue();
    const html = await reader.page("/deliveries?state=dead&sink=http");
    expect(textOf(html)).toContain("Redeliver tsk_v2_1 to http");
    const to = /name="to" value="([^"]+)"/.exec(html)?.[1]?.replaceAll("&amp;", "&") ?? "";
    const answer = await reader.post("/runs/tsk_v2_1/redeliver", { sink: "http", to });
    expect(answer.headers.get("location")).toBe("/deliveries?state=dead&sink=http&queued=1");
    const evil = await reader.post("/runs/tsk_v2_1/redeliver", { sink: "http", to: "//evil.example" });
    expect(evil.headers.get("location")).toBe("/?queued=1");
  });
});

describe("sinks and unrecognized receipts", () => {
  test("the page of a sink shows its counts, backlog, last error and last success", async () => {
    relay.sinkAnswers.push(400, 503);
    await relay.webhook(aTask());
    await relay.app.deliverDue();
    let text = textOf(await reader.page("/sinks"));
    for (const said of ["http", "Failing", "1 dead", "400"]) expect(text).toContain(said);
    await relay.webhook(aTask({ run_id: "tsk_2", task_id: "tsk_2" }));
    await relay.app.deliverDue();
    text = textOf(await reader.page("/sinks"));
    for (const said of ["1 pending", "1 delivery , the oldest for", "503"]) expect(text).toContain(said);
    await relay.webhook(aTask({ run_id: "tsk_3", task_id: "tsk_3" }));
    await relay.app.deliverDue();
    text = textOf(await reader.page("/sinks"));
    expect(text).toContain("1 delivered");
    expect(text).toMatch(/Last success \S+ \S+ UTC , tsk_3/);
  });

  test("the navigation leads to unrecognized receipts as soon as there is one", async () => {
    expect(await reader.page("/")).not.toContain('href="/unrecognized"');
    await relay.webhook({ hello: "<script>alert(1)</script>" });
    expect(await reader.page("/")).toContain('href="/unrecognized"');
    const [path = ""] = linksTo(await reader.page("/unrecognized"), /^\/unrecognized\/rcp_/);
    const html = await reader.page(path);
    expect(textOf(html)).toContain('{"hello":"<script>alert(1)</script>"}');
    expect(html).not.toContain("<script>alert");
    expect(await (await reader.get(`${path}/raw`)).text()).toBe('{"hello":"<script>alert(1)</script>"}');
  });

  test("a receipt is shown under its run alone, and an unrecognized one under no run", async () => {
    await relay.webhook(aTask());
    await relay.webhook(aTask({ run_id: "tsk_2", task_id: "tsk_2" }));
    await relay.webhook({ hello: "there" });
    const [{ id = "" } = {}] = await relay.app.store.receipts("tsk_2");
    const [{ id: odd = "" } = {}] = await relay.app.store.unrecognizedReceipts({ limit: 1 });
    const statusOf = async (path: string) => (await reader.get(path)).status;
    expect(await Promise.all([`/runs/tsk_2/receipts/${id}`, `/unrecognized/${odd}`].map(statusOf))).toEqual([200, 200]);
    const elsewhere = [`/runs/tsk_v2_1/receipts/${id}`, `/unrecognized/${id}`, `/runs/tsk_2/receipts/${odd}`];
    expect(await Promise.all(elsewhere.map(statusOf))).toEqual([404, 404, 404]);
  });
});
