/** Parent and child, a run and its retry, by what either of them says. */
import { expect, it } from "vitest";
import { relatedIds, withRelated } from "../../src/domain/related-runs.ts";
import { aRun } from "../support/a-run.ts";

const links = ({ parent, children, retried_from, retried_by }: ReturnType<typeof aRun>) => ({
  parent,
  children,
  retried_from,
  retried_by,
});
const none = { parent: null, children: [], retried_from: null, retried_by: null };

it("a run has the links that others have to it", () => {
  const run = aRun({ run_id: "wr_1" });
  const others = [
    aRun({ run_id: "wr_5", parent: "wr_1" }),
    aRun({ run_id: "wr_4", parent: "wr_1" }),
    aRun({ run_id: "wr_3", retried_from: "wr_1" }),
    aRun({ run_id: "wr_2", retried_by: "wr_1" }),
    aRun({ run_id: "wr_0", children: ["wr_9", "wr_1"] }),
  ];
  expect(links(withRelated(run, others))).toEqual({
    parent: "wr_0",
    children: ["wr_4", "wr_5"],
    retried_from: "wr_2",
    retried_by: "wr_3",
  });
  for (const other of others) expect(relatedIds(other)).toContain("wr_1");
});

it("a link that a run names itself stands, and each child counts once", () => {
  const said = { parent: "wr_p", children: ["wr_c"], retried_from: "wr_f", retried_by: "wr_b" };
  const others = [
    aRun({ run_id: "wr_x", children: ["wr_1"], retried_by: "wr_1", retried_from: "wr_1" }),
    aRun({ run_id: "wr_c", parent: "wr_1" }),
  ];
  expect(links(withRelated(aRun({ run_id: "wr_1", ...said }), others))).toEqual(said);
});

it("a run that no other run names has no links", () => {
  expect(links(withRelated(aRun({ run_id: "wr_1" }), []))).toEqual(none);
});
