/** Shows the workflows that `register` would change, and asks which. */
import { line } from "../../web/text.ts";
import type { Shell } from "../command.ts";
import type { Target } from "./plan.ts";

/** Asks until the answer is a choice. Null: the terminal was closed. */
export async function askWhich(
  targets: readonly Target[],
  ask: NonNullable<Shell["ask"]>,
  say: (text: string) => void,
): Promise<Target[] | null> {
  for (;;) {
    const text = await ask("Which? Numbers such as 1,3-5, or all; empty: none: ", { isSecret: false });
    if (text === null) return null;
    const places = parseChoice(text.trim(), targets.length);
    if (places !== null) return targets.filter((_one, i) => places.includes(i + 1));
    say(`That is no choice out of 1 to ${targets.length}.\n`);
  }
}

/** The numbers in `1,3-5`, `all` or an empty text; null for anything else. */
export function parseChoice(text: string, last: number): number[] | null {
  if (/^all$/i.test(text)) return parseChoice(`1-${last}`, last);
  const chosen = new Set<number>();
  for (const part of text.split(/[\s,]+/).filter((one) => one !== "")) {
    const [, from, to = from] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part) ?? [];
    if (from === undefined || Number(from) < 1 || Number(to) > last || Number(from) > Number(to)) return null;
    for (let i = Number(from); i <= Number(to); i += 1) chosen.add(i);
  }
  return [...chosen];
}

/** What of an address may be shown: its path and query often hold a secret. */
export function showAddress(address: string | null): string {
  if (address === null) return "none";
  const url = URL.parse(address);
  return url === null ? "not an address" : line(`${url.origin}${url.pathname === "/" ? "" : "/…"}`, 80);
}

export function renderTargets(targets: readonly Target[]): string {
  const cells = targets.map(({ workflow, title, from, to }, i) => [
    String(i + 1),
    line(workflow, 60),
    showAddress(from),
    showAddress(to),
    line(title, 80),
  ]);
  const rows = [["", "WORKFLOW", "ADDRESS NOW", "THEN", "TITLE"], ...cells];
  const widths = rows[0]?.map((_title, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const padded = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
  return padded.map((row) => `${row.trimEnd()}\n`).join("");
}
