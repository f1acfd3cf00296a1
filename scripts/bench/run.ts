/**
 * The benches' command: `scripts/bench/run <name> [--rounds N] [--seconds S] [--other DIR]`. Prints a table of every goal with figure and
 * verdict, and keeps everything as JSON in `bench-output/`. Loopback only, and it stops by itself.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { accept } from "./accept.ts";
import { coldStart } from "./cold-start.ts";
import { calm, deliver } from "./deliver.ts";
import { medianOf, round3, temporaryFolder, type Bench, type Options, type Result } from "./bench.ts";
import { disk } from "./disk.ts";
import { grown, lookingBack } from "./grown.ts";
import { memory } from "./memory.ts";
import { postgres } from "./postgres.ts";
import { profile } from "./profile.ts";
import { recording } from "./recording.ts";
import { slowDisk } from "./slow-disk.ts";
import { smoke } from "./smoke.ts";
import { ROOT } from "./subjects/relay.ts";

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
];
/** No goals: run by name only. */
const BESIDES: readonly Bench[] = [profile, recording, smoke];
const print = (line: string) => void process.stdout.write(`${line}\n`);
const say = (line: string) => void process.stderr.write(`${line}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "4" },
    other: { type: "string" },
  },
});
const [name = ""] = positionals;
const chosen = name === "all" ? BENCHES : [...BENCHES, ...BESIDES].filter((bench) => bench.name === name);
if (chosen.length === 0) {
  say(
    `scripts/bench/run <name> [--rounds N] [--seconds S] [--other DIR]\n\n${[...BENCHES, ...BESIDES].map(line).join("\n")}`,
  );
  say("  all        every one that has goals, and a table of them at the end");
  process.exit(2);
}
const results: Record<string, Result> = {};
for (const bench of chosen) {
  say(`${bench.name}: ${bench.what}`);
  const folder = temporaryFolder();
  const { other } = values;
  const options: Options = {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    say,
    folder,
    ...(other ? { other } : {}),
  };
  try {
    results[bench.name] = await bench.run(options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
for (const result of Object.values(results)) {
  for (const subject of Object.keys(result.table)) print(lineOf(result, subject));
  for (const note of result.notes ?? []) print(note);
}
print("");
print("| goal | what | wanted | figure | |\n| --- | --- | --- | --- | --- |");
for (const { goal, what, wanted, figure, unit, met, note } of Object.values(results).flatMap(
  ({ verdicts }) => verdicts,
)) {
  const said = figure === null ? "–" : `${round3(figure)}${unit}`;
  print(
    `| ${goal} | ${what} | ${wanted} | ${said} | ${met === null ? "not measured" : met ? "met" : "missed"}${note ? `: ${note}` : ""} |`,
  );
}
print(`\nkept in ${keep()}`);

function line({ name, goals, what }: Bench): string {
  return `  ${name.padEnd(10)} ${what}${goals.length > 0 ? ` (${goals.join(", ")})` : ""}`;
}

function lineOf(result: Result, subject: string): string {
  const figures = Object.keys(result.table[subject]?.[0] ?? {});
  return `${subject.padEnd(16)} ${figures.map((figure) => `${figure} ${round3(medianOf(result.table, figure, subject) ?? 0)}`).join("  ")}`;
}

function keep(): string {
  const folder = join(ROOT, "bench-output");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}-${new Date().toISOString().replace(/[:.]/g, "-")}.json`);
  const git = (...args: string[]) => execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  const about = {
    date: new Date().toISOString(),
    commit: git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+"),
    node: process.version,
    machine: {
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      memoryMb: Math.round(totalmem() / 2 ** 20),
      kernel: release(),
      load: loadavg(),
    },
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
  };
  writeFileSync(path, `${JSON.stringify({ ...about, results }, null, 2)}\n`);
  return path;
}
