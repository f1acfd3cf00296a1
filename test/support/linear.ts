import { expect } from "vitest";
import { cpuMs } from "./cpu.ts";

/** Times that each size is measured: collecting garbage only ever makes one slower. */
const ROUNDS = 3;
const SMALL = 50_000;
/** Quadratic work takes 256 times as long, linear work 16 times. */
const TIMES = 16;
const MOST = 100;

/** Asserts that the work takes time in proportion to the length of its text, which is `piece` again and again. */
export function expectLinear(piece: string, work: (text: string) => unknown): void {
  const small = piece.repeat(SMALL / piece.length);
  const large = piece.repeat((SMALL * TIMES) / piece.length);
  work(small);
  // A millisecond is noise.
  expect(fastest(large, work) / Math.max(fastest(small, work), 1)).toBeLessThan(MOST);
}

function fastest(text: string, work: (text: string) => unknown): number {
  let best = Infinity;
  for (let i = 0; i < ROUNDS; i += 1)
    best = Math.min(
      best,
      cpuMs(() => work(text)),
    );
  return best;
}
