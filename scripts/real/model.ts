/**
 * Plays the language model of a real Skyvern: an OpenAI-compatible endpoint on loopback that answers each of Skyvern's
 * prompts by the keys of the JSON it asks for. A word in a run's own goal says how the run is to go:
 *
 * - `SAY=complete` (or no word): the goal is reached at once.
 * - `SAY=terminate`: the agent gives up.
 * - `SAY=download:TEXT`: first a click on the element that shows TEXT, which starts a download.
 * - `SAY=code`: a one-time code is asked for until Skyvern has one.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export interface ModelStandIn {
  /** Without `/v1`. */
  url: string;
  close(): void;
}

interface Order {
  word: string;
  argument: string;
}

interface Prompt extends Order {
  text: string;
}

/** What an extraction answers. */
export const EXTRACTED = { invoice_number: "INV-2026-0042", total: 1299, lines: [{ text: "Café €", amount: 12.5 }] };

interface Tool {
  name?: string;
  parameters?: { properties?: Record<string, { type?: string; enum?: unknown[] }> };
}
interface ChatRequest {
  model?: string;
  messages?: { content?: string | { text?: string }[] | null }[];
  tools?: { function?: Tool }[];
}

export async function startModel(): Promise<ModelStandIn> {
  const server = createServer((request, response) => {
    void respond(request).then((answer) => {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

async function respond(request: IncomingMessage): Promise<object> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (request.method !== "POST") return { object: "list", data: [{ id: "stand-in", object: "model" }] };
  const { model = "stand-in", messages = [], tools = [] } = JSON.parse(Buffer.concat(chunks).toString()) as ChatRequest;
  const text = messages
    .flatMap(({ content }) =>
      typeof content === "string" ? [content] : (content ?? []).map((part) => part.text ?? ""),
    )
    .join("\n");
  const prompt = { text, ...readOrder(text) };
  const offered = tools.flatMap((tool) => tool.function ?? []);
  const message =
    offered.length > 0
      ? { role: "assistant", content: null, tool_calls: [callEnd(offered, prompt)] }
      : { role: "assistant", content: JSON.stringify(answerOf(prompt)) };
  return {
    id: "chatcmpl-stand-in",
    object: "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model,
    choices: [{ index: 0, finish_reason: offered.length > 0 ? "tool_calls" : "stop", message }],
    usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 },
  };
}

/** The last order counts: earlier ones stand in the history of the run. */
function readOrder(text: string): Order {
  const last = [...text.matchAll(/SAY=([a-z]+)(?::([\w-]+))?/g)].at(-1);
  return { word: last?.[1] ?? "complete", argument: last?.[2] ?? "" };
}

/** What Skyvern asks for, by keys that only that prompt names; the first that fits. */
const PROMPTS: readonly (readonly [keys: readonly string[], answer: (prompt: Prompt) => unknown])[] = [
  [['"actions"', '"action_type"'], nextActions],
  [
    ['"task_type"'],
    () => ({ ...REACHED, task_type: "extract", plan: "", is_loop_value_link: false, status: "complete" }),
  ],
  [['"should_terminate"'], verdict],
  [['"is_terminate"'], verdict],
  [
    ['"user_goal_achieved"'],
    ({ word, text }) => ({
      ...REACHED,
      user_goal_achieved: ["complete", "code"].includes(word) || text.includes("mini"),
    }),
  ],
  [['"verdict"'], () => ({ verdict: "achieved", quote: "", missing: "" })],
  [['"description"', '"output"'], () => ({ description: "The invoice was found.", output: EXTRACTED })],
  [['"url"', '"title"'], ({ text }) => ({ thoughts: "The goal names it.", url: firstUrl(text), title: "A task" })],
  [['"errors"', "error_code"], () => ({ errors: [] })],
  [['"title"'], () => ({ title: "A workflow" })],
  [['"summary"'], () => ({ summary: "It does what it says." })],
];

const answerOf = (prompt: Prompt): unknown =>
  PROMPTS.find(([keys]) => keys.every((key) => prompt.text.includes(key)))?.[1](prompt) ?? EXTRACTED;

const REACHED = {
  page_info: "A page.",
  thoughts: "The goal is reached.",
  observation: "A page.",
  user_goal_achieved: true,
};

function verdict({ word }: Prompt): object {
  const gaveUp = word === "terminate";
  return {
    ...REACHED,
    user_goal_achieved: !gaveUp,
    should_terminate: gaveUp,
    is_terminate: gaveUp,
    status: gaveUp ? "terminate" : "complete",
  };
}

function nextActions({ text, word, argument }: Prompt): object {
  const answer = { user_goal_stage: "at the end", user_goal_achieved: true, action_plan: "End here.", actions: [{}] };
  const action = { reasoning: "It was told so.", confidence_float: 1, id: null, user_detail_query: null };
  if (word === "code" && text.includes("place_to_enter_verification_code"))
    return {
      ...answer,
      actions: [],
      user_goal_achieved: false,
      verification_code_reasoning: "A code is asked for.",
      place_to_enter_verification_code: true,
      should_enter_verification_code: true,
      should_verify_by_magic_link: false,
    };
  if (word === "terminate")
    return {
      ...answer,
      actions: [{ ...action, action_type: "TERMINATE", reasoning: "The account is locked.", errors: [] }],
    };
  const history = text.split("Action History")[1] ?? "";
  if (word !== "download" || /click/i.test(history))
    return { ...answer, actions: [{ ...action, action_type: "COMPLETE", verified: true }] };
  const click = { ...action, action_type: "CLICK", id: findElement(text, argument), download: true };
  return { ...answer, user_goal_achieved: false, actions: [click] };
}

/** The id that Skyvern gave to the element that shows a text. */
const findElement = (text: string, shown: string): string | null =>
  [...text.matchAll(/<\w+[^>]*?\bid=["']?(\w+)["']?[^>]*>([^<]*)/g)].find(([, , words]) =>
    words?.includes(shown),
  )?.[1] ?? null;

const firstUrl = (text: string): string => /https?:\/\/127\.0\.0\.1:\d+\/[^\s"'`<]*/.exec(text)?.[0] ?? "about:blank";

/** An agent that works with tools: it calls the one that ends the task. */
function callEnd(tools: readonly Tool[], { word }: Prompt): object {
  const wanted = word === "terminate" ? /terminate/ : /complete|finish|done/;
  const tool = tools.find(({ name = "" }) => wanted.test(name)) ?? tools[0];
  const values: Record<string, unknown> = { boolean: true, integer: 1, number: 1, object: EXTRACTED, array: [] };
  const args = Object.entries(tool?.parameters?.properties ?? {}).map(([name, { type = "string", enum: options }]) => [
    name,
    options?.[0] ?? values[type] ?? "It was told so.",
  ]);
  return {
    id: `call_${Date.now()}`,
    type: "function",
    function: { name: tool?.name ?? "", arguments: JSON.stringify(Object.fromEntries(args)) },
  };
}
