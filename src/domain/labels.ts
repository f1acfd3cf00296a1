/** Labels of a run: what stands under chosen names in the query of the address that its webhook goes to. Pure. */
import type { Run } from "./run.ts";

/** What is longer is cut: a label is an id, and every list and message shows it. UTF-16 units. */
const MAX_LABEL = 200;

/** `query` with or without its `?`. Null when none of the names is in it. */
export function readLabels(names: readonly string[], query: string | null): Run["labels"] {
  if (names.length === 0 || query === null || query === "") return null;
  const values = new URLSearchParams(query);
  const found = names.flatMap((name): [string, string][] => {
    const value = (values.get(name) ?? "").replaceAll("\0", "").trim();
    return value === "" ? [] : [[name, value.slice(0, MAX_LABEL).toWellFormed()]];
  });
  return found.length === 0 ? null : Object.fromEntries(found);
}
