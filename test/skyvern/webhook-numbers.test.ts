/** One run says the same digits by webhook and by API. */
import { expect, it } from "vitest";
import { parseJson } from "../../src/platform/json.ts";
import { asInWebhooks } from "../../src/skyvern/webhook-numbers.ts";

const written = (text: string): string => JSON.stringify(asInWebhooks(parseJson(text)));

it.each([
  // Contract §1: the normalisation of a webhook's body.
  ["3.0", "3"],
  ["-0.0", "0"],
  ["120.00", "120"],
  ["1e22", "10000000000000000000000"],
  ["1e+22", "10000000000000000000000"],
  ["1E3", "1000"],
  ["9007199254740993.0", "9007199254740992"],
  ["1e-07", "1e-07"],
  ["1e-7", "1e-07"],
  ["0.00001", "1e-05"],
  ["-2.5e-10", "-2.5e-10"],
])("the API's number %s is written %s, as webhooks write it", (api, webhook) => {
  expect(written(api)).toBe(webhook);
});

it.each(["0", "-5", "120", "128.4", "0.0001", "0.10", "9007199254740993", "10000000000000000000000", "1e999", '"3.0"'])(
  "the API's value %s stays as it is",
  (text) => {
    expect(written(text)).toBe(text);
  },
);

it("numbers of the API are written as in webhooks at any depth, and nothing else changes", () => {
  expect(written('{"a":[{"b":3.0,"__proto__":1.0}],"c":"3.0","d":null,"e":true}')).toBe(
    '{"a":[{"b":3,"__proto__":1}],"c":"3.0","d":null,"e":true}',
  );
});
