/** Slack's documented rules for blocks: {@link https://docs.slack.dev/reference/block-kit/blocks}. */
import type { SlackBlock } from "./model.ts";
import { asObject } from "./wire.ts";

/** Records one fault in the blocks, at a JSON pointer. */
type Note = (message: string, pointer: string) => void;

export function findErrors(blocks: SlackBlock[]): string[] {
  const errors: string[] = [];
  const note: Note = (message, pointer) => errors.push(`${message} [json-pointer:/blocks${pointer}]`);
  if (blocks.length > 50) note("no more than 50 items allowed", "");
  const ids = new Set<unknown>();
  for (const [i, block] of blocks.entries()) {
    const id = block["block_id"];
    if (id !== undefined) {
      checkLength(id, 255, note, `/${i}/block_id`);
      if (ids.has(id)) note("`block_id` already exists for another block", `/${i}/block_id`);
      ids.add(id);
    }
    const check = BLOCKS[String(block["type"])];
    if (check) check(block, note, `/${i}`);
    else note(`unsupported type: ${String(block["type"])}`, `/${i}/type`);
  }
  return errors;
}

/** By block type. {@link https://docs.slack.dev/reference/block-kit/blocks} */
const BLOCKS: Record<string, (block: SlackBlock, note: Note, at: string) => void> = {
  divider: () => {},
  image(block, note, at) {
    checkLength(block["alt_text"], 2000, note, `${at}/alt_text`);
    if (block["title"] !== undefined) checkText(block["title"], 2000, note, `${at}/title`, ["plain_text"]);
    const { image_url: url, slack_file: file } = block;
    if ((url === undefined) === (file === undefined)) note("must have one of image_url and slack_file", at);
    if (url !== undefined) checkUrl(url, note, `${at}/image_url`);
  },
  header: (block, note, at) => checkText(block["text"], 150, note, `${at}/text`, ["plain_text"]),
  section(block, note, at) {
    const { text, fields } = block;
    if (text === undefined && fields === undefined) note("missing required field: text", at);
    if (text !== undefined) checkText(text, 3000, note, `${at}/text`);
    if (fields === undefined) return;
    for (const [i, field] of items(fields, 10, note, `${at}/fields`)) checkText(field, 2000, note, `${at}/fields/${i}`);
  },
  context(block, note, at) {
    for (const [i, item] of items(block["elements"], 10, note, `${at}/elements`)) {
      if (item["type"] !== "image") checkText(item, 3000, note, `${at}/elements/${i}`);
    }
  },
  actions(block, note, at) {
    const ids = new Set<unknown>();
    for (const [i, item] of items(block["elements"], 25, note, `${at}/elements`)) {
      const pointer = `${at}/elements/${i}`;
      if (item["type"] !== "button") note(`unsupported type: ${String(item["type"])}`, `${pointer}/type`);
      checkText(item["text"], 75, note, `${pointer}/text`, ["plain_text"]);
      if (item["url"] !== undefined) checkUrl(item["url"], note, `${pointer}/url`);
      const id = item["action_id"];
      if (id === undefined) continue;
      checkLength(id, 255, note, `${pointer}/action_id`);
      if (ids.has(id)) note("`action_id` already exists", `${pointer}/action_id`);
      ids.add(id);
    }
  },
  table(block, note, at) {
    const rows = items(block["rows"], 100, note, `${at}/rows`, Array.isArray);
    for (const [i, row] of rows) {
      for (const [k, cell] of items(row, 20, note, `${at}/rows/${i}`)) checkCell(cell, note, `${at}/rows/${i}/${k}`);
    }
    if (rows.length > 0 && lengthOfTexts(block["rows"]) > 10_000) note("table exceeds 10000 characters", at);
    const settings = block["column_settings"];
    if (settings !== undefined && (!Array.isArray(settings) || settings.length > 20)) {
      note("no more than 20 items allowed", `${at}/column_settings`);
    }
  },
  rich_text(block, note, at) {
    for (const [i, part] of items(block["elements"], Infinity, note, `${at}/elements`)) {
      checkRichPart(part, note, `${at}/elements/${i}`);
    }
  },
};

