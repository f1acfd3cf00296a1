/**
 * The stand-ins for the counterparts of sinks, by sink kind. A kind without one is only tried with its real
 * counterpart.
 */
import { basename } from "node:path";
import { Secret } from "../platform/secret.ts";
import { startHttpSink } from "./http-sink.ts";
import { startSlack } from "./slack.ts";
import { startSmtp } from "./smtp.ts";

export interface SinkStandIn {
  /** The environment variables that configure a sink leading here. */
  environment: Record<string, string>;
  /** The configuration keys that redirect a sink here; its other keys stay. */
  config: Record<string, unknown>;
  /** The ids of the runs it received, one for each message. */
  arrivals(): string[];
  /** What it received, as files to view. */
  files(): { name: string; content: string | Uint8Array }[];
  close(): Promise<void>;
}

/** `config` is the configured sink that it replaces, if there is one. */
export type StartSinkStandIn = (config?: Record<string, unknown>) => Promise<SinkStandIn>;

export const SINK_STAND_INS: Readonly<Record<string, StartSinkStandIn>> = { slack, email, http };

const CHANNEL = "C0123ABCD";

async function slack({ channel = CHANNEL, webhook_url }: Record<string, unknown> = {}): Promise<SinkStandIn> {
  const text = String(channel);
  const id = /^[CDG][A-Z0-9]{7,}$/.test(text) ? text : CHANNEL;
  const standIn = await startSlack({ channels: [{ id, name: text.replace(/^#/, "") }] });
  const { url, webhookUrl, token, messages, close } = standIn;
  return {
    environment: { SLACK_BOT_TOKEN: token, SLACK_CHANNEL: id, SLACK_API_URL: url },
    config:
      webhook_url === undefined ? { api_url: url, token: new Secret(token) } : { webhook_url: new Secret(webhookUrl) },
    arrivals: () =>
      messages()
        .filter(({ thread_ts }) => thread_ts === null)
        .map(({ metadata }) => String(metadata?.event_payload["run_id"])),
    files: () =>
      messages().flatMap((message, i) => {
        const picture = standIn.pictureOf(message);
        return [
          { name: `${i + 1}.json`, content: JSON.stringify(message, null, 2) },
          ...(picture ? [{ name: `${i + 1}-${basename(picture.name)}`, content: picture.bytes }] : []),
        ];
      }),
    close,
  };
}

async function email(): Promise<SinkStandIn> {
  const { url, messages, close } = await startSmtp();
  return {
    environment: { SMTP_URL: url, EMAIL_FROM: "Skyvern relay <relay@example.com>", EMAIL_TO: "ops@example.com" },
    config: { smtp: new Secret(url) },
    arrivals: () => messages.map(({ raw }) => /^X-Skyvern-Run-Id: (\S+)/im.exec(raw)?.[1] ?? "?"),
    files: () => messages.map(({ raw }, i) => ({ name: `${i + 1}.eml`, content: raw })),
    close,
  };
}

const SIGNING_SECRET = `whsec_${Buffer.from("skyvern-relay demo secret 000000").toString("base64")}`;

async function http({ url: configured, secret: secrets }: Record<string, unknown> = {}): Promise<SinkStandIn> {
  const [first] = Array.isArray(secrets) ? secrets : [];
  const isSigned = configured === undefined || first instanceof Secret;
  const secret = first instanceof Secret ? first.reveal() : SIGNING_SECRET;
  const { url, requests, close } = await startHttpSink(isSigned ? { secret } : {});
  return {
    environment: { SINK_URL: url, SINK_SECRET: secret },
    config: { url: new Secret(url) },
    arrivals: () =>
      requests
        .filter(({ verified }) => verified)
        .map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id),
    files: () => requests.map(({ body }, i) => ({ name: `${i + 1}.json`, content: body })),
    close,
  };
}
