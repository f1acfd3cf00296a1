/**
 * The benches' command: `bench/run <name> [--rounds N] [--seconds S] [--other DIR] [--write]`. Prints a table of every
 * goal with figure and verdict, and keeps everything as JSON in `bench-output/`. Loopback only, and it stops by itself.
 */
import { rmSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { accept } from "./accept.ts";
import { coldStart } from "./cold-start.ts";
import { calm, deliver } from "./deliver.ts";
import { temporaryFolder, type Bench, type Options, type Result } from "./bench.ts";
import { disk } from "./disk.ts";
import { durable } from "./durable.ts";
import { grown, lookingBack } from "./grown.ts";
import { kill } from "./kill.ts";
import { memory } from "./memory.ts";
import { postgres } from "./postgres.ts";
import { profile } from "./profile.ts";
import { pure } from "./pure.ts";
import { recording } from "./recording.ts";
import {
  aboutThis,
  figuresOf,
  figuresTable,
  goalsTable,
  keep,
  keptBefore,
  takenOf,
  writeDocument,
  type Results,
} from "./report.ts";
import { scale } from "./scale.ts";
import { slowDisk } from "./slow-disk.ts";
import { smoke } from "./smoke.ts";

const BENCHES: readonly Bench[] = [
  accept,
  slowDisk,
  deliver,
  calm,
  memory,
  coldStart,
  lookingBack,
  grown,
  disk,
  postgres,
  scale,
  kill,
];
/** No goals: run by name only. */
const BESIDES: readonly Bench[] = [durable, profile, pure, recording, smoke];
const print = (line: string) => void process.stdout.write(`${line}\n`);
const say = (line: string) => void process.stderr.write(`${line}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "4" },
    other: { type: "string" },
    only: { type: "string" },
    "one-core": { type: "boolean", default: false },
    rate: { type: "string" },
    "sync-ms": { type: "string" },
    write: { type: "boolean", default: false },
  },
});
const [name = ""] = positionals;
const chosen = name === "all" ? BENCHES : [...BENCHES, ...BESIDES].filter((bench) => bench.name === name);
if (chosen.length === 0) {
  say(
    `bench/run <name> [--rounds N] [--seconds S] [--other DIR] [--write]\n\n${[...BENCHES, ...BESIDES].map(line).join("\n")}`,
  );
  say("  all        every one that has goals, and a table of them at the end");
  process.exit(2);
}
const about = aboutThis(Number(values.rounds), Number(values.seconds));
const results: Results = {};
for (const bench of chosen) {
  say(`${bench.name}: ${bench.what}`);
  const folder = temporaryFolder();
  const { other, only, rate, "one-core": oneCore, "sync-ms": syncMs } = values;
  const options: Options = {
    ...about,
    say,
    folder,
    oneCore,
    ...(other === undefined ? {} : { other: resolve(other) }),
    ...(only === undefined ? {} : { only: only.split(",") }),
    ...(rate === undefined ? {} : { rate: Number(rate) }),
    ...(syncMs === undefined ? {} : { syncMs: Number(syncMs) }),
  };
  try {
    results[bench.name] = await bench.run(options);
  } catch (error) {
    // The others have something to say all the same.
    process.exitCode = 1;
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
    say(why);
    results[bench.name] = failedBench(bench, why);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
for (const [bench, { table, notes = [] }] of Object.entries(results)) {
  if (Object.keys(table).length > 0) print(`\n${bench}\n${figuresTable(table)}`);
  for (const note of notes) print(note);
}
const before = keptBefore(name, about);
print(`\n${goalsTable(results, before)}`);
if (values.write) {
  const { scale: scaled, ...others } = results;
  if (scaled) writeDocument("scale.md", [takenOf(about), ...(scaled.notes ?? [])].join("\n\n"));
  if (Object.keys(others).length > 0) writeDocument("performance.md", figuresOf(about, others, before));
}
print(`\nkept in ${keep(name, about, results)}`);

function failedBench({ goals, what }: Bench, why: string): Result {
  const first = `the bench failed: ${why.split("\n")[0] ?? ""}`;
  const verdicts = goals.map((goal) => ({ goal, what, figure: null, unit: "", wanted: "–", met: null, note: first }));
  return { table: {}, verdicts };
}

function line({ name, goals, what }: Bench): string {
  return `  ${name.padEnd(10)} ${what}${goals.length > 0 ? ` (${goals.join(", ")})` : ""}`;
}
