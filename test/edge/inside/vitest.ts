/**
 * What the Store's suites use of vitest, for running them inside workerd, where vitest itself cannot run: suites are
 * bundled with this in its place. The matchers are vitest's own.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
const asymmetric = (globalThis as Record<symbol, object>)[ASYMMETRIC_MATCHERS_OBJECT as unknown as symbol];
const state = (value: unknown) => chai.expect(value);
export const expect = Object.assign(state, chai.expect, asymmetric, {
  getState: () => getState(expect as never),
  setState: (given: object) => setState(given, expect as never),
  unreachable: (message?: string): never => {
    throw new Error(`expected not to get here${message === undefined ? "" : `: ${message}`}`);
  },
});

type Work = (...values: never[]) => unknown;

export interface Case {
  name: string;
  run(): Promise<void>;
}
export const cases: Case[] = [];

interface Scope {
  name: string;
  before: Work[];
  after: Work[];
}
const scopes: Scope[] = [];
const finished: Work[] = [];

export const describe = Object.assign(
  (name: string, define: () => void) => {
    scopes.push({ name, before: [], after: [] });
    define();
    scopes.pop();
  },
  { each: each((name, define) => describe(name, define as () => void)) },
);

export const it = Object.assign(
  // Options, such as a timeout, may stand before the work or behind it.
  (name: string, ...given: unknown[]) => {
    const work = given.find((value): value is Work => typeof value === "function") as Work;
    const inside = [...scopes];
    const run = async () => {
      try {
        for (const { before } of inside) for (const hook of before) await hook();
        await work();
      } finally {
        for (const { after } of inside.toReversed()) for (const hook of after) await hook();
        for (const hook of finished.splice(0).toReversed()) await hook();
      }
    };
    cases.push({ name: [...inside.map((scope) => scope.name), name].join(" > "), run });
  },
  { each: each((name, work) => it(name, work)) },
);
export const test = it;

export const beforeEach = (hook: Work) => void scopes.at(-1)?.before.push(hook);
export const afterEach = (hook: Work) => void scopes.at(-1)?.after.push(hook);
export const onTestFinished = (hook: Work) => void finished.push(hook);

/**
 * `it.each(table)(name, work)`: `%s` and `%d` stand for the values of a row in turn, `$key` for a value of an object.
 */
function each(define: (name: string, work: Work) => void) {
  return (table: readonly unknown[]) => (name: string, work: Work) => {
    for (const row of table) {
      const values = (Array.isArray(row) ? row : [row]) as never[];
      let next = 0;
      const title = name
        .replace(/%[sdji]/g, () => String(values[next++]))
        .replace(/\$(\w+)/g, (_all, key: string) => String((row as Record<string, unknown>)[key]));
      define(title, () => work(...values));
    }
  };
}
