/**
 * Finds what stands beside a name or below it, as a reader sees a text: in the rows and columns of a table, and on the
 * lines of a page. HTML, Markdown, tabs, columns of blanks, comma-separated values and lines are read alike. What a
 * name means is opaque here: 0 for what is no name.
 */
import type { TextSpan } from "./text-view.ts";

/** The characters that end a cell, as in brackets of an expression. Two blanks and a tag do too. */
export const CELL_SIGNS = String.raw`\n\t|\u2502`;

export interface CellJudge {
  /** What the name means that a part of the text ends with. `isWhole`: the part must be a name and nothing else. */
  readName: (start: number, end: number, isWhole: boolean) => number;
  /** Takes a part of the text that stands where the value of such a name would. Returns whether it is one. */
  take: (start: number, end: number, meaning: number) => boolean;
}

/** A `>` in quotes does not end a tag, unless a quote was never closed. */
export const ATTRIBUTES = String.raw`\s(?:[^<>"']|"[^"<]{0,999}"|'[^'<]{0,999}'){0,2000}`;
export const BROKEN_ATTRIBUTES = String.raw`\s[^<>]{0,2000}`;
/** What ends a cell: a line break, a tab, a bar, blanks, a tag, or a comment. */
const BREAK = new RegExp(
  String.raw`[${CELL_SIGNS}]| {2,}|<(\/?[A-Za-z][A-Za-z0-9]{0,30})(?:${ATTRIBUTES}|${BROKEN_ATTRIBUTES})?\/?>|<!--[^<>]{0,999}-->`,
  "g",
);
/** What a field of a form holds. */
const FIELD_VALUE = /\svalue\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)')/i;
/** A longer line is no row of comma-separated values. */
const LONGEST_LINE = 2_000;
const QUOTE = 0x22;
const COMMA = 0x2c;
const SEMICOLON = 0x3b;
/** Columns beyond it count as one. */
const MOST_COLUMNS = 200;

export function judgeCells(text: string, judge: CellJudge): void {
  const page = new Page(text, judge);
  let start = 0;
  BREAK.lastIndex = 0;
  for (let found = BREAK.exec(text); found !== null; found = BREAK.exec(text)) {
    page.cell(start, found.index);
    start = BREAK.lastIndex;
    if (found[0].startsWith("<")) page.tag((found[1] ?? "").toLowerCase(), found.index, start);
    else page.sign(found[0]);
  }
  page.cell(start, text.length);
  page.endRow();
}

/** What stands between two cells. */
const Gap = { line: 1, column: 2, blanks: 4, tag: 8 } as const;

class Page {
  readonly #text: string;
  readonly #rows: Rows;
  readonly #separated: readonly SeparatedLines[];
  /** The last cell. */
  #last: TextSpan = [0, 0];
  #column = 0;
  #gap = 0;
  /** Whether it is inside of `<tr>`, where a line break is a blank. */
  #isInRow = false;

  constructor(text: string, judge: CellJudge) {
    this.#text = text;
    this.#rows = new Rows(judge);
    this.#separated = [COMMA, SEMICOLON].map((separator) => new SeparatedLines(text, separator, judge));
  }

