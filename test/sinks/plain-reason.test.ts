import { expect, it } from "vitest";
import { blockTypeIn, plainReason } from "../../src/sinks/plain-reason.ts";
import { cpuMs } from "../support/cpu.ts";

it.each([
  ["http_request block failed. failure reason: HTTP 404: no", "HTTP 404: no"],
  ["terminate block terminated. Reason: Nothing to pay.", "Nothing to pay."],
  ["wait block timed out. Reason: It took too long.", "It took too long."],
  ["code block failed. failure reason: Failed to execute code block. Reason: Exception: locked", "locked"],
  ["code block failed. failure reason: id of the row is gone", "Id of the row is gone"],
  ["no such button", "No such button"],
  ["iPhone is no device", "iPhone is no device"],
  ["Failed to execute code block. Reason: KeyError: 'total'", "KeyError: 'total'"],
  ["validation block terminated: the account is locked.", "The account is locked."],
  ["page_load_timeout", "Page load timeout"],
  ["NAVIGATION_FAILURE:timeout", "Navigation failure: timeout"],
  ["step_3 of the form was refused", "step_3 of the form was refused"],
  ["Tried 3 times.(Exceptions: ['click failed.'])", "Tried 3 times. ('click failed.')"],
  ["The portal says: code block failed. failure reason: x", "The portal says: code block failed. failure reason: x"],
  ["code block failed. failure reason: ", "Code block failed. failure reason: "],
])("the reason “%s” is written as: %s", (reason, words) => {
  expect(plainReason(reason)).toBe(words);
});

it("a reason in a block's words names the type of that block", () => {
  const reason = "http_request block failed. failure reason: HTTP 404: no";
  expect(blockTypeIn(reason)).toBe("http_request");
  expect(["The portal refused it.", "", null].map(blockTypeIn)).toEqual([null, null, null]);
});

it.each([null, "", " \n", "Workflow run timed_out: child entity cascade cleanup.", "status_changed:running"])(
  "the reason %j says nothing",
  (reason) => {
    expect(plainReason(reason)).toBeNull();
  },
);

it("a page that a server answered with is said as its text", () => {
  const page =
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><p>Away.</p></body></html>";
  const said = "HTTP 502: 502 Bad Gateway\nAway.";
  expect(plainReason(`http_request block failed. failure reason: HTTP 502: ${page}`)).toBe(said);
  expect(plainReason("HTTP 404: no <b>such</b> page")).toBe("HTTP 404: no <b>such</b> page");
});

it.each([
  ["{'error': 'no such page'}", "no such page"],
  ["{'error': 'gone', 'code': 17, 'retry': False}", "error: gone, code: 17, retry: no"],
  ["{'detail': {'message': \"It's locked\", 'id': None}}", "message: It's locked, id: –"],
  ["{'retry_after': '30'}", "retry_after: 30"],
  ["{'id': 12345678901234567890}", "id: 12345678901234567890"],
  ["{'text': 'caf\\xe9\\n\\'s end'}", "café\n's end"],
  ["[{'error': 'no such page'}]", "error: no such page"],
  ["{'error': 'cut of", "{'error': 'cut of"],
  ["{'error': nan}", "{'error': nan}"],
  [`${"[".repeat(5_000)}${"]".repeat(5_000)}`, `${"[".repeat(5_000)}${"]".repeat(5_000)}`],
])("the JSON that a server answered with, %j, is said by its fields", (answer, said) => {
  expect(plainReason(`http_request block failed. failure reason: HTTP 404: ${answer}`)).toBe(`HTTP 404: ${said}`);
});

it("a reason of megabytes is read at once", () => {
  const reason = "x(Exceptions: [".repeat(400_000);
  expect(cpuMs(() => expect(plainReason(reason)).toBe(reason))).toBeLessThan(1_000);
});

it.each([
  [
    "{'detail': [{'loc': ['body', 'x'], 'msg': 'field required', 'type': 'missing'}]}",
    "loc: (body, x), msg: field required, type: missing",
  ],
  ["{'error': {'code': 5, 'why': 'bad token'}, 'trace': 'abc'}", null],
  ["{'a': 1, 'b': 2, 'c': 3, 'd': 4, 'message': 'the important one'}", null],
  ["[{'msg': 'too long'}, {'msg': 'too short'}]", null],
  ["{'detail': [{'msg': 'too long'}, {'msg': 'too short'}]}", null],
])("of a server's answer nothing is left out that may be the reason: %s", (answer, said) => {
  expect(plainReason(`HTTP 422: ${answer}`)).toBe(`HTTP 422: ${said ?? answer}`);
});
