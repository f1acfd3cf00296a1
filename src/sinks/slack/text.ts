/** Makes hostile text safe for Slack: visible characters only, no control over the line around it, no markup. */
import { defuse } from "../../platform/hostile-text.ts";
import { cut } from "../cut.ts";

/**
 * Text for a `plain_text`, `raw_text` or rich text element, which Slack shows as it is. Empty when nothing visible is
 * left: Slack refuses empty texts, so the caller leaves the element out. Half surrogates become U+FFFD, as form
 * encoding throws on them. Addresses, mentions and openings of Slack's markup stay inert even where a client or an
 * export reads the text as markup after all.
 */
export const visible = (text: string): string => defuse(text).replaceAll("\t", " ");

export const oneLine = (text: string): string => visible(text).replace(/\s+/g, " ");

/**
 * Cleans one line of text for a place where Slack reads mrkdwn (a message's `text`), at most `max` characters after
 * escaping. `&`, `<`, `>` are escaped; characters that could format, quote or ping are replaced by a look-alike or
 * broken by a word joiner. Underscores inside words, as in ids, format nothing and stay. {@link
 * https://docs.slack.dev/messaging/formatting-message-text}
 */
export function inert(text: string, max: number): string {
  const line = oneLine(cut(text, max * 4));
  for (let length = Math.min(line.length, max); length > 1; length = Math.floor(length * 0.8)) {
    const escaped = escape(cut(line, length));
    if (escaped.length <= max) return escaped;
  }
  return escape(line).length <= max ? escape(line) : "…";
}

const escape = (line: string): string =>
  line
    .replace(/^>+/, (quotes) => "›".repeat(quotes.length))
    .replaceAll("*", "∗")
    .replaceAll("~", "∼")
    .replaceAll("`", "ˋ")
    .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, "＿")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
