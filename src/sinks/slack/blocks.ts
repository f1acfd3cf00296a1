/**
 * Renders a run as a Slack message. Text that may be hostile is placed in `plain_text`, `raw_text` or rich text
 * elements, which Slack never reads as markup: it needs no escaping there and can neither ping nor link. Only the
 * message's `text`, the fallback of notifications, is markup, and goes through {@link inert}.
 */
import type {
  ActionsBlock,
  ContextBlock,
  HeaderBlock,
  ImageBlock,
  MrkdwnElement,
  RichTextBlock,
  RichTextElement,
  RichTextPreformatted,
  RichTextQuote,
  RichTextSection,
  RichTextText,
  TableBlock,
} from "@slack/web-api";
import {
  categoriesLabel,
  codesLabel,
  NO_ANSWER,
  NO_REASON,
  isPlainId,
  linksBeside,
  messageParts,
  plainWord,
  type Content,
  type IdPart,
  type MessagePart,
} from "../content.ts";
import { cut } from "../cut.ts";
import { omittedIn, omittedWords, type Section } from "../readable-output.ts";
import { inert, oneLine, visible } from "./text.ts";

export type SlackBlock = HeaderBlock | ImageBlock | RichTextBlock | TableBlock | ContextBlock | ActionsBlock;
export interface SlackMessage {
  /** The text for notifications, screen readers and clients without blocks, in mrkdwn. */
  text: string;
  blocks: SlackBlock[];
}

/**
 * The most bytes of all blocks as JSON. Slack answers `msg_blocks_too_long` from about 13,200 characters, documents no
 * number and does not say how it counts, so this counts UTF-8. {@link https://github.com/slackapi/bolt-js/issues/2509}
 */
export const MAX_BLOCKS_BYTES = 12_000;
/** chat.update refuses a longer text (4,000), and a notification shows far less. */
export const MAX_TEXT = 3_000;

/** {@link https://docs.slack.dev/reference/block-kit/blocks/header-block} */
const MAX_HEADER = 150;
/** {@link https://docs.slack.dev/reference/block-kit/blocks/context-block} */
const MAX_CONTEXT = 10;

/** How much of each part is shown: characters, or a number of items. */
interface BlockLimits {
  fact: number;
  summary: number;
  reason: number;
  codes: number;
  sections: number;
  text: number;
  fields: number;
  rows: number;
  columns: number;
  /** One table cell or field value. */
  cell: number;
  files: number;
  note: number;
  /** Longer links are left out. {@link https://docs.slack.dev/reference/block-kit/block-elements/button-element} */
  url: number;
}

const GENEROUS: BlockLimits = {
  fact: 160,
  summary: 2_500,
  reason: 2_500,
  codes: 10,
  sections: 5,
  text: 3_000,
  fields: 20,
  rows: 20,
  columns: 10,
  cell: 500,
  files: 10,
  note: 500,
  url: 3_000,
};

/**
 * From everything to little; the first that fits is sent. The output is shortened first, then files, and the failure
 * last.
 */
const LADDER: BlockLimits[] = [
  GENEROUS,
  { ...GENEROUS, text: 1_500, cell: 150 },
  { ...GENEROUS, text: 1_000, cell: 80, rows: 10, fields: 12, files: 6 },
  { ...GENEROUS, text: 600, cell: 60, rows: 5, columns: 6, fields: 8, files: 5, summary: 1_500 },
  {
    ...GENEROUS,
    text: 300,
    cell: 60,
    rows: 3,
    columns: 5,
    fields: 5,
    sections: 2,
    files: 3,
    summary: 1_000,
    url: 1_500,
  },
  { ...GENEROUS, sections: 0, files: 3, summary: 800, url: 1_000 },
  { ...GENEROUS, sections: 0, files: 0, fact: 100, summary: 400, reason: 1_000, codes: 5, note: 200, url: 500 },
  { ...GENEROUS, sections: 0, files: 0, fact: 60, summary: 200, reason: 400, codes: 3, note: 100, url: 300 },
];

/** The alternative text of the picture in a message. */
export const PICTURE_ALT = "Screenshot of the page at the end of the run";

