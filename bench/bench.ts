/**
 * Rounds and verdicts. Absolute figures mean little on a shared machine: in every round each subject runs once, on a
 * fresh process and a fresh database, in an order that turns around with every round; what counts is the median of the
 * rounds' ratios.
 */
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeBodies, type Shape } from "./bodies.ts";
import { startReceiver } from "./receiver.ts";
import type { Place, Subject } from "./subject.ts";

export interface Options {
  rounds: number;
  /** Of load, each time. */
  seconds: number;
  /** Another checkout of the relay, measured beside this one. */
  other?: string;
  /** Names of the subjects, when not all shall be measured; `durable` knows it, as the three below. */
  only?: readonly string[];
  /** Whether all processes of a subject share one core. */
  oneCore?: boolean;
  /** Webhooks a second at fixed times, instead of as many as there are answers. */
  rate?: number;
  /** How much longer each sync takes, ms. */
  syncMs?: number;
  /** Says what happens, to standard error. */
  say(text: string): void;
  /** A folder for what all rounds share. */
  folder: string;
}

export interface Verdict {
  /** `B1` … `B15`. */
  goal: string;
  what: string;
  /** Null: not measured, and `note` says why. */
  figure: number | null;
  unit: string;
  wanted: string;
  met: boolean | null;
  note?: string;
}

/** Figures of one subject in one round. */
export type Figures = Record<string, number>;
/** Subject → its figures in each round. */
export type Table = Record<string, Figures[]>;

export interface Result {
  table: Table;
  verdicts: Verdict[];
  notes?: string[];
}

export interface Bench {
  name: string;
  /** The goals it has figures for. */
  goals: string[];
  what: string;
  run(options: Options): Promise<Result>;
}

export const atLeast = (wanted: number, unit = "x") => ({
  unit,
  wanted: `>= ${wanted}${unit}`,
  isMet: (figure: number) => figure >= wanted,
});
export const atMost = (wanted: number, unit = "x") => ({
  unit,
  wanted: `<= ${wanted}${unit}`,
  isMet: (figure: number) => figure <= wanted,
});

export function verdict(
  goal: string,
  what: string,
  figure: number | null,
  { unit, wanted, isMet }: ReturnType<typeof atLeast>,
  note?: string,
): Verdict {
  const met = figure === null ? null : isMet(figure);
  return { goal, what, figure, unit, wanted, met, ...(note === undefined ? {} : { note }) };
}

/** Runs each subject once a round. A subject that cannot be had here is left out, and the reason goes into `notes`. */
export async function inRounds(
  subjects: readonly Subject[],
  options: Options,
  measure: (subject: Subject, place: Place, round: number) => Promise<Figures>,
  receiverStatus?: string,
): Promise<{ table: Table; notes: string[] }> {
  const notes: string[] = [];
  const here = subjects.filter((subject) => {
    const why = subject.unavailable?.() ?? null;
    if (why !== null) notes.push(`${subject.name} is left out: ${why}`);
    return why === null;
  });
  const table: Table = Object.fromEntries(here.map(({ name }) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const subject of round % 2 === 0 ? here : here.toReversed()) {
      const folder = mkdtempSync(join(options.folder, `${subject.name}-`));
      const receiver = await startReceiver(folder, receiverStatus);
      const place: Place = { folder, receiver, bodies: (shape) => bodiesIn(options.folder, shape) };
      try {
        const figures = { ...(await measure(subject, place, round)), fsyncPerSecond: fsyncRate(folder) };
        table[subject.name]?.push(figures);
        options.say(`round ${round + 1}  ${subject.name.padEnd(14)} ${shown(figures)}`);
      } finally {
        await receiver.stop();
        rmSync(folder, { recursive: true, force: true });
      }
    }
  }
  return { table, notes };
}

const written = new Map<string, string>();
function bodiesIn(folder: string, shape: Shape): string {
  const path = written.get(folder + shape) ?? writeBodies(folder, shape);
  written.set(folder + shape, path);
  return path;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The median of the rounds' ratios of one figure; null when one of the two was not measured. */
export function ratio(table: Table, figure: string, subject: string, baseline: string): number | null {
  const over = table[baseline];
  const ratios = (table[subject] ?? []).map(
    (figures, round) => (figures[figure] ?? NaN) / (over?.[round]?.[figure] ?? NaN),
  );
  const usable = ratios.filter((value) => Number.isFinite(value));
  return usable.length === 0 ? null : median(usable);
}

export const medianOf = (table: Table, figure: string, subject: string): number | null => {
  const values = (table[subject] ?? []).flatMap((figures) => (figures[figure] === undefined ? [] : [figures[figure]]));
  return values.length === 0 ? null : median(values);
};

const PROBE_MS = 250;

/** How often a second the disk takes 4 kB for good. */
export function fsyncRate(folder: string): number {
  const file = openSync(join(folder, "probe"), "w");
  const block = Buffer.alloc(4096, 1);
  let count = 0;
  const from = performance.now();
  for (; performance.now() < from + PROBE_MS; count++) {
    writeSync(file, block);
    fdatasyncSync(file);
  }
  closeSync(file);
  return Math.round((count / (performance.now() - from)) * 1000);
}

/** A folder for one bench, on a disk: `BENCH_FOLDER`, or the system's place for temporary files. */
export function temporaryFolder(): string {
  const parent = process.env.BENCH_FOLDER ?? tmpdir();
  mkdirSync(parent, { recursive: true });
  return mkdtempSync(join(parent, "skyvern-relay-bench-"));
}

export const round3 = (value: number): number => Number(value.toPrecision(value >= 1000 ? 5 : 3));
export const shown = (figures: Figures): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${round3(value)}`)
    .join("  ");
