import { omittedIn, type Fact, type Section } from "../readable-output.ts";
import type { MailView } from "./view.ts";

/** Renders the mail as plain text. */
export function renderText(view: MailView): string {
  const parts = [
    [`${view.status}: ${view.title}`, view.about].filter(Boolean).join("\n"),
    view.notes.map((note) => `* ${note}`).join("\n"),
    view.facts.map(factText).join("\n"),
    view.summary === null ? "" : titled("Summary", view.summary),
    view.failure === null
      ? ""
      : titled(
          view.failure.title,
          [view.failure.reason, ...view.failure.facts.map(factText)].filter(Boolean).join("\n"),
        ),
    ...view.sections.map((section) => titled(section.title ?? "Output", sectionText(section))),
    view.omitted ?? "",
    view.files.length === 0 ? "" : titled("Files", view.files.map(fileText).join("\n")),
    view.links.map(({ label, url }) => `${label}: ${url}`).join("\n"),
    view.ids,
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** Text from outside is indented, so that none of its lines can pose as one of the mail's own. */
const indent = (text: string): string => text.replace(/^/gm, "  ");

const titled = (title: string, body: string): string => `${title}\n${indent(body)}`;

const factText = ({ label, value }: Fact): string => `${label}: ${value.replaceAll("\n", "\n  ")}`;

const fileText = ({ name, size, url }: MailView["files"][number]): string =>
  `${name}${size === null ? "" : ` (${size})`}${url === null ? "" : `\n  ${url}`}`;

function sectionText(section: Section): string {
  if (section.kind === "text") return section.text;
  const lines =
    section.kind === "fields"
      ? section.fields.map(factText)
      : section.rows.map((row) => row.map((value, i) => `${section.columns[i] ?? ""}: ${value}`).join(" | "));
  return [...lines, omittedIn(section) ?? []].flat().join("\n");
}
