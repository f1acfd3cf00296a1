/** Bodies of megabytes with millions of values: they are stored and told, and nothing takes their outputs apart. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { measureFields, measureValue, parseJson } from "../../src/platform/json.ts";
import { boundOutput, MAX_VALUES } from "../../src/skyvern/large-output.ts";
import { createReadApart } from "../../src/receive/read-apart.ts";
import { createBodyReader, SMALL_BODY } from "../../src/receive/intake.ts";
import { maskBody } from "../../src/skyvern/payload.ts";
import { createRedact } from "../../src/skyvern/redact.ts";
import { anApp } from "../support/app.ts";
import { atSkyvern } from "../support/at-skyvern.ts";
import { NOW } from "../support/runtime.ts";

const ones = (values: number): string => `[${"1,".repeat(values - 2)}1]`;
const aBody = (output: string, more = ""): string =>
  `{"run_id":"tsk_1","status":"completed",${more}"output":${output}}`;

it("an output with too many values is shown by its size, and the receipt holds it byte for byte", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const output = ones(2_000_000);
  expect((await relay.webhook(aBody(output))).json()).toMatchObject({ result: "accepted" });
  await relay.deliver();
  const [sent] = relay.standIns.http.requests;
  const described = {
    omitted: expect.stringContaining("raw body of the receipt") as string,
    values: 2_000_000,
    bytes: output.length,
    sha256: createHash("sha256").update(output).digest("hex"),
  };
  expect(JSON.parse(sent?.body ?? "")).toMatchObject({ type: "run.completed", data: { output: described } });
  const { receipts } = await relay.read<{ receipts: { id: string }[] }>("/v1/runs/tsk_1");
  const raw = await relay.get(`/v1/runs/tsk_1/receipts/${receipts[0]?.id}/raw`);
  expect(raw.text === aBody(output)).toBe(true);
  // Another output is news, the same one is not.
  expect((await relay.webhook(aBody(output, '"task_id":"tsk_1",'))).json()).toMatchObject({ result: "duplicate" });
  expect((await relay.webhook(aBody(ones(2_000_001)))).json()).toMatchObject({ result: "updated" });
});

it("an output of as many values as allowed is shown whole", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  await relay.webhook(aBody(ones(MAX_VALUES)));
  await relay.deliver();
  const { data } = JSON.parse(relay.standIns.http.requests[0]?.body ?? "") as { data: { output: number[] } };
  expect(data.output).toHaveLength(MAX_VALUES - 1);
});

it.each([
  ["beside the output", aBody("1", `"parameters":${ones(400_000)},`)],
  ["in a body that is no object", ones(400_000)],
])("a body with too many values %s is stored as unrecognized", async (_what, body) => {
  const relay = await anApp();
  const answer = await relay.webhook(body);
  expect([answer.status, answer.json()]).toEqual([202, { result: "unrecognized" }]);
});

it("a run that Skyvern's API answers with too many values is read as well", async () => {
  const relay = await anApp();
  const run = atSkyvern({ id: "tsk_1", endedAt: NOW - 3_600_000 });
  relay.standIns.skyvern.addRun({ ...run, payload: { ...run.payload, output: Array<number>(300_000).fill(1) } });
  await relay.app.reconcile();
  expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({ output: { values: 300_001 } });
});

it("nesting of millions of levels is masked in little memory", () => {
  const redact = new URL("../../src/skyvern/redact.ts", import.meta.url).href;
  const code = `import { createRedact } from ${JSON.stringify(redact)};
    console.log(createRedact()("[".repeat(4_000_000) + "]".repeat(4_000_000)).depth)`;
  const options = ["--max-old-space-size=128", "--input-type=module", "-e", code];
  const { status, stdout } = spawnSync(process.execPath, options, { encoding: "utf8" });
  expect([status, stdout]).toEqual([0, "4000000\n"]);
});

it("a large body is masked beside the event loop: a small one that came later is answered before it", async () => {
  const relay = await anApp();
  const answered: string[] = [];
  const large = relay.webhook(aBody(`["${"password%3Dhunter22 ".repeat(50_000)}"]`)).then(() => answered.push("large"));
  await relay.webhook('{"run_id":"tsk_2","status":"completed"}').then(() => answered.push("small"));
  await large;
  expect(answered).toEqual(["small", "large"]);
  expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({ status: "completed" });
  expect(JSON.stringify(await relay.read("/v1/runs/tsk_1"))).not.toContain("hunter22");
});

const filler = "a word ".repeat(SMALL_BODY / 6);
it.each([
  ["JSON", Buffer.from(aBody(`["${filler}","ä","password: hunter22"]`))],
  ["JSON with an output that is cut out", Buffer.from(aBody(ones(400_000)))],
  ["nesting beyond the limit", Buffer.from(aBody("[".repeat(200_000) + "]".repeat(200_000)))],
  ["text", Buffer.from(`${filler} password: hunter22`)],
  [
    "bytes that are not UTF-8",
    Buffer.concat([Buffer.from(aBody(`"${filler}`)), Buffer.from([0xff]), Buffer.from('"}')]),
  ],
])("a body of %s is read in a thread of its own as it is read at once", async (_what, bytes) => {
  const redactKeys = ["word"];
  const here = maskBody(bytes, createRedact(redactKeys));
  const apart = await createReadApart()({ bytes, redactKeys });
  expect(apart.stored.equals(here.stored)).toBe(true);
  // Compared as a whole, as the difference of two texts of a megabyte would take minutes to print.
  expect(apart.text === here.text).toBe(true);
  expect(apart.fault).toBe(here.fault);
});

it("a body is read at once where it is small, and where no thread can be had", async () => {
  let asked = 0;
  const read = createBodyReader(createRedact(), [], () => {
    asked += 1;
    return Promise.reject(new Error("no memory for a thread"));
  });
  expect(await read(Buffer.from(aBody("1")))).toMatchObject({ text: aBody("1"), fault: null });
  expect(asked).toBe(0);
  const large = aBody(`"${filler}"`);
  expect((await read(Buffer.from(large))).stored.toString() === large).toBe(true);
  expect(asked).toBe(1);
});

it.each([
  ["1", 1, 0],
  ['"a,b:[c"', 1, 0],
  ["[]", 1, 1],
  ['{"a":[1,2,{"b":null}],"c":"x"}', 7, 3],
  [' [ true , -1.5e3 , "\\"" ] ', 4, 1],
])("the text %s has %i values and %i levels", (text, values, depth) => {
  expect(measureValue(text.trim(), 0)).toMatchObject({ values, depth });
  const [field] = measureFields(`{"x":${text}}`) ?? [];
  expect(field).toMatchObject({ key: "x", value: { values, depth } });
});

it("the output is cut out of any JSON that is too large, and of none that is short", () => {
  const text = `{"outputs":${ones(300_000)}, "output" : ${ones(300_000)} ,"status":"completed","extracted_information":[1]}`;
  const bounded = parseJson(boundOutput(text) ?? "");
  expect(bounded).toMatchObject({
    outputs: { values: 300_000 },
    output: { values: 300_000 },
    status: "completed",
    extracted_information: [1],
  });
  expect(boundOutput('{"output":[1]}')).toBe('{"output":[1]}');
});