  sign(sign: string): void {
    if (sign === "\n") {
      if (this.#isInRow) return;
      this.#gap |= Gap.line;
      this.#column = 0;
    } else if (sign.startsWith(" ")) this.#gap |= Gap.blanks;
    else {
      this.#gap |= Gap.column;
      this.#column += 1;
    }
  }

  tag(name: string, start: number, end: number): void {
    this.#gap |= Gap.tag;
    if (name === "input") this.#field(start, end);
    if (name === "td" || name === "th") this.#column += 1;
    else if (/^\/?t(?:r|able)$/.test(name)) {
      this.endRow();
      if (name.endsWith("table")) this.#rows.endTable();
      this.#isInRow = name === "tr";
      this.#column = this.#isInRow ? -1 : 0;
    }
  }

  cell(from: number, to: number): void {
    let [start, end] = trimmed(this.#text, from, to);
    if (start === end || isRule(this.#text, start, end)) return;
    if (isBullet(this.#text.charCodeAt(start)) && this.#text[start + 1] === " ") start += 2;
    const gap = this.#gap;
    this.#gap = 0;
    // A line break beside a tag is a blank.
    if ((gap & Gap.line) !== 0 && (gap & (Gap.tag | Gap.column)) !== Gap.tag) this.endRow();
    if (gap === Gap.blanks) this.#column += 1;
    this.#last = [start, end];
    this.#rows.put(start, end, this.#column, true);
  }

  /** A field holds the value of the name before it, even when it is empty. */
  #field(start: number, end: number): void {
    const value = FIELD_VALUE.exec(this.#text.slice(start, end));
    const to = start + (value === null ? 0 : value.index + value[0].length - 1);
    this.#rows.put(to - (value?.[1] ?? value?.[2] ?? "").length, to, this.#column, true);
  }

  endRow(): void {
    if (this.#rows.isLine && !this.#isInRow) {
      this.#rows.endTable();
      for (const lines of this.#separated) lines.read(...this.#last);
    }
    this.#rows.endRow();
  }
}

/** The names beside and above a cell. */
class Rows {
  readonly #judge: CellJudge;
  /** What the heads of the columns mean. Null: the next row of several cells may be the heads. */
  #heads: number[] | null = null;
  /** How many cells the row has so far, and the column of its first one. */
  #width = 0;
  #first = 0;
  /** What the cells of this row mean. */
  #names: number[] = [];
  /** What the last cell means, and its column. */
  #before = 0;
  #beforeColumn = 0;

  constructor(judge: CellJudge) {
    this.#judge = judge;
  }

  get isInTable(): boolean {
    return this.#heads !== null;
  }

  /** Whether the row so far is one cell with nothing beside it. */
  get isLine(): boolean {
    return this.#width === 1 && this.#first === 0;
  }

  /** `isBeside`: the value of a name may stand beside it. */
  put(start: number, end: number, at: number, isBeside: boolean, isWhole = false): void {
    const column = Math.min(Math.max(at, 0), MOST_COLUMNS);
    if (this.#width === 0) this.#first = column;
    this.#width += 1;
    const before = isBeside ? this.#before : 0;
    this.#before = 0;
    if (this.#take(start, end, before)) this.#names[this.#beforeColumn] = 0;
    else if (!this.#take(start, end, this.#heads?.[column] ?? 0)) {
      this.#before = this.#judge.readName(start, end, isWhole);
      this.#beforeColumn = column;
      if (this.#before !== 0) this.#names[column] = this.#before;
    }
  }

  endRow(): void {
    if (this.#width > 1) this.#before = 0;
    if (this.#width > 1 || this.#first > 0) {
      if (this.#heads === null) this.#heads = this.#names;
      // In the first cell of a later row a name is beside its value, and not above one.
      else
        for (const [column, name] of this.#names.entries())
          if (column > this.#first && name > 0) this.#heads[column] = name;
    }
    this.#names = [];
    this.#width = 0;
    this.#first = 0;
  }

  endTable(): void {
    this.#heads = null;
  }

  #take(start: number, end: number, meaning: number): boolean {
    return meaning !== 0 && this.#judge.take(start, end, meaning);
  }
}

/** Lines with a separator between their values. Several of one width are a table. */
class SeparatedLines {
  readonly #text: string;
  readonly #separator: number;
  readonly #rows: Rows;
  #width = 0;

  constructor(text: string, separator: number, judge: CellJudge) {
    this.#text = text;
    this.#separator = separator;
    this.#rows = new Rows(judge);
  }

  read(start: number, end: number): void {
    const cells = end - start > LONGEST_LINE ? [] : this.#split(start, end);
    if (cells.length !== this.#width) this.#rows.endTable();
    this.#width = cells.length;
    if (cells.length < 2) return;
    const isBeside = cells.length === 2 && this.#rows.isInTable;
    for (const [column, [from, to]] of cells.entries()) this.#rows.put(from, to, column, isBeside, true);
    this.#rows.endRow();
  }

  /** A separator in quotes is part of a value. */
  #split(start: number, end: number): TextSpan[] {
    const cells: TextSpan[] = [];
    let isQuoted = false;
    let from = start;
    for (let at = start; at < end; at += 1) {
      const c = this.#text.charCodeAt(at);
      if (c === QUOTE) isQuoted = !isQuoted;
      else if (c === this.#separator && !isQuoted) {
        cells.push(trimmed(this.#text, from, at));
        from = at + 1;
      }
    }
    return cells.length === 0 ? cells : [...cells, trimmed(this.#text, from, end)];
  }
}

/** Whether it is a line between rows, or a fence: `+---+---+`, `:---`, ```` ``` ````. */
function isRule(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (!RULE.includes(text[at] ?? "")) return false;
  return true;
}

const RULE = "-+=:`~\u2500\u2550\u253c";
/** `-`, `*`, `>`, and a bullet. */
const isBullet = (c: number): boolean => c === 0x2d || c === 0x2a || c === 0x3e || c === 0x2022;
const isBlank = (c: number): boolean => c <= 0x20 || c === 0xa0;

export function trimmed(text: string, from: number, to: number): TextSpan {
  let [start, end] = [from, to];
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return [start, end];
}
