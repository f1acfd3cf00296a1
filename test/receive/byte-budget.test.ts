import { expect, it } from "vitest";
import { Overloaded, withinByteBudget } from "../../src/receive/byte-budget.ts";

it("the byte budget refuses more bodies than may wait in memory, and accepts them once there is budget", async () => {
  const gates: (() => void)[] = [];
  const take = withinByteBudget(async ({ id }: { id: string; bytes: Uint8Array }) => {
    await new Promise<void>((resolve) => gates.push(resolve));
    return id;
  });
  const bytes = new Uint8Array(40 * 1024 * 1024);
  const first = take({ id: "a", bytes });
  await expect(take({ id: "b", bytes })).rejects.toThrow(Overloaded);
  gates.shift()?.();
  expect(await first).toBe("a");
  const second = take({ id: "b", bytes });
  gates.shift()?.();
  expect(await second).toBe("b");
});

it("the byte budget is released after a failed write, even of bytes handed over to another thread", async () => {
  const take = withinByteBudget(async ({ bytes }: { bytes: Uint8Array }) => {
    structuredClone(null, { transfer: [bytes.buffer as ArrayBuffer] });
    throw new Error("no");
  });
  for (let i = 0; i < 3; i += 1) await expect(take({ bytes: new Uint8Array(40 * 1024 * 1024) })).rejects.toThrow("no");
});

it("the byte budget accepts a single body that is larger than all of it", async () => {
  const take = withinByteBudget(async (_item: { bytes: Uint8Array }) => "stored");
  expect(await take({ bytes: new Uint8Array(65 * 1024 * 1024) })).toBe("stored");
});
