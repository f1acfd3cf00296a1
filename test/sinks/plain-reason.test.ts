import { expect, it } from "vitest";
import { plainReason } from "../../src/sinks/plain-reason.ts";

it.each([
  ["http_request block failed. failure reason: HTTP 404: no", "HTTP 404: no"],
  ["terminate block terminated. Reason: Nothing to pay.", "Nothing to pay."],
  ["wait block timed out. Reason: It took too long.", "It took too long."],
  ["code block failed. failure reason: Failed to execute code block. Reason: Exception: locked", "locked"],
  ["Failed to execute code block. Reason: KeyError: 'total'", "KeyError: 'total'"],
  ["Tried 3 times.(Exceptions: ['click failed.'])", "Tried 3 times. ('click failed.')"],
  ["The portal says: code block failed. failure reason: x", "The portal says: code block failed. failure reason: x"],
  ["code block failed. failure reason: ", "code block failed. failure reason: "],
])("the reason “%s” is said as: %s", (reason, words) => {
  expect(plainReason(reason)).toBe(words);
});

it("a reason that nothing names a block beside keeps the block's type", () => {
  const reason = "code block failed. failure reason: Failed to execute code block. Reason: Exception: locked";
  expect(plainReason(reason, "unnamed")).toBe("code block failed. failure reason: locked");
});

it.each([null, "", " \n", "Workflow run timed_out: child entity cascade cleanup."])(
  "the reason %j says nothing",
  (reason) => {
    expect(plainReason(reason)).toBeNull();
  },
);
