/** What surrounds a relay that is going to be killed: stand-ins that outlive it, a folder for its database, senders. */
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { onTestFinished } from "vitest";
import { startHttpSink, type HttpSinkStandIn } from "../../support/http-sink.ts";
import { startSkyvern, type StandInSkyvern } from "../../support/skyvern.ts";
import { startSlack, type SlackStandIn } from "../../support/slack.ts";
import { startSmtp, type SmtpStandIn } from "../../support/smtp.ts";
import type { JsonObject } from "../../../src/platform/json.ts";
import { aFolder, TOKEN } from "../../support/app.ts";
import { FIXTURE_KEY, mutated, signatureOf } from "../../support/fixtures.ts";
import { kill9, runProgram } from "../../support/process.ts";
import { until } from "../../support/until.ts";
import { startProxy, through, type Proxy } from "./proxy.ts";

const SINK_SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
export const SINKS = ["chat", "mail", "crm"] as const;

export interface RelayProcess {
  /** Resolves when it accepts webhooks; rejects, with what it said, when it ended before. */
  started: Promise<{ url: string; pid: number }>;
  /** As `kill -9`; resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface World {
  database: string;
  skyvern: StandInSkyvern;
  slack: SlackStandIn;
  smtp: SmtpStandIn;
  http: HttpSinkStandIn;
  /** Between the relay and each sink. */
  proxies: { slack: Proxy; smtp: Proxy; http: Proxy };
  /** Starts the program, on another database when told; it is killed when the test ends. */
  spawn(database?: string): RelayProcess;
  /** Run ids of the channel's top-level messages, in order. */
  posts(): unknown[];
  /** What every sink has got about a run. */
  seen(runId: string): Seen;
  /** Run ids that any sink has got. */
  seenRuns(): Set<string>;
}

export interface Seen {
  /** Top-level messages. */
  slack: number;
  mails: number;
  messageIds: string[];
  requests: number;
  webhookIds: string[];
}

/** `database`: a DATABASE_URL; default: an SQLite of its own. `pace`: Slack messages a second. */
export async function aWorld(database?: string, { pace = 50 } = {}): Promise<World> {
  const folder = aFolder();
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY], backoffMs: 1 });
  const slack = await startSlack({ messagesPerSecond: 100, burst: 20 });
  const smtp = await startSmtp();
  const http = await startHttpSink({ secret: SINK_SECRET });
  for (const standIn of [skyvern, slack, smtp, http]) onTestFinished(() => standIn.close());
  const proxies = {
    slack: await startProxy(slack.url),
    smtp: await startProxy(smtp.url),
    http: await startProxy(http.url),
  };
  const environment = {
    HOST: "127.0.0.1",
    PORT: "0",
    SKYVERN_API_KEY: FIXTURE_KEY,
    SKYVERN_BASE_URL: skyvern.url,
    DATABASE_URL: database ?? `sqlite:${join(folder, "relay.db")}`,
    RELAY_TOKEN: TOKEN,
    ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
  };
  const file = JSON.stringify({
    sinks: {
      chat: {
        kind: "slack",
        token: slack.token,
        channel: "C0123ABCD",
        api_url: through(slack.url, proxies.slack),
        messages_per_second: pace,
      },
      mail: {
        kind: "email",
        smtp: through(smtp.url, proxies.smtp),
        from: "relay@example.com",
        to: ["ops@example.com"],
      },
      crm: { kind: "http", url: through(http.url, proxies.http), secret: SINK_SECRET },
    },
    delivery: {
      schedule: ["50ms", "100ms", "200ms", "500ms", "1s", "2s"],
      timeout: "5s",
      artifacts_wait: "5s",
    },
  });
  const idsOf = (runId: string) => ({
    messageIds: smtp.messages.filter(({ raw }) => runOfMail(raw) === runId).map(({ raw }) => messageIdOf(raw)),
    webhookIds: http.requests
      .filter(({ verified, body }) => verified && runOfRequest(body) === runId)
      .map(({ headers }) => headers["webhook-id"] ?? "none"),
  });
  const posts = (): unknown[] => {
    const parents = slack.messages().filter(({ thread_ts }) => thread_ts === null);
    return parents.map(({ metadata }) => metadata?.event_payload["run_id"]);
  };
  return {
    database: join(folder, "relay.db"),
    skyvern,
    slack,
    smtp,
    http,
    proxies,
    spawn: (database) =>
      spawnRelay(database === undefined ? environment : { ...environment, DATABASE_URL: `sqlite:${database}` }, file),
    posts,
    seen: (runId) => {
      const { messageIds, webhookIds } = idsOf(runId);
      return {
        slack: posts().filter((posted) => posted === runId).length,
        mails: messageIds.length,
        messageIds: [...new Set(messageIds)],
        requests: webhookIds.length,
        webhookIds: [...new Set(webhookIds)],
      };
    },
    seenRuns: () =>
      new Set([
        ...posts().map(String),
        ...smtp.messages.map(({ raw }) => runOfMail(raw)),
        ...http.requests.map(({ body }) => runOfRequest(body)),
      ]),
  };
}

