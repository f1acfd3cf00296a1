/**
 * B11, B12, B13: looking back and accepting with a million stored runs against ten thousand. The databases are kept in
 * the cache.
 */
import { execFileSync } from "node:child_process";
import { constants, copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { acceptOnce, GONE } from "./accept.ts";
import { atMost, inRounds, ratio, verdict, type Bench, type Options, type Result, type Verdict } from "./bench.ts";
import { relay, ROOT } from "./subjects/relay.ts";
import { CACHE } from "./tools.ts";

const SMALL = 10_000;
const LARGE = 1_000_000;
const BUILDER = join(ROOT, "bench", "history.ts");
const FOLDER = join(CACHE, "history");
const databaseOf = (runs: number): string => join(FOLDER, `history-${runs}.db`);
const MISSING = "bench/history, which makes the databases, is not there yet";

/** Makes or finds both databases; the first time takes many minutes and about 10 GB. */
function history(...args: string[]): void {
  mkdirSync(FOLDER, { recursive: true });
  const sizes = ["--small", `${SMALL}`, "--large", `${LARGE}`];
  execFileSync(process.execPath, [BUILDER, ...sizes, "--keep", FOLDER, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

const notMeasured = (goals: Record<string, string>, why: string): Result => ({
  table: {},
  verdicts: Object.entries(goals).map(([goal, what]) => ({
    goal,
    what,
    figure: null,
    unit: "",
    wanted: "–",
    met: null,
    note: why,
  })),
});

export const grown: Bench = {
  name: "grown",
  goals: ["B13"],
  what: "durable accept into 1,000,000 stored runs against into 10,000",
  run: async (options) => {
    const goals = { B13: "latency of accepting into 1 M / into 10 k stored runs" };
    if (!existsSync(BUILDER)) return notMeasured(goals, MISSING);
    history("--fill-only");
    // Copies: what is asked of the history must stay as it was made. Rounds add to them, which changes little at these
    // sizes.
    const into = (runs: number) => {
      const database = join(options.folder, `${runs}.db`);
      copyFileSync(databaseOf(runs), database, constants.COPYFILE_FICLONE);
      return relay({ name: `into-${runs}`, database });
    };
    const subjects = [into(SMALL), into(LARGE)];
    const { table, notes } = await inRounds(subjects, options, acceptOnce(options.seconds), GONE);
    const slower = ratio(table, "perSecond", `into-${SMALL}`, `into-${LARGE}`);
    return {
      table,
      notes,
      verdicts: [verdict("B13", "accepted/s into 10 k / into 1 M stored runs", slower, atMost(1.25))],
    };
  },
};

interface HistoryFigures {
  figures: { question: string; group: string; large: { p50: number; p99: number }; ratio: number; goal: number }[];
}

export const lookingBack: Bench = {
  name: "history",
  goals: ["B11", "B12"],
  what: "questions to a history of 1,000,000 runs against 10,000",
  run: async (options) => {
    const goals = { B11: "history 1 M / 10 k, p50", B12: "worst p99 of any history call at 1 M" };
    if (!existsSync(BUILDER)) return notMeasured(goals, MISSING);
    const file = join(options.folder, "history.json");
    history("--json", file, "--rounds", `${roundsOf(options)}`);
    const { figures } = JSON.parse(readFileSync(file, "utf8")) as HistoryFigures;
    return { table: {}, verdicts: [...byGroup(figures), worst(figures)] };
  },
};

/** Its rounds are short. */
const roundsOf = ({ rounds }: Options): number => rounds * 4;

function byGroup(figures: HistoryFigures["figures"]): Verdict[] {
  const groups = [...new Set(figures.map(({ group }) => group))].filter((group) => group !== "other");
  return groups.map((group) => {
    const own = figures.filter((one) => one.group === group).toSorted((a, b) => b.ratio - a.ratio);
    const [first] = own;
    return verdict(
      "B11",
      `history 1 M / 10 k, p50: ${group}`,
      first?.ratio ?? null,
      atMost(first?.goal ?? 0),
      first?.question,
    );
  });
}

function worst(figures: HistoryFigures["figures"]): Verdict {
  const [first] = figures.toSorted((a, b) => b.large.p99 - a.large.p99);
  return verdict(
    "B12",
    "worst p99 of any history call at 1 M",
    first?.large.p99 ?? null,
    atMost(20, " ms"),
    first?.question,
  );
}
