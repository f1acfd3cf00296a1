/** Outputs of runs, by name: every fixture that has one, every block of a timeline, and what else may come. */
import { readdirSync, readFileSync } from "node:fs";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import { fixtureJson, WEBHOOKS } from "../support/fixtures.ts";

export interface Sample {
  kind: "task" | "workflow";
  output: Json;
}

const FOLDER = new URL("../fixtures/", import.meta.url);

/** What an HTTP request block comes to, contract §9. */
export const httpValue = (response_body: Json, status_code: Json = 200): JsonObject => ({
  status_code,
  response_headers: { Server: "nginx", "Content-Type": "application/json" },
  response_body,
  request_method: "GET",
  request_url: "https://portal.example/rates",
  request_headers: { "X-Api-Key": "[redacted]" },
  request_body: null,
  headers: { Server: "nginx" },
  body: response_body,
  url: "https://portal.example/rates",
});

/** What a block with a task of its own comes to. */
export const taskValue = (extracted_information: Json, more: JsonObject = {}): JsonObject => ({
  task_id: "tsk_1",
  status: "completed",
  extracted_information,
  failure_reason: null,
  errors: [],
  downloaded_files: null,
  task_screenshots: ["https://skyvern.example/v1/artifacts/a_1/content?sig=x"],
  ...more,
});

/** What a loop comes to: `rounds` by what it loops over, each with its inner blocks' values by their labels. */
export const loopValue = (rounds: readonly (readonly [item: Json, blocks: JsonObject])[]): Json =>
  rounds.map(([loop_value, blocks]) =>
    Object.entries(blocks).map(([label, output_value]) => ({
      loop_value,
      output_parameter: { parameter_type: "output", key: `${label}_output`, description: `Output of ${label}` },
      output_value,
    })),
  );

const childValue = (outputs: JsonObject): JsonObject => ({
  workflow_run_id: "wr_2",
  workflow_permanent_id: "wpid_2",
  status: "completed",
  failure_reason: null,
  outputs,
});

const fromWebhooks = WEBHOOKS.flatMap((file): [string, Sample][] => {
  const body = fixtureJson(file.slice("webhook.".length, -".json".length));
  const output = body["output"] ?? body["extracted_information"] ?? body["outputs"] ?? null;
  const kind = file.includes("workflow_run") ? "workflow" : "task";
  return output === null ? [] : [[file, { kind, output }]];
});

const fromTimelines = readdirSync(FOLDER)
  .filter((name) => name.startsWith("api.run-timeline."))
  .flatMap((file) => {
    const rows = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")) as {
      block: { label: string; output: Json };
    }[];
    return rows.flatMap(({ block: { label, output } }, i): [string, Sample][] =>
      output === null ? [] : [[`${file} ${i} ${label}`, { kind: "workflow", output: { [`${label}_output`]: output } }]],
    );
  });

const invoices = Array.from({ length: 30 }, (_, i) => ({
  id: `INV-${i}`,
  amount: i * 10,
  currency: "EUR",
  paid: i % 2 === 0,
}));
const wide = Array.from({ length: 4 }, (_, i) =>
  Object.fromEntries(Array.from({ length: 12 }, (_none, c) => [`c${c}`, c % 3 === 0 ? `same ${c}` : `r${i}c${c}`])),
);
const nested = (depth: number): Json => (depth === 0 ? "bottom" : { inner: nested(depth - 1) });
const nestedLists = (depth: number): Json => (depth === 0 ? 1 : [nestedLists(depth - 1)]);
const HOSTILE = [
  "<!channel>",
  "<script>alert(1)</script>",
  "\u202Egnp.exe",
  "\u0000",
  "=HYPERLINK(1)",
  "__proto__",
  "| a | b |",
  "*bold*",
  " ",
  "\n\n\n",
  "😀".repeat(400),
];