function spawnRelay(env: Record<string, string>, file: string): RelayProcess {
  const program = runProgram(["serve"], env, file);
  let gone = false;
  void program.ended.then(() => (gone = true));
  const started = until(
    "the relay to start",
    () => {
      const port = /"port":(\d+).*"event":"relay.started"/.exec(program.stdout())?.[1];
      if (port === undefined && gone) throw new Error(`it ended: ${program.stdout()}${program.stderr()}`);
      return port === undefined ? null : { url: `http://127.0.0.1:${port}`, pid: program.pid };
    },
    120_000,
  );
  // Whoever kills it in mid-start does not wait for it.
  started.catch(() => {});
  return { started, kill: () => kill9(program) };
}

const runOfMail = (raw: string): string => /^X-Skyvern-Run-Id: (\S+)/im.exec(raw)?.[1] ?? "none";
const messageIdOf = (raw: string): string => /^Message-ID: (\S+)/im.exec(raw)?.[1] ?? "none";
const runOfRequest = (body: string): string => (JSON.parse(body) as { data: { run_id: string } }).data.run_id;

/** A run that Skyvern knows, and its webhook. */
export function aWebhook({ skyvern }: Pick<World, "skyvern">, runId: string): string {
  const body = mutated("task_v1.completed", { run_id: runId, task_id: runId });
  skyvern.addRun({ payload: JSON.parse(body) as JsonObject });
  return body;
}

/**
 * A connection of its own, as Skyvern opens one for each webhook. One that is kept may be ended by the server in the
 * moment in which it is used again: no answer then says nothing about the relay.
 */
export const ON_A_NEW_CONNECTION = { connection: "close" } as const;

/** POSTs a signed webhook. The status, or null when no whole answer came. */
export async function sendWebhook(url: string, body: string): Promise<number | null> {
  try {
    const response = await fetch(`${url}/webhook`, {
      method: "POST",
      headers: {
        ...ON_A_NEW_CONNECTION,
        "content-type": "application/json",
        "x-skyvern-signature": signatureOf(body),
      },
      body,
      signal: AbortSignal.timeout(20_000),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return null;
  }
}

export interface DeliveryRow {
  id: string;
  run_id: string;
  sink: string;
  state: string;
  attempts: number;
  last_error: string | null;
}

/** The outbox as it stands in the file, whoever works on it. */
export function outbox({ database }: { database: string }): DeliveryRow[] {
  const sqlite = new Sqlite(database, { readonly: true, timeout: 5_000 });
  try {
    return sqlite
      .prepare("SELECT id, subject_id AS run_id, sink, state, attempts, last_error FROM deliveries ORDER BY id")
      .all() as DeliveryRow[];
  } finally {
    sqlite.close();
  }
}

/** Waits until no delivery is under way or waiting. */
export const drained = (world: { database: string }, withinMs = 60_000): Promise<true> =>
  until(
    "every delivery delivered or dead",
    () => outbox(world).every(({ state }) => state !== "pending" && state !== "sending"),
    withinMs,
  );
