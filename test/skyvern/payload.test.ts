import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { isJsonObject, toNumber, parseJson, type JsonObject } from "../../src/platform/json.ts";
import { maskBody, MAX_DEPTH, parsePayload, readPayload, type Parsed } from "../../src/skyvern/payload.ts";
import { createRedact } from "../../src/skyvern/redact.ts";
import { fixtureText, WEBHOOKS } from "../support/fixtures.ts";

const redact = createRedact();
const parse = (text: string): Parsed => parsePayload(maskBody(Buffer.from(text), redact));
const idOf = (parsed: Parsed): string | null => (parsed.kind === "run" ? parsed.payload.id : null);
const reasonOf = (parsed: Parsed): string | null => (parsed.kind === "unknown" ? parsed.reason : null);

describe("a run's id", () => {
  it.each([
    [{ run_id: "a_1", task_id: "b_1", workflow_run_id: "c_1" }, "a_1"],
    [{ run_id: null, task_id: "b_1", workflow_run_id: "c_1" }, "b_1"],
    [{ task_id: "b_1", workflow_run_id: "c_1" }, "b_1"],
    [{ task_id: "", workflow_run_id: "c_1" }, "c_1"],
    [{ run_id: 7, task_id: { a: 1 }, workflow_run_id: "c_1" }, "c_1"],
    [{ run_id: "  ", task_id: "b_1" }, "b_1"],
    [{ run_id: "x".repeat(200) }, "x".repeat(200)],
  ])("the id of a run with %j is the first of run_id, task_id, workflow_run_id that is there", (ids, id) => {
    expect(idOf(readPayload({ ...ids, status: "completed" }))).toBe(id);
  });

  it("a payload without a run's id is not recognized", () => {
    expect(reasonOf(readPayload({ status: "completed", id: "tsk_1" }))).toMatch(/run_id/);
    expect(reasonOf(readPayload({ status: "completed", run_id: "x".repeat(201) }))).toMatch(/longer than 200/);
  });
});

