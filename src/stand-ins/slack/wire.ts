/** Reads calls and writes answers in Slack's form. */
import type { SlackBlock, SlackStandInAnswer } from "./model.ts";

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Arguments as Slack reads them: a form, JSON, or the query. `readable` is false for a body that is not JSON. */
export function parseArgs(body: string, contentType: string, query: URLSearchParams) {
  const fromQuery: Record<string, unknown> = Object.fromEntries(query);
  if (!contentType.startsWith("application/json")) {
    const form = Object.fromEntries(new URLSearchParams(body));
    const payload = form["payload"];
    if (payload === undefined) return { args: { ...fromQuery, ...form } as Record<string, unknown>, readable: true };
    return { args: asObject(payload) ?? {}, readable: asObject(payload) !== null };
  }
  const args = asObject(body);
  return { args: { ...fromQuery, ...args }, readable: args !== null };
}

/** An object, or its JSON text, since forms carry objects that way. */
export function asObject(value: unknown): Record<string, unknown> | null {
  const object = typeof value === "string" ? parsed(value) : value;
  return typeof object === "object" && object !== null && !Array.isArray(object)
    ? (object as Record<string, unknown>)
    : null;
}

export function parseBlocks(value: unknown): SlackBlock[] | null {
  const list = typeof value === "string" ? parsed(value) : value;
  return Array.isArray(list) && list.every((item) => asObject(item) !== null) ? (list as SlackBlock[]) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const asText = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null);

export const json = (answer: SlackStandInAnswer): Reply => ({
  status: 200,
  headers: { "content-type": "application/json; charset=utf-8" },
  body: JSON.stringify(answer),
});

export const plain = (status: number, body: string): Reply => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body,
});
