/** Chance that can be had again: the same seed gives the same numbers. */
export interface Chance {
  /** 0 <= n < 1 */
  next(): number;
  /** A whole number, `from` <= n < `to`. */
  between(from: number, to: number): number;
  /** True with probability `p`. */
  happens(p: number): boolean;
  oneOf<T>(items: readonly T[]): T;
}

/** Mulberry32: 32 bits of state, plenty for choosing faults. */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (from, to) => from + Math.floor(next() * (to - from)),
    happens: (p) => next() < p,
    oneOf: <T>(items: readonly T[]) => items[Math.floor(next() * items.length)] as T,
  };
}

/** How much to do: the short form of `scripts/test`, or what the variable says (`scripts/faults` sets it). */
export const amountOf = (variable: string, short: number): number => Number(process.env[variable] ?? short);

/** RELAY_FAULT_SEED repeats a run that failed. */
export const SEED = amountOf("RELAY_FAULT_SEED", 20_261_122);

/** Whether this is the long form, which says what it did. */
export const isLong = process.env["RELAY_FAULTS"] === "long";