describe("a payload", () => {
  it.each(WEBHOOKS.filter((file) => !/totp|test-sample/.test(file)))("the payload %s is a run", (file) => {
    expect(parse(fixtureText(file.slice("webhook.".length, -".json".length))).kind).toBe("run");
  });

  it.each([
    [{ run_id: "tsk_1" }],
    [{ run_id: "tsk_1", status: null }],
    [{ run_id: "tsk_1", status: "" }],
    [{ run_id: "tsk_1", status: 1 }],
    [{ run_id: "tsk_1", status: ["completed"] }],
    [{ run_id: "tsk_1", status: "x".repeat(101) }],
  ])("a payload without a status, as %j, is not recognized", (payload) => {
    expect(reasonOf(readPayload(payload))).toMatch(/status/);
  });

  it("a payload keeps unknown keys, also those that mean something to JavaScript", () => {
    const parsed = parse('{"run_id":"tsk_1","status":"completed","new":{"a":1},"constructor":2,"hasOwnProperty":3}');
    expect(parsed).toMatchObject({ kind: "run", payload: { new: { a: 1 }, constructor: 2, hasOwnProperty: 3 } });
  });

  it("a payload takes nothing from __proto__", () => {
    expect(reasonOf(parse('{"__proto__":{"run_id":"tsk_1","status":"completed"}}'))).toMatch(/status/);
    expect(({} as Record<string, unknown>)["status"]).toBeUndefined();
  });

  it("a payload has the last of duplicate keys, as JSON.parse does", () => {
    expect(idOf(parse('{"run_id":"tsk_1","run_id":"tsk_2","status":"completed"}'))).toBe("tsk_2");
  });

  it.each([
    "",
    " ",
    "{",
    '{"a":1',
    "{'run_id':1}",
    "NaN",
    '{"a":NaN}',
    '\uFEFF{"run_id":"tsk_1","status":"completed"}',
    '{"a":1}{"b":2}',
    "\u0000",
    '{"a":"\u0000"}',
  ])("a payload of the text %j is not JSON", (text) => {
    expect(reasonOf(parse(text))).toBe("the body is not JSON");
  });

  it.each(["[]", "null", '"x"', "1", "true", "1e400", "12345678901234567890"])(
    "a payload of the text %s is no object",
    (text) => {
      expect(reasonOf(parse(text))).toBe("the body is not a JSON object");
    },
  );

  it.each([MAX_DEPTH + 1, 10_000, 1_000_000])("a payload nested %i levels deep is not walked", (depth) => {
    const text = `{"run_id":"tsk_1","status":"completed","output":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
    expect(reasonOf(parse(text))).toMatch(/nested deeper/);
  });

  it("a payload nested as deep as allowed is read, and can be written again", () => {
    const depth = MAX_DEPTH - 1;
    const parsed = parse(
      `{"run_id":"tsk_1","status":"completed","output":${"[".repeat(depth)}1.0${"]".repeat(depth)}}`,
    );
    expect(parsed.kind).toBe("run");
    expect(JSON.stringify(parsed)).toContain("1.0");
  });

  it.each([
    ["1e400", null],
    ["-1", null],
    ["1.5", null],
    ["9007199254740993", null],
    ['"3"', null],
    ["3.0", 3],
    ["3", 3],
    ["0", 0],
  ])("a payload's step_count %s counts as %s", (number, count) => {
    const parsed = parse(`{"run_id":"tsk_1","status":"completed","step_count":${number}}`);
    expect(parsed).toMatchObject({ payload: { step_count: count } });
  });
});

describe("a request for a one-time code", () => {
  it.each([
    [{ task_id: "tsk_1", workflow_run_id: "wr_1", workflow_permanent_id: "wpid_1" }],
    [{ task_id: "tsk_1" }],
    [{ workflow_run_id: null, workflow_permanent_id: null, task_id: null }],
    [{ workflow_permanent_id: "wpid_1", totp_identifier: "x", otp_kind: "sms" }],
  ])("a body of ids and nothing else asks for a one-time code: %j", (body) => {
    expect(readPayload(body).kind).toBe("totp");
  });

  it.each([[{}], [{ task_id: "tsk_1", note: "?" }], [{ run_id: "tsk_1" }]])(
    "the body %j does not ask for a one-time code, and is stored",
    (body) => {
      expect(readPayload(body).kind).toBe("unknown");
    },
  );

  it("a body with a status is a run, and asks for no one-time code", () => {
    expect(readPayload({ task_id: "tsk_1", status: "completed" }).kind).toBe("run");
  });
});

it("every JSON is read without a throw, and with an id and a status it is a run", () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 4 }),
      fc.dictionary(
        fc.constantFrom(
          "run_type",
          "output",
          "errors",
          "downloaded_files",
          "screenshot_urls",
          "failure_category",
          "parameters",
          "run_request",
          "step_count",
          "created_at",
          "totp_url",
        ),
        fc.jsonValue({ maxDepth: 3 }),
      ),
      (any, known) => {
        parse(any);
        expect(parse(JSON.stringify({ ...known, run_id: "tsk_1", status: "completed" })).kind).toBe("run");
      },
    ),
    { numRuns: 500 },
  );
});

describe("a value of another type than its field has", () => {
  const text = z.string().nullish().catch(null);
  const count = z
    .unknown()
    .transform((value) => toNumber(value))
    .pipe(z.int().nonnegative().nullable().catch(null))
    .optional();
  const object = z.custom<object>(isJsonObject).nullish().catch(null);
  const listOf = <Item extends z.ZodType>(item: Item) => z.array(item).nullish().catch(null);
  const texts = listOf(z.string().nullable().catch(null));
  const each = <Key extends string, Type>(keys: readonly Key[], type: Type) =>
    Object.fromEntries(keys.map((key) => [key, type])) as Record<Key, Type>;
  const loose = <Shape extends z.ZodRawShape>(shape: Shape) =>
    z.custom<object>(isJsonObject).pipe(z.looseObject(shape));
  const IDS = [
    "run_id",
    "task_id",
    "workflow_run_id",
    "workflow_id",
    "workflow_permanent_id",
    "organization_id",
  ] as const;
  const TIMES = ["created_at", "modified_at", "queued_at", "started_at", "finished_at"] as const;
  const TEXTS = ["run_type", "recording_url", "screenshot_url", "app_url", "summary", "prompt", "url"] as const;
  const isFull = (value: unknown): boolean =>
    (Array.isArray(value) || isJsonObject(value)) && Object.keys(value).length > 0;
  const asOneOrMany = (value: unknown): unknown =>
    (isJsonObject(value) && isFull(value)) || (typeof value === "string" && value.trim() !== "") ? [value] : value;
  const schema = z.looseObject({
    ...each([...IDS, ...TIMES, ...TEXTS, "title", "workflow_title"], text),
    ...each(["step_count", "total_steps"], count),
    ...each(["downloaded_file_urls", "screenshot_urls", "action_screenshot_urls"], texts),
    status: z.string().min(1).max(100),
    failure_reason: z.preprocess((value) => (isFull(value) ? JSON.stringify(value) : value), text),
    errors: z.preprocess(asOneOrMany, listOf(z.unknown())),
    failure_category: z.preprocess(
      asOneOrMany,
      listOf(
        z
          .preprocess(
            (value) => (typeof value === "string" ? { category: value } : value),
            loose({ category: z.string() }),
          )
          .nullable()
          .catch(null),
      ),
    ),
    downloaded_files: listOf(
      loose({ ...each(["url", "checksum", "filename", "artifact_id"], text), file_size: count })
        .nullable()
        .catch(null),
    ),
    parameters: object,
    run_request: loose({ ...each(["prompt", "url", "title", "webhook_url", "workflow_id"], text), parameters: object })
      .nullish()
      .catch(null),
  });
  const KEYS = [
    ...Object.keys(schema.shape),
    "output",
    "extracted_information",
    "new",
    "__proto__",
    "constructor",
    "id",
  ];
  const INSIDE = [
    "category",
    "url",
    "checksum",
    "filename",
    "artifact_id",
    "file_size",
    "prompt",
    "title",
    "parameters",
    "x",
  ];
  const number = fc.constantFrom(
    "0",
    "7",
    "-1",
    "-0",
    "1.5",
    "3.0",
    "1e3",
    "1e400",
    "9007199254740991",
    "9007199254740993",
  );
  const json = fc.letrec<{ value: string }>((tie) => ({
    value: fc.oneof(
      { depthSize: "medium" },
      number,
      fc.constantFrom("null", "true", '""', '"a"', '"1"', '"completed"', `"${"x".repeat(101)}"`),
      fc.array(tie("value"), { maxLength: 3 }).map((items) => `[${items.join(",")}]`),
      fc
        .array(fc.tuple(fc.constantFrom(...INSIDE), tie("value")), { maxLength: 4 })
        .map((fields) => `{${fields.map(([key, value]) => `"${key}":${value}`).join(",")}}`),
    ),
  })).value;
  const body = fc
    .array(fc.tuple(fc.constantFrom(...KEYS), json), { maxLength: 12 })
    .map((fields) => `{"status":"s","run_id":"r",${fields.map(([key, value]) => `"${key}":${value},`).join("")}"z":0}`);

  it("a value of another type than its field has counts as absent, in lists and objects too, and all else is as it came", () => {
    fc.assert(
      fc.property(body, (text) => {
        const given = parseJson(text) as JsonObject;
        const wanted = schema.safeParse(given);
        const { run_id, task_id, workflow_run_id } = (wanted.data ?? {}) as JsonObject;
        const id = [run_id, task_id, workflow_run_id].find((one) => typeof one === "string" && one.trim() !== "");
        const parsed = readPayload(parseJson(text));
        if (!wanted.success) expect(reasonOf(parsed)).toMatch(/status/);
        else if (id === undefined) expect(reasonOf(parsed)).toMatch(/run_id/);
        else expect(parsed).toEqual({ kind: "run", payload: { ...given, ...wanted.data, id } });
      }),
      { numRuns: 3000 },
    );
  });
});
