/** What is asked of every kind of sink, of those inside workerd. */
import { afterAll } from "vitest";
import { startWorkerd } from "../../scripts/edge/workerd.ts";
import { findKind } from "../../src/sinks/kinds.ts";
import { useMaker, type MakeSink } from "../sinks/maker.ts";
import type { Done, Order } from "./inside/sinks.ts";
import { aFolderUntil, bundleInside, inside } from "./support.ts";

const workerd = await startWorkerd({
  folder: aFolderUntil(afterAll),
  worker: await bundleInside(inside("sinks.ts")),
  env: {},
});
afterAll(() => workerd.kill());

let count = 0;

const post = async (path: string, order: Partial<Order>): Promise<unknown> =>
  (await fetch(workerd.url + path, { method: "POST", body: JSON.stringify(order) })).json();
const nameOf = ({ reason }: AbortSignal): string => (reason as Error).name;

const makeInside: MakeSink = (kind, config, deps) => {
  const id = ++count;
  // What it is like, the one here says; what it does, the one there does.
  const { create, config: schema } = findKind(kind);
  return {
    ...create("it", schema.parse(config), deps),
    deliver: async (job, signal) => {
      const call = ++count;
      const abort = () => void post("/abort", { call, aborted: nameOf(signal) });
      signal.addEventListener("abort", abort);
      const aborted = signal.aborted ? nameOf(signal) : null;
      const { outcome, lines } = (await post("/", { sink: id, call, kind, config, job, aborted })) as Done;
      signal.removeEventListener("abort", abort);
      for (const line of lines) deps.log.info("inside", { line });
      return outcome;
    },
  };
};
// A request that fails says no more there than that its connection was lost.
useMaker(makeInside, (kind) => kind === "email");
await import("../sinks/contract.test.ts");
