/** Finds channels by id or name, and reads lists that come in pages. */
import { isJsonObject, type Json } from "../../platform/json.ts";
import type { SlackAnswer, SlackCall } from "./api.ts";

/** The most pages that are read of one list. */
const MAX_PAGES = 10;

/** Ids consist of capitals and digits; names are lower case. */
export const isChannelId = (channel: string): boolean => /^[CDG][A-Z0-9]{7,}$/.test(channel);

/** Finds the id of a channel given by its name; null when the list cannot be read or lacks it. */
export async function findChannelId(call: SlackCall, channelName: string): Promise<string | null> {
  const name = channelName.replace(/^#/, "");
  const which = { types: "public_channel,private_channel", exclude_archived: true, limit: 999 };
  for await (const answer of pages(call, "conversations.list", which)) {
    if (!answer.ok) return null;
    const channel = objects(answer.data["channels"]).find((each) => each["name"] === name);
    if (typeof channel?.["id"] === "string") return channel["id"];
  }
  return null;
}

/** The pages of a list, as they are asked for; a failure is the last. */
export async function* pages(
  call: SlackCall,
  method: string,
  args: Record<string, unknown>,
): AsyncGenerator<SlackAnswer> {
  let cursor = "";
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await call(method, { ...args, ...(cursor && { cursor }) });
    yield answer;
    cursor = answer.ok ? readCursor(answer.data) : "";
    if (cursor === "") return;
  }
}

function readCursor({ response_metadata }: Record<string, unknown>): string {
  const cursor = isJsonObject(response_metadata) ? response_metadata["next_cursor"] : null;
  return typeof cursor === "string" ? cursor : "";
}

export const objects = (value: unknown): Record<string, Json>[] =>
  Array.isArray(value) ? value.filter(isJsonObject) : [];