/** A picture to show in a message. */
export interface ShownPicture {
  /** The id of its file at Slack. */
  file: string;
  /** Which block made it, and when; empty when that is not known. */
  caption: string;
}

/** Renders the message about a run within all of Slack's limits, whatever the run holds. */
export function renderMessage(content: Content, picture: ShownPicture | null = null): SlackMessage {
  const text = headline(content, 600);
  for (const limits of LADDER) {
    const blocks = render(content, picture, limits, limits !== GENEROUS);
    if (Buffer.byteLength(JSON.stringify(blocks)) <= MAX_BLOCKS_BYTES) return { text, blocks };
  }
  return renderPlainMessage(content);
}

/** Renders the same message without blocks, for when Slack refuses them. Its only link is the relay's own run page. */
export function renderPlainMessage(content: Content): SlackMessage {
  const page = content.links.find(({ label }) => label === "Run page");
  const href = page && linkable(page.url, 1_000);
  const lines = [
    headline(content, 900),
    inert(
      [...content.about.slice(0, MAX_PARTS), ...content.ids.map(idText)].map((part) => cut(part, MAX_PART)).join(" · "),
      400,
    ),
    ...content.facts.slice(0, 10).map(({ label, value }) => `${label}: ${inert(value, 80)}`),
    ...content.notes.slice(0, 4).map((note) => inert(note, 120)),
    ...(href ? [`Run page: <${escapeHref(href)}>`] : []),
  ];
  return { text: cutLines(lines, MAX_TEXT), blocks: [] };
}

/**
 * Renders the reply in the thread of a message whose outcome was corrected; `edited`: the message shows the new one.
 */
export function renderReply(content: Content, edited = true): SlackMessage {
  const why = reasonText(content);
  const label = shown(content.status.label, 50) || "unknown";
  const elements: RichTextElement[] = [
    textElement(`${content.status.symbol} Correction: this run is now `),
    textElement(label, { bold: true }),
    textElement(edited ? ". The message above was updated." : ". Slack no longer lets the message above be updated."),
    ...(why === "" ? [] : [textElement(`\n${cut(why, 500)}`)]),
  ];
  return {
    text: `${content.status.symbol} Correction: this run is now ${inert(content.status.label, 100) || "unknown"}.`,
    blocks: [rich(section(...elements))],
  };
}

function render(content: Content, picture: ShownPicture | null, limits: BlockLimits, shortened: boolean): SlackBlock[] {
  const notes = shortened ? [...content.notes, "Shortened to fit Slack: the run page has everything."] : content.notes;
  const parts: Record<MessagePart, () => SlackBlock[]> = {
    summary: () => titled("Summary", content.summary, limits.summary),
    failure: () => failureBlock(content, limits),
    picture: () => pictureBlock(picture),
    answer: () => outputBlocks(content, limits, { from: 0, to: 1 }),
    blocks: () => [
      ...outputBlocks(content, limits, { from: 1, to: limits.sections }),
      ...omittedBlock(content, limits),
    ],
    attempts: () => attemptsBlock(content, limits),
    files: () => filesBlock(content, limits),
    notes: () => notesBlock(notes, content.ids, limits),
  };
  return [
    header(content),
    ...aboutBlock(content, limits),
    ...messageParts(content).flatMap((part) => parts[part]()),
    ...actionsBlock(linksBeside(content, picture), limits),
  ];
}

function header({ status, title }: Content): HeaderBlock {
  const label = `${status.symbol} ${oneLine(cut(status.label, 100)) || "Unknown status"}`;
  const name = oneLine(cut(title, MAX_HEADER * 4));
  const text = cut(name === "" ? label : `${cut(label, 60)}: ${name}`, MAX_HEADER);
  return { type: "header", text: { type: "plain_text", text, emoji: false } };
}

/** When and how long in a line, then what was asked for. */
function aboutBlock({ about, facts }: Content, limits: BlockLimits): SlackBlock[] {
  const parts = about.flatMap((part) => oneLine(cut(part, MAX_PART)) || []).slice(0, MAX_PARTS);
  const lines = facts.flatMap(({ label, value }) => {
    const text = oneLine(cut(value, limits.fact * 4));
    return text === "" ? [] : [line(label, cut(text, limits.fact))];
  });
  return paragraph([...(parts.length === 0 ? [] : [[textElement(parts.join(" · "))]]), ...lines]);
}