function checkCell(cell: SlackBlock, note: Note, at: string): void {
  if (cell["type"] === "raw_text") return checkLength(cell["text"], Infinity, note, `${at}/text`);
  if (cell["type"] === "rich_text") return BLOCKS["rich_text"]?.(cell, note, at);
  note(`unsupported type: ${String(cell["type"])}`, `${at}/type`);
}

function checkRichPart(part: SlackBlock, note: Note, at: string): void {
  const type = String(part["type"]);
  if (!["rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"].includes(type)) {
    return note(`unsupported type: ${type}`, `${at}/type`);
  }
  for (const [i, element] of items(part["elements"], Infinity, note, `${at}/elements`)) {
    const pointer = `${at}/elements/${i}`;
    if (type === "rich_text_list") checkRichPart(element, note, pointer);
    else checkRichElement(element, type, note, pointer);
  }
}

function checkRichElement(element: SlackBlock, parent: string, note: Note, at: string): void {
  const type = String(element["type"]);
  const allowed = parent === "rich_text_preformatted" ? ["text", "link"] : RICH_ELEMENTS;
  if (!allowed.includes(type)) return note(`unsupported type: ${type}`, `${at}/type`);
  if (type === "text") checkLength(element["text"], Infinity, note, `${at}/text`);
  if (type === "link") checkUrl(element["url"], note, `${at}/url`);
}

const RICH_ELEMENTS = ["text", "link", "emoji", "broadcast", "user", "usergroup", "channel", "team", "date", "color"];

function checkText(value: unknown, max: number, note: Note, at: string, types = ["plain_text", "mrkdwn"]): void {
  const text = asObject(value);
  if (!text) return note("must be a text object", at);
  if (!types.includes(String(text["type"]))) note(`unsupported type: ${String(text["type"])}`, `${at}/type`);
  if (text["verbatim"] !== undefined && text["type"] !== "mrkdwn") note("`verbatim` is for mrkdwn", `${at}/verbatim`);
  if (text["emoji"] !== undefined && text["type"] !== "plain_text") note("`emoji` is for plain_text", `${at}/emoji`);
  checkLength(text["text"], max, note, `${at}/text`);
  if (typeof text["text"] === "string" && text["text"].trim() === "")
    note("must be more than 0 characters", `${at}/text`);
}

function checkLength(value: unknown, max: number, note: Note, at: string): void {
  if (typeof value !== "string") note("must be a string", at);
  else if (value.length === 0) note("must be more than 0 characters", at);
  else if (value.length > max) note(`must be less than ${max + 1} characters`, at);
}

function checkUrl(value: unknown, note: Note, at: string): void {
  checkLength(value, 3000, note, at);
  const url = typeof value === "string" && !/\s/.test(value) ? URL.parse(value) : null;
  if (!url || !/^(https?|mailto):$/.test(url.protocol)) note("must be a valid url", at);
}

/**
 * The items of a list with their places. Records a fault when the value is no list, or the list is empty, too long, or
 * holds something else.
 */
function items(
  value: unknown,
  max: number,
  note: Note,
  at: string,
  isRight = (item: unknown) => asObject(item) !== null,
) {
  if (!Array.isArray(value) || value.length === 0) {
    note("no fewer than 1 items allowed", at);
    return [];
  }
  if (value.length > max) note(`no more than ${max} items allowed`, at);
  const wrong = value.findIndex((item) => !isRight(item));
  if (wrong >= 0) note("is of a wrong type", `${at}/${wrong}`);
  return wrong >= 0 ? [] : [...(value as SlackBlock[]).entries()];
}

function lengthOfTexts(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + lengthOfTexts(item), 0);
  const object = asObject(value);
  if (!object) return 0;
  const own = typeof object["text"] === "string" ? object["text"].length : 0;
  return own + lengthOfTexts(object["elements"]);
}
