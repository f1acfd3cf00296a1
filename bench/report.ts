/**
 * What is said about figures: tables for a terminal and for `docs/performance.md`, and where and when they were taken.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { median, medianOf, round3, type Result, type Table, type Verdict } from "./bench.ts";
import { ROOT } from "./subjects/relay.ts";

/** Results by the name of their bench. */
export type Results = Record<string, Result>;

export interface About {
  date: string;
  /** `+`: with changes that are not committed. */
  commit: string;
  node: string;
  machine: { cpu: string; cores: number; memoryMb: number; kernel: string };
  /** Of the last 1, 5 and 15 minutes, when the bench began. */
  load: number[];
  rounds: number;
  seconds: number;
}

export function aboutThis(rounds: number, seconds: number): About {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    node: process.version,
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryMb: Math.round(totalmem() / 2 ** 20),
      kernel: release(),
    },
    load: loadavg(),
    rounds,
    seconds,
  };
}

function commit(): string {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: "pipe" }).trim();
  try {
    return (
      git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") === "" ? "" : "+")
    );
  } catch {
    // A copy without its history.
    return "unknown";
  }
}

/** Keeps everything as JSON. Returns where. */
export function keep(name: string, about: About, results: Results): string {
  const folder = join(ROOT, "bench-output");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}-${about.date.replace(/[:.]/g, "-")}.json`);
  writeFileSync(path, `${JSON.stringify({ ...about, results }, null, 2)}\n`);
  return path;
}

const verdictsOf = (results: Results): Verdict[] => Object.values(results).flatMap(({ verdicts }) => verdicts);

/** Every goal with figure and verdict; `before`: of a run of the same command, to see whether the two agree. */
export function goalsTable(results: Results, before: Results | null = null): string {
  const byGoal = verdictsOf(results).toSorted((a, b) => Number(a.goal.slice(1)) - Number(b.goal.slice(1)));
  const earlier = new Map(verdictsOf(before ?? {}).map((one) => [`${one.goal} ${one.what}`, one]));
  const rows = byGoal.map(({ goal, what, wanted, figure, unit, ...said }) => {
    const shown = figure === null ? "–" : `${round3(figure)}${unit}`;
    const then = earlier.get(`${goal} ${what}`)?.figure ?? null;
    const columns = before === null ? [] : [then === null ? "–" : `${round3(then)}${unit}`, apart(figure, then)];
    return [goal, what, wanted, shown, ...columns, wordFor({ figure, ...said })];
  });
  const columns = before === null ? [] : ["before", "apart"];
  return markdown([["goal", "what", "wanted", "figure", ...columns, "verdict"], ...rows]);
}

/** By how much two figures of one goal differ; beyond 15 % it is marked: more than noise. */
function apart(figure: number | null, then: number | null): string {
  if (figure === null || then === null) return "–";
  const larger = Math.max(figure, then);
  const percent = larger === 0 ? 0 : 100 * (1 - Math.min(figure, then) / larger);
  return `${percent.toFixed(0)} %${percent > 15 ? " (!)" : ""}`;
}

/** What the same command said last about the same commit, rounds and seconds; null when it did not run. */
export function keptBefore(name: string, { commit, rounds, seconds }: About): Results | null {
  const folder = join(ROOT, "bench-output");
  if (!existsSync(folder)) return null;
  const files = readdirSync(folder).filter((file) => file.startsWith(`${name}-`) && file.endsWith(".json"));
  for (const file of files.toSorted().toReversed()) {
    const kept = JSON.parse(readFileSync(join(folder, file), "utf8")) as About & { results: Results };
    if (kept.commit === commit && kept.rounds === rounds && kept.seconds === seconds) return kept.results;
  }
  return null;
}

function wordFor({ met, note, figure }: Pick<Verdict, "met" | "note" | "figure">): string {
  const unjudged = figure === null ? "not measured" : "reported";
  const word = met === null ? unjudged : met ? "met" : "missed";
  return note === undefined ? word : `${word}: ${note}`;
}

/** The medians of each subject's rounds. */
export function figuresTable(table: Table): string {
  const names = [...new Set(Object.values(table).flatMap((rounds) => Object.keys(rounds[0] ?? {})))];
  const rows = Object.keys(table).map((subject) => [
    subject,
    ...names.map((name) => {
      const figure = medianOf(table, name, subject);
      return figure === null ? "" : `${round3(figure)}`;
    }),
  ]);
  return markdown([["", ...names], ...rows]);
}

export const markdown = ([head = [], ...rows]: string[][]): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const BEGIN = "<!-- figures: written by `bench/run … --write` -->";
const END = "<!-- end of figures -->";

/** Puts figures into a document in `docs/`, in place of those that stand there. */
export function writeDocument(name: string, figures: string): void {
  const path = join(ROOT, "docs", name);
  const text = readFileSync(path, "utf8");
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  if (from < 0 || to < from) throw new Error(`${path} has no place for the figures`);
  writeFileSync(path, `${text.slice(0, from)}${BEGIN}\n\n${figures}\n\n${text.slice(to)}`);
}

/** When and where. */
export const takenOf = ({ date, commit, node, machine, load }: About): string =>
  `${date.slice(0, 16).replace("T", " ")} UTC, commit ${commit}, Node ${node}, ${machine.cores} cores of ${machine.cpu},\n` +
  `${Math.round(machine.memoryMb / 1024)} GB, Linux ${machine.kernel}. Load average when it began: ${load.map((one) => one.toFixed(1)).join(", ")}.`;

/** What `docs/performance.md` says of them. */
export function figuresOf(about: About, results: Results, before: Results | null): string {
  const { rounds, seconds } = about;
  const when = `${takenOf(about)} ${rounds} rounds of ${seconds} s. The disk took 4 kB for good ${fsyncs(results)} times a second.`;
  const tables = Object.entries(results)
    .filter(([, { table }]) => Object.keys(table).length > 0)
    .map(([name, { table, notes = [] }]) => [`### ${name}`, figuresTable(table), ...notes].join("\n\n"));
  return [when, "## Goals", goalsTable(results, before), "## Medians of the rounds", LEGEND, ...tables].join("\n\n");
}

const LEGEND =
  "Times in ms, `cpuUs` CPU microseconds for each run or request, `loopP99` the event loop's delay, `rssMb` and `peakMb` resident memory in MB, `clientUs` " +
  "what the load client spent on a request, `fsyncPerSecond` the disk's rate right after.";

function fsyncs(results: Results): string {
  const rates = Object.values(results).flatMap(({ table }) =>
    Object.values(table).flatMap((rounds) => rounds.flatMap(({ fsyncPerSecond }) => fsyncPerSecond ?? [])),
  );
  if (rates.length === 0) return "an unknown number of";
  return `${round3(median(rates))} (${Math.min(...rates)} to ${Math.max(...rates)})`;
}
