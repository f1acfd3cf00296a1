/** Slack's documented rules for a whole message, and whom it notifies. */
import { findErrors } from "./block-rules.ts";
import type { SlackBlock, SlackStandInAnswer } from "./model.ts";
import { parseBlocks, asObject } from "./wire.ts";

/**
 * Why Slack would refuse the message, or null. `maxText` is 40,000 for chat.postMessage and 4,000 for chat.update. All
 * lengths are in UTF-16 units. `canShow` tells whether an image block may show a file, by its id. {@link
 * https://docs.slack.dev/reference/methods/chat.postMessage}
 */
export function checkMessage(
  args: { text?: unknown; blocks?: unknown },
  maxText: number,
  canShow: (fileId: string) => boolean = () => false,
): SlackStandInAnswer | null {
  const text = args.text ?? "";
  if (typeof text !== "string") return { ok: false, error: "invalid_arguments" };
  const blocks = args.blocks === undefined ? [] : parseBlocks(args.blocks);
  if (blocks === null) return { ok: false, error: "invalid_blocks_format" };
  if (text.trim() === "" && blocks.length === 0) return { ok: false, error: "no_text" };
  if (text.length > maxText) return { ok: false, error: "msg_too_long" };
  if (blocks.filter(({ type }) => type === "table").length > 1) {
    return { ok: false, error: "invalid_attachments", errors: ["only_one_table_allowed"] };
  }
  const errors = [...findErrors(blocks), ...pictureErrors(blocks, canShow)];
  if (errors.length > 0) {
    const messages = errors.map((error) => `[ERROR] ${error}`);
    return { ok: false, error: "invalid_blocks", errors, response_metadata: { messages } };
  }
  // Undocumented, measured by users: https://github.com/slackapi/bolt-js/issues/2509
  return JSON.stringify(blocks).length > 13_200 ? { ok: false, error: "msg_blocks_too_long" } : null;
}

const pictureErrors = (blocks: SlackBlock[], canShow: (fileId: string) => boolean): string[] =>
  blocks.flatMap(({ type, slack_file }, i) =>
    type === "image" && slack_file !== undefined && !canShow(String(asObject(slack_file)?.["id"]))
      ? [`invalid slack file [json-pointer:/blocks/${i}/slack_file]`]
      : [],
  );

export function metadataRefusal(value: unknown): SlackStandInAnswer | null {
  if (value === undefined) return null;
  const metadata = asObject(value);
  const isRight = typeof metadata?.["event_type"] === "string" && asObject(metadata["event_payload"]) !== null;
  return isRight ? null : { ok: false, error: "invalid_metadata_format" };
}

/** Whom a message notifies: mentions in its markup, and mention elements in its rich text. */
export function findPings(message: { text: string; blocks: readonly object[] }): string[] {
  const found = mentionsIn(message.text);
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    const object = asObject(value);
    if (!object) return;
    if (object["type"] === "mrkdwn") found.push(...mentionsIn(String(object["text"])));
    if (["broadcast", "user", "usergroup"].includes(String(object["type"]))) found.push(String(object["type"]));
    Object.values(object).forEach(visit);
  };
  visit(message.blocks);
  return found;
}

const mentionsIn = (markup: string): string[] => markup.match(/<(?:![^>]*|@[^>]*)>/g) ?? [];
