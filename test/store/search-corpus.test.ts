/** Search is exact: of 300 questions about 2,000 runs in many scripts none finds too little or too much. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSearch } from "../../src/store/search/search.ts";
import type { Store } from "../../src/store/store.ts";
import type { Search } from "../../src/store/contract/runs.ts";
import { anArrival } from "../support/a-run.ts";
import { corpus } from "./search-corpus.ts";
import { scanner } from "./search-scan.ts";
import { stores } from "./stores.ts";

const searchFor = (typed: string): Search => {
  const search = readSearch(typed);
  if (typeof search === "string") throw new Error(`${JSON.stringify(typed)} ${search}`);
  return search;
};

const { runs, questions } = corpus(2_000, 300);
const scan = scanner(runs);
const expected = questions.map((question) => ({ ...question, ...scan(question) }));

it("the questions of this corpus mostly find something, few find much, and some ask for too many words", () => {
  const counts = expected.map(({ ids }) => ids.length);
  expect(counts.filter((n) => n > 0).length).toBeGreaterThan(200);
  expect(counts.filter((n) => n > 0 && n < 200).length).toBeGreaterThan(100);
  expect(expected.filter((question) => question.breadth > 100).length).toBeGreaterThan(3);
  for (const kind of new Set(questions.map((question) => question.kind)))
    expect(
      expected.filter((question) => question.kind === kind && question.ids.length > 0).length,
      kind,
    ).toBeGreaterThan(9);
});

describe.each(Object.entries(stores))("%s", (name, open) => {
  let store: Store;
  beforeAll(async () => {
    store = await open();
    for (let i = 0; i < runs.length; i += 250) await store.accept(runs.slice(i, i + 250).map((run) => anArrival(run)));
  });
  afterAll(() => store.close());

  it("a search finds what a check of every run finds, newest first", async () => {
    const missed: unknown[] = [];
    const wrong: unknown[] = [];
    for (const question of expected) {
      const { kind, q, filter, ids } = question;
      const search = searchFor(q);
      const fault = await store.searchFault(search);
      const isTooWide = name === "sqlite" && question.breadth > 100;
      expect([q, fault?.slice(-12)]).toEqual([q, isTooWide ? "add a letter" : undefined]);
      if (isTooWide) continue;
      const found = (await store.listItems({ ...filter, search }, { limit: runs.length })).map(({ run_id }) => run_id);
      const [known, due] = [new Set(found), new Set(ids)];
      if (ids.some((id) => !known.has(id)))
        missed.push({ kind, q, ids: ids.filter((id) => !known.has(id)).slice(0, 3) });
      if (found.some((id) => !due.has(id)))
        wrong.push({ kind, q, ids: found.filter((id) => !due.has(id)).slice(0, 3) });
      if (missed.length + wrong.length === 0) expect(found).toEqual(ids);
    }
    expect({ missed, wrong }).toEqual({ missed: [], wrong: [] });
  });
});
