/**
 * What one webhook costs between its bytes and the database in plain computing, step by step: nothing is sent, nothing
 * is written. Bodies of the benches, and the webhooks among the fixtures; a fresh process each time.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { writeBodies } from "./bodies.ts";
import type { Bench, Figures, Table } from "./bench.ts";
import { shown } from "./bench.ts";
import { ROOT } from "./subjects/relay.ts";

const STEPS = join(import.meta.dirname, "servers", "pure-steps.ts");

export const pure: Bench = {
  name: "pure",
  goals: [],
  what: "microseconds of a webhook's way between bytes and database, step by step",
  run: async ({ folder, rounds, seconds, other, say }) => {
    const bodies = { "4 kB": writeBodies(folder, "skyvern"), fixtures: join(ROOT, "test", "fixtures") };
    const roots = { relay: ROOT, ...(other === undefined ? {} : { other }) };
    const subjects = Object.entries(bodies).flatMap(([what, path]) =>
      Object.entries(roots).map(([name, root]) => ({ name: `${name}, ${what}`, argv: [STEPS, root, path] })),
    );
    const table: Table = Object.fromEntries(subjects.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round++) {
      for (const { name, argv } of round % 2 === 0 ? subjects : subjects.toReversed()) {
        const said = execFileSync(process.execPath, [...argv, `${seconds}`], { encoding: "utf8" });
        const figures = JSON.parse(said) as Figures;
        table[name]?.push(figures);
        say(`round ${round + 1}  ${name.padEnd(16)} ${shown(figures)}`);
      }
    }
    return { table, verdicts: [] };
  },
};
