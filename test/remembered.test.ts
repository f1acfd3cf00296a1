import { expect, test } from "vitest";
import { remembered } from "../src/remembered.ts";

test("what is made of a text is made once, as long as there are few texts and they are short", () => {
  const asked: string[] = [];
  const made = remembered((text) => {
    asked.push(text);
    return text.length % 2 === 0;
  });
  for (const text of ["a", "bb", "a", "bb", "\uD83D", "\uD83D"]) expect(made(text)).toBe(text.length === 2);
  expect(asked).toEqual(["a", "bb", "\uD83D"]);
  const long = "x".repeat(101);
  expect([made(long), made(long)]).toEqual([false, false]);
  expect(asked.filter((text) => text === long)).toHaveLength(2);
  for (let n = 0; n < 2_000; n++) made(`key ${n}`);
  made("a");
  expect(asked.filter((text) => text === "a")).toHaveLength(2);
});
