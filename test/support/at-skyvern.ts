/** Runs as the stand-in Skyvern holds them: ended at a time, started with a webhook URL. */
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import type { SlackMessageStored } from "../../src/stand-ins/slack.ts";
import type { SlackStandIn } from "./slack.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { PUBLIC_URL, type TestApp } from "./app.ts";
import { fixtureJson } from "./fixtures.ts";

export interface AtSkyvern extends Omit<StandInRun, "payload" | "run_request"> {
  id: string;
  /** A webhook fixture to begin with. */
  fixture?: string;
  status?: string;
  /** Epoch milliseconds; null while it goes on. */
  endedAt: number | null;
  /** A minute before its end unless given. */
  createdAt?: number;
  webhookUrl?: string | null;
  /** Other values of the payload. */
  payload?: JsonObject;
}

export const WEBHOOK_URL = `${PUBLIC_URL}/webhook`;

/** Skyvern's naive UTC with microseconds. */
export const naive = (ms: number): string => new Date(ms).toISOString().replace("Z", "000");

export function atSkyvern(given: AtSkyvern): StandInRun {
  const { id, fixture = "task_v1.completed", status = "completed", endedAt, webhookUrl = WEBHOOK_URL, ...rest } = given;
  const { createdAt = (endedAt ?? 0) - 60_000, payload: values, ...more } = rest;
  const base = fixtureJson(fixture);
  const payload: JsonObject = {
    ...base,
    run_id: id,
    ...("task_id" in base ? { task_id: id } : {}),
    ...(base["workflow_run_id"] === base["run_id"] ? { workflow_run_id: id } : {}),
    status,
    created_at: naive(createdAt),
    queued_at: naive(createdAt),
    started_at: naive(createdAt),
    finished_at: endedAt === null ? null : naive(endedAt),
    modified_at: naive(endedAt ?? createdAt),
    ...("webhook_callback_url" in base ? { webhook_callback_url: webhookUrl } : {}),
    ...values,
  };
  const request = { prompt: `Do ${id}`, url: "https://portal.example.com/", webhook_url: webhookUrl };
  return { ...more, payload, run_request: request };
}

/** Messages in the channel itself, not in a thread. */
export const topLevel = (slack: SlackStandIn, channel?: string): SlackMessageStored[] =>
  slack.messages(channel).filter(({ thread_ts }) => thread_ts === null);

/** What the threads say of corrections. */
export const corrections = (slack: SlackStandIn): SlackMessageStored[] =>
  slack.messages().filter(({ thread_ts, text }) => thread_ts !== null && text.includes("Correction"));

/** Passes GETs on to another address, and counts how many are open at one time. Closed when the test ends. */
export async function aCountingGate(upstream: string): Promise<{ url: string; most(): number }> {
  let open = 0;
  let most = 0;
  const server = createServer((request, response) => {
    most = Math.max(most, ++open);
    const headers = { "x-api-key": String(request.headers["x-api-key"]) };
    fetch(`${upstream}${request.url}`, { headers })
      .then(async (answer) => {
        const body = await answer.text();
        open -= 1;
        response.writeHead(answer.status, { "content-type": "application/json" }).end(body);
      })
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, most: () => most };
}

/** `<relayed>/<seen>`, as the metrics say it. */
export async function coverageOf(relay: TestApp): Promise<string> {
  const { text } = await relay.get("/metrics");
  const value = (name: string) => new RegExp(`^skyvern_relay_coverage_${name} (\\d+)$`, "m").exec(text)?.[1];
  return `${value("relayed")}/${value("seen")}`;
}

/** What was logged under a name. */
export const events = (relay: TestApp, event: string): JsonObject[] =>
  relay
    .log()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as JsonObject)
    .filter((line) => line["event"] === event);
