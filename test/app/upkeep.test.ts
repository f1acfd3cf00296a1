/** What is due is done in small steps with pauses, to the end, and no further than the relay runs. */
import { expect, it } from "vitest";
import { upkeep } from "../../src/app/upkeep.ts";

/** So many runs whose words are to be made anew, and so many pages to be given back. */
function aRelay({ runs = 0, pages = 0 }: { runs?: number; pages?: number }) {
  const steps: string[] = [];
  let [runsLeft, pagesLeft] = [runs, pages];
  const take = (name: string, left: number, limit: number): number => {
    const taken = Math.min(left, limit);
    steps.push(`${name} ${taken}`);
    return taken;
  };
  const store = {
    rebuildWords: async (limit: number) => {
      const taken = take("words", runsLeft, limit);
      runsLeft -= taken;
      return taken;
    },
    shrink: async (limit: number) => {
      const taken = take("pages", pagesLeft, limit);
      pagesLeft -= taken;
      return taken;
    },
  };
  const sleep = async () => void steps.push("pause");
  return { deps: { store, sleep }, steps };
}

it("upkeep does all that is due, with a pause after each whole step", async () => {
  const { deps, steps } = aRelay({ runs: 70, pages: 65 });
  await upkeep(deps, new AbortController().signal);
  expect(steps).toEqual(["words 32", "pause", "words 32", "pause", "words 6", "pages 64", "pause", "pages 1"]);
});

it("upkeep asks once when nothing is due", async () => {
  const { deps, steps } = aRelay({});
  await upkeep(deps, new AbortController().signal);
  expect(steps).toEqual(["words 0", "pages 0"]);
});

it("upkeep ends when it is asked to", async () => {
  const { deps, steps } = aRelay({ runs: 1_000, pages: 1_000 });
  const ending = new AbortController();
  await upkeep({ ...deps, sleep: async () => ending.abort() }, ending.signal);
  expect(steps).toEqual(["words 32"]);
});
