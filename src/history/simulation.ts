/** Computes what routes would have done with past runs, for `skyvern-relay check --routes`. Pure. */
import { match, type Route } from "../domain/routing.ts";
import { isFinal, type Run } from "../domain/run.ts";

/** Counts of final runs, each counted once with its present outcome. */
export interface Simulated {
  runs: number;
  /** In the order of the configuration. */
  routes: {
    route: string;
    to: string[];
    stop: boolean;
    matched: number;
    /** Runs that did not reach this route because an earlier route with `stop` matched. */
    not_looked_at: number;
    /** Ids of the first runs that matched, in the given order. */
    examples: string[];
  }[];
  /** Every sink, in the order of the configuration. */
  sinks: { sink: string; kind: string; runs: number }[];
  /** Runs that no sink would have received. */
  nobody: { runs: number; examples: string[] };
}

export interface SimulationDeps {
  routes: readonly Route[];
  sinks: readonly { name: string; kind: string }[];
}

export interface Simulation {
  /** Runs that are not final are not delivered, so they are not counted. */
  add(run: Run): void;
  result(): Simulated;
}

const EXAMPLES = 3;

/** Without routes a route called `default` stands for "every run to every sink". */
export function createSimulation({ routes, sinks }: SimulationDeps): Simulation {
  const names = sinks.map(({ name }) => name);
  const rules = routes.length > 0 ? routes : [{ name: "default", to: names, stop: false }];
  const counts = rules.map(() => ({ matched: 0, notLookedAt: 0, examples: new Array<string>() }));
  const runsBySink = new Map<string, number>();
  const nobody = { runs: 0, examples: new Array<string>() };
  let runs = 0;
  const note = (examples: string[], run: Run): void => {
    if (examples.length < EXAMPLES) examples.push(run.run_id);
  };
  return {
    add: (run) => {
      if (!isFinal(run)) return;
      runs += 1;
      const routed = match(run, routes, names);
      let isOver = false;
      for (const [index, { matched }] of routed.trace.entries()) {
        const count = counts[index];
        if (!count) continue;
        if (isOver) count.notLookedAt += 1;
        if (!matched) continue;
        count.matched += 1;
        note(count.examples, run);
        isOver = rules[index]?.stop === true;
      }
      for (const sink of routed.sinks) runsBySink.set(sink, (runsBySink.get(sink) ?? 0) + 1);
      if (routed.sinks.length > 0) return;
      nobody.runs += 1;
      note(nobody.examples, run);
    },
    result: () => ({
      runs,
      routes: rules.map(({ name, to, stop }, index) => {
        const { matched = 0, notLookedAt = 0, examples = [] } = counts[index] ?? {};
        return { route: name, to: [...to], stop, matched, not_looked_at: notLookedAt, examples: [...examples] };
      }),
      sinks: sinks.map(({ name, kind }) => ({ sink: name, kind, runs: runsBySink.get(name) ?? 0 })),
      nobody: { ...nobody, examples: [...nobody.examples] },
    }),
  };
}
