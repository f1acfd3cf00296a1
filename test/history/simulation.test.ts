import { array, assert, constantFrom, integer, property, record } from "fast-check";
import { expect, it } from "vitest";
import { RoutesSchema } from "../../src/config/routes.ts";
import { match } from "../../src/domain/routing.ts";
import { TERMINAL_STATUSES, type Run } from "../../src/domain/run.ts";
import { createSimulation } from "../../src/history/simulation.ts";
import { aRun as aTask } from "../support/a-run.ts";

const aRun = (over: Partial<Run>): Run => aTask({ run_type: "task_v2", received_at: 0, ...over });
const SINKS = [
  { name: "ops", kind: "slack" },
  { name: "finance", kind: "email" },
];
const routes = RoutesSchema.parse([
  { name: "failures", when: { status: ["failed", "terminated"] }, to: "ops", stop: true },
  { name: "quiet", when: { channel: "test" }, to: [], stop: true },
  { name: "billing", when: { channel: "billing" }, to: ["finance", "ops"] },
  { name: "never", when: { title: "nothing" }, to: "ops" },
]);

it("a simulation counts each final run once, by route, by sink, and for no sink", () => {
  const simulation = createSimulation({ routes, sinks: SINKS });
  simulation.add(aRun({ run_id: "f1", status: "failed", channel: "billing" }));
  simulation.add(aRun({ run_id: "b1", channel: "billing" }));
  simulation.add(aRun({ run_id: "q1", channel: "test" }));
  simulation.add(aRun({ run_id: "n1" }));
  simulation.add(aRun({ run_id: "r1", status: "running" }));
  expect(simulation.result()).toEqual({
    runs: 4,
    routes: [
      { route: "failures", to: ["ops"], stop: true, matched: 1, not_looked_at: 0, examples: ["f1"] },
      { route: "quiet", to: [], stop: true, matched: 1, not_looked_at: 1, examples: ["q1"] },
      { route: "billing", to: ["finance", "ops"], stop: false, matched: 1, not_looked_at: 2, examples: ["b1"] },
      { route: "never", to: ["ops"], stop: false, matched: 0, not_looked_at: 2, examples: [] },
    ],
    sinks: [
      { sink: "ops", kind: "slack", runs: 2 },
      { sink: "finance", kind: "email", runs: 1 },
    ],
    nobody: { runs: 2, examples: ["q1", "n1"] },
  });
});

it("a simulation without routes sends every run to every sink, and one without sinks to none", () => {
  const all = createSimulation({ routes: [], sinks: SINKS });
  all.add(aRun({}));
  expect(all.result()).toMatchObject({
    routes: [{ route: "default", to: ["ops", "finance"], matched: 1 }],
    sinks: [{ runs: 1 }, { runs: 1 }],
    nobody: { runs: 0 },
  });
  const none = createSimulation({ routes: [], sinks: [] });
  none.add(aRun({}));
  expect(none.result()).toMatchObject({ sinks: [], nobody: { runs: 1 } });
});

it("a simulation counts a run once for a sink that two routes name", () => {
  const twice = RoutesSchema.parse([{ to: "ops" }, { to: ["ops", "finance"] }]);
  const simulation = createSimulation({ routes: twice, sinks: SINKS });
  simulation.add(aRun({}));
  expect(simulation.result().sinks).toEqual([
    { sink: "ops", kind: "slack", runs: 1 },
    { sink: "finance", kind: "email", runs: 1 },
  ]);
});

it("a simulation of any runs says what routing them one by one says", () => {
  const runs = array(
    record({
      status: constantFrom(...TERMINAL_STATUSES, "running"),
      channel: constantFrom(null, "test", "billing"),
      title: constantFrom(null, "nothing", "else"),
      received_at: integer(),
    }),
    { maxLength: 30 },
  );
  assert(
    property(runs, (given) => {
      const simulation = createSimulation({ routes, sinks: SINKS });
      const told: string[] = [];
      for (const one of given) {
        const run = aRun(one);
        simulation.add(run);
        if (run.status !== "running") told.push(...match(run, routes, ["ops", "finance"]).sinks);
      }
      const counted = simulation.result().sinks.map(({ sink, runs }) => [sink, runs]);
      expect(counted).toEqual(SINKS.map(({ name }) => [name, told.filter((sink) => sink === name).length]));
    }),
  );
});