const MAX_PART = 100;
const MAX_PARTS = 8;

function failureBlock({ failure }: Content, limits: BlockLimits): SlackBlock[] {
  if (!failure) return [];
  const reason = shown(failure.reason, limits.reason);
  const codes = [
    ...codesLine(codesLabel(failure), failure.codes, limits.codes),
    ...categoriesLine(failure, limits.codes),
  ];
  const title = shown(failure.title, 300);
  const quote: RichTextQuote[] = reason === "" ? [] : [{ type: "rich_text_quote", elements: [textElement(reason)] }];
  return [rich(section(textElement(title, { bold: true })), ...quote), ...paragraph(codes)];
}

function codesLine(label: string, given: readonly string[], max: number): RichTextElement[][] {
  const codes = given.flatMap((code) => oneLine(cut(code, 100)) || []);
  if (codes.length === 0) return [];
  const shown = codes.slice(0, max).flatMap((code) => [textElement(" "), textElement(code, { code: true })]);
  const more = codes.length > max ? [textElement(` … and ${codes.length - max} more`)] : [];
  return [[labelText(label), ...shown, ...more]];
}

function categoriesLine(failure: NonNullable<Content["failure"]>, max: number): RichTextElement[][] {
  const words = failure.categories.slice(0, max).flatMap((category) => oneLine(cut(plainWord(category), 100)) || []);
  return words.length === 0 ? [] : [line(categoriesLabel(failure), words.join(", "))];
}

/** A line an attempt; the thread has the table. */
function attemptsBlock({ attempts }: Content, limits: BlockLimits): SlackBlock[] {
  if (!attempts) return [];
  if (attempts.alike !== null) return paragraph([[textElement(attempts.alike)]]);
  const lines = attempts.rows.slice(-MAX_ATTEMPTS).map(([number = "", status = "", reason = ""]) => {
    const why = reason === "–" ? "" : `: ${shown(reason.replace(/\s+/g, " "), Math.min(limits.note, 160))}`;
    return [textElement(number, { bold: true }), textElement(`  ${cell(status, 60)}${why}`)];
  });
  return paragraph([[textElement("Attempts", { bold: true })], ...lines]);
}

/** Skyvern makes at most 6 (contract §9). */
const MAX_ATTEMPTS = 6;

/** The table of the attempts, for the thread; null when there was one attempt only. */
export function attemptsOf({ attempts, status }: Content): SlackMessage | null {
  if (!attempts) return null;
  const text = `${status.symbol} ${inert(status.label, 100)}`;
  for (const limits of LADDER) {
    const blocks = sectionBlocks(attempts, true, limits);
    if (Buffer.byteLength(JSON.stringify(blocks)) <= MAX_BLOCKS_BYTES) return { text, blocks };
  }
  return { text, blocks: [] };
}

/** {@link https://docs.slack.dev/reference/block-kit/blocks/image-block} */
function pictureBlock(picture: ShownPicture | null): ImageBlock[] {
  if (picture === null) return [];
  const text = oneLine(cut(picture.caption, MAX_PART));
  const title = text === "" ? {} : ({ title: { type: "plain_text", text, emoji: false } } as const);
  return [{ type: "image", slack_file: { id: picture.file }, alt_text: PICTURE_ALT, ...title }];
}

/** Slack takes one table a message. {@link https://docs.slack.dev/reference/block-kit/blocks/table-block} */
function outputBlocks(
  { output }: Content,
  limits: BlockLimits,
  { from, to }: { from: number; to: number },
): SlackBlock[] {
  const table = output.find(({ kind }) => kind === "table");
  const shown = output.slice(from, Math.min(to, limits.sections));
  return shown.flatMap((part) => sectionBlocks(part, part === table, limits));
}

