/** The Store's own suites, inside workerd, on the storage of a Durable Object. */
import { afterAll, expect, it } from "vitest";
import { startWorkerd } from "../../scripts/edge/workerd.ts";
import { aFolderUntil, bundleInside, inside } from "./support.ts";

const folder = aFolderUntil(afterAll);
const workerd = await startWorkerd({ folder, worker: await bundleInside(inside("suites.ts")), env: {} });
afterAll(() => workerd.kill());
const cases = (await (await fetch(`${workerd.url}/cases`)).json()) as string[];

it("the Store's suites have cases to run inside workerd", () => {
  expect(cases.length).toBeGreaterThan(100);
});

it.each(cases.map((name, n) => [name, n] as const))("inside workerd: %s", async (_name, n) => {
  const failure = (await (await fetch(`${workerd.url}/${n}`)).json()) as string | null;
  if (failure !== null) throw new Error(failure);
});
