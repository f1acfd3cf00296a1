/** What a mail shows of a report: every string cleaned of what could deceive or become a link, and cut. */
import type { Tone } from "../../domain/status-look.ts";
import { defuse } from "../../platform/hostile-text.ts";
import {
  categoriesLabel,
  codesLabel,
  isPlainId,
  linksBeside,
  messageParts,
  plainWord,
  type Content,
  type IdPart,
  type MessagePart,
} from "../content.ts";
import { cut } from "../cut.ts";
import { omittedWords, type Fact, type Section } from "../readable-output.ts";

export interface MailLimits {
  /** The most characters of a multi-line value. */
  field: number;
  /** The most characters of a table cell. */
  cell: number;
  output: boolean;
}

const MAX_FILES = 20;
const MAX_URL = 2_000;
const ONE_LINE = 200;
const MAX_FACT = 300;

/** The screenshot in the mail. */
export interface ShownPicture {
  /** Its content id. */
  cid: string;
  /** Which block made it, and when; empty when that is not known. */
  caption?: string;
}

export interface MailView {
  status: string;
  tone: Tone;
  title: string;
  /** When it ended, how long it took. */
  about: string;
  notes: string[];
  /** What was asked for. */
  facts: Fact[];
  /** What the run is found by. Another run's id is the text of the link to its page. */
  ids: IdPart[];
  /** The order of all that stands between the goal and the links. */
  parts: MessagePart[];
  summary: string | null;
  failure: { title: string; reason: string; facts: Fact[] } | null;
  picture: Required<ShownPicture> | null;
  /** The first section of the output, and the others. */
  answer: Section[];
  blocks: Section[];
  attempts: Section[];
  /** How many blocks are not shown. */
  omitted: string | null;
  files: { name: string; size: string | null; url: string | null }[];
  links: { label: string; url: string }[];
}

const OMITTED_OUTPUT = "The output is too long for a mail …";

export function buildView(
  content: Content,
  { field, cell, output }: MailLimits,
  picture: ShownPicture | null = null,
): MailView {
  const { status, failure } = content;
  const moreFiles = content.files.length - MAX_FILES;
  const sections = output ? content.output.map((section) => buildSection(section, field, cell)) : [];
  return {
    status: `${status.symbol} ${cut(line(status.label), ONE_LINE)}`,
    tone: status.tone,
    title: cut(line(content.title), ONE_LINE),
    notes: [...content.notes.map((note) => cut(line(note), field)), ...(output ? [] : [OMITTED_OUTPUT])],
    about: cut(content.about.map(line).join(" · "), 2 * ONE_LINE),
    ids: content.ids.map(({ text, run }) => {
      const url = run !== null && isPlainId(run.id) ? safeUrl(run.url) : null;
      if (run !== null && url !== null) return { text: line(text), run: { id: run.id, url } };
      return { text: cut(line(run === null ? text : `${text} ${run.id}`), ONE_LINE), run: null };
    }),
    parts: messageParts(content),
    facts: content.facts.map(({ label, value }) => ({ label, value: cut(block(value), MAX_FACT) })),
    summary: content.summary === null ? null : cut(block(content.summary), field),
    failure: failure && {
      title: cut(line(failure.title), ONE_LINE),
      reason: cut(block(failure.reason), field),
      facts: [
        { label: codesLabel(failure), value: cut(line(failure.codes.join(", ")), ONE_LINE) },
        { label: categoriesLabel(failure), value: cut(line(failure.categories.map(plainWord).join(", ")), ONE_LINE) },
      ].filter(({ value }) => value !== ""),
    },
    picture: picture && { cid: picture.cid, caption: cut(line(picture.caption ?? ""), ONE_LINE) },
    answer: sections.slice(0, 1),
    blocks: sections.slice(1),
    attempts: content.attempts ? [buildSection(listAttempts(content.attempts), field, cell)] : [],
    omitted: output ? omittedWords([content.omittedBlocks, "block"]) : null,
    files: [
      ...content.files.slice(0, MAX_FILES).map(({ name, size, url }) => ({
        name: cut(line(name), ONE_LINE),
        size,
        url: safeUrl(url),
      })),
      ...(moreFiles > 0 ? [{ name: `… and ${moreFiles} more`, size: null, url: null }] : []),
    ],
    links: linksBeside(content, picture).flatMap(({ label, url }) => {
      const safe = safeUrl(url);
      return safe === null ? [] : [{ label, url: safe }];
    }),
  };
}

/** A line an attempt: six columns do not fit a phone. */
function listAttempts({ rows, omitted, alike }: NonNullable<Content["attempts"]>): Section {
  if (alike !== null) return { kind: "text", title: "Attempts", text: alike };
  const fields = rows.map(([number = "", status = "", reason = "–", codes = "–"]) => ({
    label: number,
    value: [status, reason, codes].filter((part) => part !== "–").join(": "),
  }));
  return { kind: "fields", title: "Attempts", fields, omitted };
}

function buildSection(section: Section, field: number, cell: number): Section {
  const title = section.title === null ? null : cut(line(section.title), ONE_LINE);
  if (section.kind === "text") return { ...section, title, text: cut(block(section.text), field) };
  if (section.kind === "fields") {
    return {
      ...section,
      title,
      fields: section.fields.map(({ label, value }) => ({
        label: cut(line(label), ONE_LINE),
        value: cut(block(value), field),
      })),
    };
  }
  return {
    ...section,
    title,
    columns: section.columns.map((column) => cut(line(column), Math.min(cell, ONE_LINE))),
    rows: section.rows.map((row) => row.map((value) => cut(line(value), cell))),
  };
}

/** The most characters of a value that are examined before it is cut. */
const MAX_READ = 20_000;

/** Text of several lines. */
const block = (text: string): string => defuse(text.slice(0, MAX_READ));

/** Text of one line. */
export const line = (text: string): string => block(text).replace(/\s+/g, " ");

function safeUrl(text: string): string | null {
  if (text.length > MAX_URL || !URL.canParse(text)) return null;
  const url = new URL(text);
  return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
}