function omittedBlock({ output, omittedBlocks }: Content, { sections }: BlockLimits): SlackBlock[] {
  const rest = omittedWords([omittedBlocks, "block"], [Math.max(0, output.length - sections), "part"]);
  return paragraph(restLine(rest));
}

function sectionBlocks(part: Section, asTable: boolean, limits: BlockLimits): SlackBlock[] {
  const title = oneLine(cut(part.title ?? "Output", 100)) || "Output";
  if (part.kind === "text") return titled(title, part.text, limits.text);
  if (part.kind === "fields") {
    const fields = part.fields.slice(0, limits.fields);
    const lines = fields.map(({ label, value }) => line(label, cell(value, limits.cell)));
    const rest = omittedIn({ ...part, omitted: part.omitted + part.fields.length - fields.length });
    return paragraph([[textElement(title, { bold: true })], ...lines, ...restLine(rest)]);
  }
  const columns = part.columns.slice(0, limits.columns).map((column) => cell(column, 60));
  const rows = part.rows.slice(0, limits.rows).map((row) => columns.map((_, i) => cell(row[i] ?? "", limits.cell)));
  const rest = omittedIn({
    ...part,
    omitted: part.omitted + part.rows.length - rows.length,
    omittedColumns: part.omittedColumns + part.columns.length - columns.length,
  });
  if (columns.length === 0) return [];
  const head = paragraph([[textElement(title, { bold: true })], ...restLine(rest)]);
  return asTable ? [...head, renderTable([columns, ...rows])] : [...head, preformatted([columns, ...rows])];
}

const renderTable = (rows: string[][]): TableBlock => ({
  type: "table",
  rows: rows.map((row) => row.map((text) => ({ type: "raw_text", text }))),
  column_settings: (rows[0] ?? []).map(() => ({ is_wrapped: true })),
});

const preformatted = (rows: string[][]): RichTextBlock => {
  const text = cut(rows.map((row) => row.map(oneLine).join(" | ")).join("\n"), 3_000);
  return rich({ type: "rich_text_preformatted", elements: [textElement(text)] });
};

function filesBlock({ files }: Content, limits: BlockLimits): SlackBlock[] {
  if (files.length === 0 || limits.files === 0) return [];
  const lines = files.slice(0, limits.files).map(({ name, size, url }) => {
    const href = linkable(url, limits.url);
    // The name comes from the page: as the link's text it could pose as another address.
    const words = [textElement(oneLine(cut(name, 120)) || "file"), textElement(size === null ? " " : ` (${size}) `)];
    return href ? [...words, { type: "link" as const, url: href, text: "Open" }] : words;
  });
  return paragraph([
    [textElement("Files", { bold: true })],
    ...lines,
    ...restLine(omittedWords([files.length - lines.length, "file"])),
  ]);
}

/** The remarks, and last what the run is found by. */
function notesBlock(notes: string[], ids: IdPart[], limits: BlockLimits): ContextBlock[] {
  const links = ids.flatMap((part) => idLink(part, limits) ?? []);
  const found = ids
    .filter((part) => idLink(part, limits) === null)
    .flatMap((part) => oneLine(cut(idText(part), MAX_PART)) || [])
    .join(" · ");
  const texts = [
    ...notes.flatMap((note) => shown(note, limits.note) || []).slice(0, MAX_CONTEXT - links.length - 1),
    ...(found === "" ? [] : [found]),
  ];
  const elements = [...texts.map((text) => ({ type: "plain_text" as const, text, emoji: false })), ...links];
  return elements.length === 0 ? [] : [{ type: "context", elements }];
}

const idText = ({ text, run }: IdPart): string => (run === null ? text : `${text} ${run.id}`);

/** A run's id as a link, in Slack's markup: only an id that holds nothing but letters, digits, `_` and `-`. */
function idLink({ text, run }: IdPart, limits: BlockLimits): MrkdwnElement | null {
  const href = run !== null && isPlainId(run.id) ? linkable(run.url, limits.url) : null;
  if (run === null || href === null) return null;
  return { type: "mrkdwn", text: `· ${inert(text, MAX_PART)} <${escapeHref(href)}|${run.id}>`, verbatim: true };
}

