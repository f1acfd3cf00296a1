/** Leaves out of a message what stands in another place of it: its files, its summary, why it failed. Pure. */
import type { Report } from "../domain/report.ts";
import { plainReason } from "./plain-reason.ts";
import { bytes, type Section } from "./readable-output.ts";

/** The blocks of the output with what only they say; a block that says nothing else is left out. */
export function withoutRepeats(blocks: readonly Section[][], report: Report): Section[][] {
  const said = saidIn(report);
  return blocks
    .map((block) => block.flatMap((section) => withoutSaid(section, said)))
    .filter((sections) => sections.length > 0);
}

interface Said {
  /** Files as a line names them, with their size or without. */
  names: ReadonlySet<string>;
  /** Names, and whole texts. */
  lines: ReadonlySet<string>;
  /** Why the run failed, in small letters, and the label of the block at which it did. */
  reason: string;
  block: string | null;
}

function saidIn({ files, summary, failure }: Report): Said {
  const names = files.flatMap(({ name, size }) => [name, ...(size === null ? [] : [`${name} (${bytes(size)})`])]);
  const texts = [summary, failure?.reason].flatMap((text) => (text ? [text.trim()] : []));
  return {
    names: new Set(names),
    lines: new Set([...names, ...texts]),
    reason: (plainReason(failure?.reason ?? null) ?? "").toLowerCase(),
    block: failure?.block?.label ?? null,
  };
}

/** A loop's round that downloaded a file with the item's name: `id: INV-1 | INV-1.pdf (91 kB)`. */
const isFileOfItem = ([item = "", ...files]: readonly string[], names: ReadonlySet<string>): boolean =>
  files.length > 0 && files.every((file) => names.has(file) && file.startsWith(item.replace(/^[^:]*: /, "")));

function withoutSaid(section: Section, { names, lines, reason, block }: Said): Section[] {
  if (section.kind === "table") {
    const isOfFiles = section.columns[0] === "item" && section.rows.every((row) => isFileOfItem(row, names));
    return isOfFiles ? [] : [section];
  }
  if (section.kind === "fields") {
    const fields = section.fields.filter(({ value }) => !lines.has(value));
    return fields.length === 0 && section.omitted === 0 ? [] : [{ ...section, fields }];
  }
  const text = section.text.trim();
  const isSaid = lines.has(text) || text.split("\n").every((line) => lines.has(line.replace(/^• /, "")));
  // What a failing block came to is why the run failed.
  const isWhy = block !== null && section.title?.startsWith(block) === true && reason.endsWith(text.toLowerCase());
  return isSaid || isWhy ? [] : [section];
}

/** Whether a failure's category says more than each of its codes: `MAX_STEPS_EXCEEDED` does not beside `REACH_MAX_STEPS`. */
export function saidByNoCode(category: string, codes: readonly string[]): boolean {
  const words = tellingWords(category);
  return words.length === 0 || !codes.map(tellingWords).some((said) => words.every((word) => said.includes(word)));
}

const tellingWords = (code: string): string[] =>
  code
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "" && !EMPTY_WORDS.has(word))
    .map((word) => word.replace(/s$/, ""));

/** Words that only say that something went wrong. */
const EMPTY_WORDS = new Set(["error", "errors", "exceeded", "fail", "failed", "failure", "reach", "reached"]);