const values: [string, Json][] = [
  ["a text", "The cheapest flight is LH 1234 at 214.50 EUR."],
  ["a long text", "word ".repeat(4_000)],
  ["a number", 42],
  ["a raw number", JSON.rawJSON("12345678901234567890")],
  ["yes", true],
  ["no", false],
  ["an empty text", ""],
  ["an empty list", []],
  ["an empty object", {}],
  ["lists of nothing", [[], [null, ""]]],
  ["a flat object", { total: 3, vendor: "Kaffeemühle €", paid: true, note: null }],
  ["an object of many fields", Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`field ${i}`, i]))],
  ["an object around a table", { invoices }],
  ["an object with a table and more", { number: "INV-1", total: 12, lines: invoices.slice(0, 3), notes: ["a", "b"] }],
  [
    "an object with five tables",
    Object.fromEntries(["a", "b", "c", "d", "e"].map((key) => [key, invoices.slice(0, 2)])),
  ],
  ["a table", invoices],
  ["a table of one row", invoices.slice(0, 1)],
  ["a wide table", wide],
  [
    "a table of equal rows",
    [
      { a: 1, b: 2 },
      { a: 1, b: 2 },
    ],
  ],
  ["a table with holes", [{ a: 1 }, { b: 2 }, { c: 3 }]],
  [
    "a table with lists in it",
    [
      { a: [1, 2, 3, 4, 5, 6], b: { c: 1, d: 2 } },
      { a: [], b: { e: [{}] } },
    ],
  ],
  ["a list of texts", ["one", "two", "three"]],
  ["a long list of texts", Array.from({ length: 500 }, (_, i) => `line ${i}`)],
  [
    "a list of lists",
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ["a mixed list", [1, "two", { three: 3 }, [4], null]],
  ["nested ten deep", nested(10)],
  ["nested nine hundred deep", nested(900)],
  ["lists nested nine hundred deep", nestedLists(900)],
  [
    "files",
    [
      { url: "file:///data/a.pdf", filename: "a.pdf", checksum: "ab", file_size: 193 },
      { url: "https://x.example/b", checksum: "cd" },
    ],
  ],
  [
    "something like files",
    [
      { url: "https://x.example/b", name: "b" },
      { url: "https://x.example/c", name: "c" },
    ],
  ],
  ["an HTTP answer", httpValue({ ok: true, n: 2 })],
  ["an HTTP answer in text", httpValue("no", 404)],
  ["an HTTP answer without a body", httpValue(null, 204)],
  ["an HTTP answer with a table", httpValue({ rows: [{ id: 1 }, { id: 2 }] })],
  ["an HTTP answer that is a page", httpValue(`<html>${"<p>x</p>".repeat(2_000)}</html>`)],
  ["HTTP statuses that are none", httpValue("x", "<b>200</b>")],
  ["a task's bookkeeping", taskValue(null)],
  ["a task's information", taskValue({ invoices: invoices.slice(0, 2) })],
  [
    "a task's files",
    taskValue(null, {
      downloaded_files: [{ url: "file:///x.pdf", filename: "x.pdf", checksum: "ab", file_size: 91_000 }],
    }),
  ],
  [
    "a loop over texts",
    loopValue([
      ["a", { look_up: httpValue({ n: 1 }), note: { said: "ok" } }],
      ["b", { look_up: httpValue({ n: 2 }), note: { said: "ok" } }],
    ]),
  ],
  [
    "a loop with one inner block",
    loopValue([
      ["a", { look_up: taskValue({ price: 1, stock: 2 }) }],
      ["b", { look_up: taskValue({ price: 3, stock: 4 }) }],
    ]),
  ],
  [
    "a loop over objects",
    loopValue([
      [{ id: 1, name: "x" }, { note: "one" }],
      [{ id: 2, name: "y" }, { note: "two" }],
    ]),
  ],
  [
    "a loop whose rounds differ",
    loopValue([
      ["a", { first: "1" }],
      ["b", { second: "2" }],
      ["c", {}],
    ]),
  ],
  ["a loop without a round", []],
  [
    "a loop of nothing",
    loopValue([
      ["a", { x: taskValue(null) }],
      ["b", { x: null }],
    ]),
  ],
  [
    "a loop in a loop",
    loopValue([
      [
        "a",
        {
          inner: loopValue([
            [1, { x: "1" }],
            [2, { x: "2" }],
          ]),
        },
      ],
      ["b", { inner: loopValue([[3, { x: "3" }]]) }],
    ]),
  ],
  [
    "a flat loop",
    (
      loopValue([
        ["a", { x: "1" }],
        ["b", { x: "2" }],
      ]) as Json[][]
    ).flat(),
  ],
  ["a loop of 2,000 rounds", loopValue(Array.from({ length: 2_000 }, (_, i) => [i, { x: `${i}` }] as const))],
  ["a child run", childValue({ pause_output: { success: true }, list_output: taskValue({ n: 1 }) })],
  ["a child run that failed", { ...childValue({}), status: "failed", failure_reason: "The portal was down." }],
  ...HOSTILE.flatMap((text, i): [string, Json][] => [
    [`a hostile text ${i}`, text],
    [
      `hostile keys and cells ${i}`,
      [
        { [text]: text, b: 1 },
        { [text]: `${text}2`, b: 2 },
      ],
    ],
    [`a hostile loop ${i}`, loopValue([[text, { [text]: httpValue(text, text) }]])],
  ]),
];

export const CORPUS: ReadonlyMap<string, Sample> = new Map([
  ...fromWebhooks,
  ...fromTimelines,
  ...values.map(([name, output]): [string, Sample] => [`task: ${name}`, { kind: "task", output }]),
  ...values.map(([name, value]): [string, Sample] => [
    `workflow: ${name}`,
    { kind: "workflow", output: { only_output: value, extracted_information: [] } },
  ]),
  [
    "workflow: eight blocks",
    {
      kind: "workflow",
      output: Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`block_${i}_output`, { n: i }])),
    },
  ],
  [
    "workflow: a loop whose inner blocks stand beside it",
    {
      kind: "workflow",
      output: {
        each_output: loopValue([
          ["a", { look_up: { n: 1 } }],
          ["b", { look_up: { n: 2 } }],
        ]),
        look_up_output: { n: 2 },
      },
    },
  ],
  [
    "workflow: only what was extracted",
    { kind: "workflow", output: { a_output: taskValue(null), extracted_information: [{ count: 3 }] } },
  ],
]);