const escapeHref = (href: string): string => href.replaceAll("&", "&amp;").replaceAll("|", "%7C");

function actionsBlock(links: Content["links"], limits: BlockLimits): ActionsBlock[] {
  const buttons = links.flatMap(({ label, url }) => {
    const href = linkable(url, limits.url);
    return href ? [{ type: "button" as const, text: { type: "plain_text" as const, text: label }, url: href }] : [];
  });
  return buttons.length === 0 ? [] : [{ type: "actions", elements: buttons }];
}

/** A title with text under it; nothing without text. */
function titled(title: string, text: string | null, max: number): SlackBlock[] {
  const body = shown(text ?? "", max);
  return body === "" ? [] : [rich(section(textElement(title, { bold: true }), textElement(`\n${body}`)))];
}

/** The lines as one rich text block; nothing without lines. */
function paragraph(lines: RichTextElement[][]): SlackBlock[] {
  const elements = lines.flatMap((line, i) => (i === 0 ? line : [textElement("\n"), ...line]));
  return elements.length === 0 ? [] : [rich(section(...elements))];
}

const line = (label: string, value: string): RichTextText[] => [labelText(label), textElement(` ${value}`)];

/** A label that stands in one line with its value ends with a colon, as in mail and on the page. */
const labelText = (label: string): RichTextText => textElement(`${cell(label, 60)}:`, { bold: true });

const restLine = (rest: string | null): RichTextText[][] =>
  rest === null ? [] : [[textElement(rest, { italic: true })]];

/** Slack refuses empty cells. */
const cell = (text: string, max: number): string => shown(text, max) || "–";

// The text is cut before it is cleaned as well, so that megabytes are not cleaned to show one line.
const shown = (text: string, max: number): string => cut(visible(cut(text, max * 4)), max);

const textElement = (text: string, style?: RichTextText["style"]): RichTextText =>
  style ? { type: "text", text, style } : { type: "text", text };

const section = (...elements: RichTextElement[]): RichTextSection => ({ type: "rich_text_section", elements });

const rich = (...elements: (RichTextSection | RichTextQuote | RichTextPreformatted)[]): RichTextBlock => ({
  type: "rich_text",
  elements,
});

/** The URL in a form that Slack accepts, or null: http(s), well formed, at most `max` characters. */
function linkable(url: string, max: number): string | null {
  const href = URL.parse(url)?.href;
  return href && /^https?:/.test(href) && href.length <= max ? href : null;
}

function headline(content: Content, max: number): string {
  const label = inert(content.status.label, 50) || "Unknown status";
  const title = inert(content.title, 200);
  const why = inert(reasonText(content) || answerText(content), max - 300);
  return [`${content.status.symbol} ${label}`, title, why].filter((part) => part !== "").join(" – ");
}

function reasonText({ failure, summary }: Content): string {
  const why = failure === null || failure.isOvercome ? [] : [failure.at, unlessNothing(failure.reason)];
  return shown(why.filter(Boolean).join(": "), 1_000) || shown(summary ?? "", 1_000);
}

/** A message says that it has nothing to say of something; a line of a notification leaves that out. */
const unlessNothing = (text: string): string => (text === NO_REASON || text === NO_ANSWER ? "" : text);

/** What came of a run that says nothing of itself, in a line. */
function answerText({ output: [answer], files }: Content): string {
  if (answer === undefined || answer.kind === "table") {
    return files.length === 1 ? shown(files[0]?.name ?? "", MAX_PART) : files.length > 1 ? `${files.length} files` : "";
  }
  const text =
    answer.kind === "text"
      ? unlessNothing(answer.text)
      : answer.fields.map(({ label, value }) => `${label} ${value}`).join(", ");
  return shown([answer.title, text].filter(Boolean).join(": "), MAX_PART);
}

/** Keeps as many whole lines as fit, because cutting through an escape or a link would break it. */
function cutLines(lines: string[], max: number): string {
  const kept: string[] = [];
  let length = 0;
  for (const line of lines) {
    length += line.length + 1;
    if (length > max) break;
    kept.push(line);
  }
  return kept.join("\n");
}
