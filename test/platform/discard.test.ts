import { expect, it } from "vitest";
import { discard } from "../../src/platform/memory/discard.ts";

it("the memory of a large buffer is freed at once", () => {
  const large = Buffer.alloc(2_000_000);
  discard(large);
  expect(large.buffer.byteLength).toBe(0);
});

it("a small buffer, and one that shares its memory, are left as they are", () => {
  const small = Buffer.from("a small one");
  discard(small);
  expect(small.toString()).toBe("a small one");
  const whole = Buffer.alloc(3_000_000, "a");
  discard(whole.subarray(1_000_000));
  expect(whole.toString("latin1", 0, 3)).toBe("aaa");
});
