/** Leaves out of a message what stands in another place of it: its files, its summary, why it failed. Pure. */
import { formatBytes } from "../platform/amounts.ts";
import type { Report } from "../domain/report.ts";
import { plainReason } from "./plain-reason.ts";
import type { Section } from "./readable-output.ts";

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
  files: number;
  /** Its summary and its reason. */
  texts: ReadonlySet<string>;
  /**
   * Why the run failed, in small letters and without an answer's status, and the label of the block at which it did.
   */
  reason: string;
  block: string | null;
  /** `HTTP 500`, where the reason is a server's answer. */
  status: string | null;
}

function saidIn({ files, summary, failure }: Report): Said {
  const names = files.flatMap(({ name, size }) => [name, ...(size === null ? [] : [`${name} (${formatBytes(size)})`])]);
  const texts = [summary, failure?.reason].flatMap((text) => (text && isSentence(text) ? [text.trim()] : []));
  const reason = plainReason(failure?.reason ?? null) ?? "";
  const [status = null] = /^HTTP \d{3}(?=: )/.exec(reason) ?? [];
  return {
    names: new Set(names),
    files: files.length,
    texts: new Set(texts),
    reason: reason.slice(status === null ? 0 : `${status}: `.length).toLowerCase(),
    block: failure?.block?.label ?? null,
    status,
  };
}

/** A value of a word or two is the same by chance: `Paid` says something of each field. */
const isSentence = (text: string): boolean => /\S\s+\S+\s+\S/.test(text);

/**
 * Whether the section is of the block that failed. Where none is known, it is one with the answer that is the reason.
 */
function isOfFailure(title: string | null, { block, status }: Said): boolean {
  if (title === null) return false;
  if (block !== null) return title === block || title.startsWith(`${block} – `);
  return status !== null && title.endsWith(` – ${status}`);
}

/** A loop's round that downloaded a file with the item's name: `id: INV-1 | INV-1.pdf (91 kB)`. */
function isFileOfItem([item = "", ...files]: readonly string[], names: ReadonlySet<string>): boolean {
  const name = item.replace(/^[^:]*: /, "");
  return name !== "" && files.length > 0 && files.every((file) => names.has(file) && file.startsWith(name));
}

function withoutSaid(section: Section, said: Said): Section[] {
  const { names, files, texts, reason } = said;
  if (section.kind === "table") {
    const { columns, rows, omitted } = section;
    // A round without a file may be among those that are not shown.
    const isOfFiles =
      columns[0] === "item" && rows.length + omitted <= files && rows.every((row) => isFileOfItem(row, names));
    return isOfFiles ? [] : [section];
  }
  // What a failing block came to is why the run failed.
  const isOfBlock = isOfFailure(section.title, said);
  if (section.kind === "fields") {
    const isOfFile =
      section.fields[0]?.label === "item" &&
      isFileOfItem(
        section.fields.map(({ value }) => value),
        names,
      );
    const isWhy = (words: string): boolean => isOfBlock && words.toLowerCase() === reason;
    const isAllWhy = isWhy(section.fields.map(({ label, value }) => `${label}: ${value}`).join(", "));
    // Which file it is that a field names stands nowhere else.
    const fields = isOfFile || isAllWhy ? [] : section.fields.filter(({ value }) => !texts.has(value) && !isWhy(value));
    return fields.length === 0 && section.omitted === 0 ? [] : [{ ...section, fields }];
  }
  const text = section.text.trim();
  const isList = text.split("\n").every((line) => line.startsWith("• ") && names.has(line.slice(2)));
  return isList || texts.has(text) || (isOfBlock && reason.endsWith(text.toLowerCase())) ? [] : [section];
}

/**
 * Whether a failure's category says more than each of its codes: `MAX_STEPS_EXCEEDED` does not beside
 * `REACH_MAX_STEPS`.
 */
export function saidByNoCode(category: string, codes: readonly string[]): boolean {
  const words = tellingWords(category);
  return words.length === 0 || !codes.map(tellingWords).some((said) => words.every((word) => said.includes(word)));
}

const tellingWords = (code: string): string[] =>
  code
    .slice(0, 200)
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "" && !EMPTY_WORDS.has(word))
    .map((word) => word.replace(/s$/, ""));

/** Words that only say that something went wrong. */
const EMPTY_WORDS = new Set(["error", "errors", "exceeded", "fail", "failed", "failure", "reach", "reached"]);
