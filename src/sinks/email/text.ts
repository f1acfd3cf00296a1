import { omittedIn, type Fact, type Section } from "../readable-output.ts";
import type { MessagePart } from "../content.ts";
import type { MailView } from "./view.ts";

/** Renders the mail as plain text. */
export function renderText(view: MailView): string {
  const parts = [
    [`${view.status}: ${view.title}`, view.about].filter(Boolean).join("\n"),
    view.facts.map(factText).join("\n"),
    ...view.parts.flatMap((part) => PARTS[part](view)),
    view.links.map(({ label, url }) => `${label}: ${url}`).join("\n"),
    view.ids.map(({ text, run }) => (run === null ? text : `${text} ${run.id}`)).join(" · "),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

const PARTS: Record<MessagePart, (view: MailView) => string[]> = {
  summary: ({ summary }) => (summary === null ? [] : [titled("Summary", summary)]),
  failure: ({ failure }) =>
    failure === null
      ? []
      : [titled(failure.title, [failure.reason, ...failure.facts.map(factText)].filter(Boolean).join("\n"))],
  picture: () => [],
  answer: ({ answer }) => answer.map(sectionText),
  blocks: ({ blocks, omitted }) => [...blocks.map(sectionText), omitted ?? ""],
  attempts: ({ attempts }) => attempts.map(sectionText),
  files: ({ files }) => (files.length === 0 ? [] : [titled("Files", files.map(fileText).join("\n"))]),
  notes: ({ notes }) => [notes.map((note) => `* ${note}`).join("\n")],
};

/** Text from outside is indented, so that none of its lines can pose as one of the mail's own. */
const indent = (text: string): string => text.replace(/^/gm, "  ");

const titled = (title: string, body: string): string => `${title}\n${indent(body)}`;

const factText = ({ label, value }: Fact): string => `${label}: ${value.replaceAll("\n", "\n  ")}`;

const fileText = ({ name, size, url }: MailView["files"][number]): string =>
  `${name}${size === null ? "" : ` (${size})`}${url === null ? "" : `\n  ${url}`}`;

const sectionText = (section: Section): string => titled(section.title ?? "Output", bodyOf(section));

function bodyOf(section: Section): string {
  if (section.kind === "text") return section.text;
  const lines =
    section.kind === "fields"
      ? section.fields.map(factText)
      : section.rows.map((row) => row.map((value, i) => `${section.columns[i] ?? ""}: ${value}`).join(" | "));
  return [...lines, omittedIn(section) ?? []].flat().join("\n");
}
