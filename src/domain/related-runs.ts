/** Runs that belong together: parent and child, a run and its retry. Pure. */
import type { Run } from "./run.ts";

/** The runs that a run names. */
export const relatedIds = ({ parent, children, retried_from, retried_by }: Run): string[] =>
  [parent, retried_from, retried_by, ...children].filter((id) => id !== null && id !== undefined);

/**
 * The run with what others say of it: a child may know its parent, or the parent its child, whichever Skyvern reported
 * first. What the run says itself stands.
 */
export function withRelated(run: Run, others: readonly Run[]): Run {
  const { run_id: id } = run;
  const found = (says: (other: Run) => boolean): string | null => others.find(says)?.run_id ?? null;
  const children = others.filter(({ parent }) => parent === id).map(({ run_id }) => run_id);
  return {
    ...run,
    parent: run.parent ?? found((other) => other.children.includes(id)),
    retried_from: run.retried_from ?? found(({ retried_by }) => retried_by === id),
    retried_by: run.retried_by ?? found(({ retried_from }) => retried_from === id),
    children: [...new Set([...run.children, ...children.toReversed()])],
  };
}
