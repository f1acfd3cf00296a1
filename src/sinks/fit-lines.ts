/** Fits readable output into a number of lines, as a phone shows them; what does not fit is counted. Pure. */
import { cut } from "./cut.ts";
import type { ReadableOutput, Section } from "./readable-output.ts";

/** Characters of a line on a phone. */
const WIDTH = 45;

export interface FittedOutput {
  sections: Section[];
  omittedBlocks: number;
}

/** A block that is shown has all its sections, if only by their titles. */
export function fitLines({ blocks, omittedBlocks }: ReadableOutput, lines: number): FittedOutput {
  const sections: Section[] = [];
  let left = lines;
  let shown = 0;
  for (const block of blocks) {
    // A title and a line under it, or nothing.
    if (left < 2 && shown > 0) break;
    for (const section of block) {
      const fitted = shorten(section, Math.max(0, left - 1));
      sections.push(fitted);
      left -= 1 + heightOf(fitted);
    }
    shown += 1;
  }
  return { sections, omittedBlocks: omittedBlocks + blocks.length - shown };
}

function heightOf(section: Section): number {
  if (section.kind === "text") return textHeight(section.text, Infinity);
  if (section.kind === "fields") return sum(section.fields.map(fieldHeight));
  return 1 + sum(section.rows.map(rowHeight));
}

function shorten(section: Section, lines: number): Section {
  if (lines === Infinity) return section;
  if (section.kind === "text") return { ...section, text: cutLines(section.text, lines) };
  if (section.kind === "fields") {
    const all = section.fields.map(({ label, value }) => ({
      label: cut(label, WIDTH),
      value: cut(value, MAX_HEIGHT * WIDTH),
    }));
    const fields = all.slice(0, howMany(all.map(fieldHeight), lines));
    return { ...section, fields, omitted: section.omitted + section.fields.length - fields.length };
  }
  const most = Math.floor((MAX_HEIGHT * WIDTH) / Math.max(1, section.columns.length));
  const all = section.rows.map((row) => row.map((cell) => cut(cell, most)));
  // Its head takes a line.
  const rows = all.slice(0, howMany(all.map(rowHeight), lines - 1));
  return { ...section, rows, omitted: section.omitted + section.rows.length - rows.length };
}

/** The first of them that fit. */
function howMany(heights: readonly number[], lines: number): number {
  let used = 0;
  const over = heights.findIndex((height) => (used += height) > lines);
  return over === -1 ? heights.length : over;
}

const fieldHeight = ({ label, value }: { label: string; value: string }): number =>
  Math.min(MAX_HEIGHT, textHeight(`${label}  ${value}`, MAX_HEIGHT));

/** Lines of one value or cell. */
const MAX_HEIGHT = 4;

const rowHeight = (cells: readonly string[]): number =>
  Math.max(1, ...cells.map((cell) => Math.min(MAX_HEIGHT, Math.ceil((cell.length * cells.length) / WIDTH))));

/** No more than `most` lines are counted. */
export function textHeight(text: string, most: number): number {
  const kept = most === Infinity ? text : text.slice(0, most * WIDTH);
  return sum(kept.split("\n").map((line) => Math.max(1, Math.ceil(line.length / WIDTH))));
}

/** Whole lines, the last one cut. */
function cutLines(text: string, lines: number): string {
  if (lines === 0) return "…";
  const kept: string[] = [];
  let left = lines;
  for (const line of text.slice(0, lines * WIDTH * 4).split("\n")) {
    const height = Math.max(1, Math.ceil(line.length / WIDTH));
    kept.push(cut(line, left * WIDTH));
    left -= height;
    if (left <= 0) break;
  }
  const shown = kept.join("\n");
  return shown.length < text.length && !shown.endsWith("…") ? `${shown} …` : shown;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
