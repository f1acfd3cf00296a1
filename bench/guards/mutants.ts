/**
 * `node bench/guards/mutants.ts [WORD]`: takes each guard of `mutant-list.ts` out in turn (those whose row, guard or
 * file has the word), runs the tests that must notice, and says which one did. Exit code 1 when a mutant survives or
 * its text is not found any more. It edits the checkout and puts each file back.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { MUTANTS, type Mutant } from "./mutant-list.ts";

const [word = ""] = process.argv.slice(2);
const chosen = MUTANTS.filter(({ row, guard, file }) => `${row} ${guard} ${file}`.includes(word));
let failed = 0;
for (const mutant of chosen) {
  const said = killerOf(mutant);
  if (said.startsWith("!")) failed += 1;
  process.stdout.write(`| ${mutant.row} | ${mutant.guard} | ${said} |\n`);
}
process.stdout.write(`${chosen.length} mutants, ${failed} not killed\n`);
process.exitCode = failed === 0 ? 0 : 1;

function killerOf({ file, from, to, tests }: Mutant): string {
  const text = readFileSync(file, "utf8");
  if (!text.includes(from)) return `! ${file} does not hold the text`;
  writeFileSync(
    file,
    text.replace(from, () => to),
  );
  try {
    const run = spawnSync("npx", ["vitest", "run", "--bail=1", ...tests], {
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    });
    if (run.status === 0) return "! survived";
    return /^ ?FAIL +(.+)$/m.exec(run.stdout + run.stderr)?.[1]?.trim() ?? "! the tests did not run";
  } finally {
    writeFileSync(file, text);
  }
}
