/** Slack, by a bot token or an incoming webhook. */
import { z } from "zod";
import { Secret } from "../../platform/secret.ts";
import { defineSink } from "../sink.ts";
import { slackAppLink } from "./app-link.ts";
import { botDelivery } from "./bot.ts";
import { diagnoseBot, diagnoseWebhook } from "./diagnose.ts";
import { webhookDelivery } from "./webhook.ts";

const isHttpUrl = (text: string): boolean => /^https?:$/.test(URL.parse(text)?.protocol ?? "");

/** A text that becomes a {@link Secret}; messages never repeat it. */
const secretThat = (test: (text: string) => boolean, message: string) =>
  z.union([
    z
      .string()
      .refine(test, message)
      .transform((text) => new Secret(text)),
    z.instanceof(Secret),
  ]);

const API_URL = "https://slack.com/api/";

const config = z.strictObject({
  token: secretThat((text) => /^[\x21-\x7e]+$/.test(text), "expected a bot token (xoxb-…): one word")
    .optional()
    .meta({
      description: "Bot token (`xoxb-…`); docs/sinks.md lists its scopes.",
    }),
  channel: z
    .string()
    .trim()
    .min(1)
    .optional()
    .meta({ description: "Channel id (`C0123ABCD`, preferred) or name. Needed with `token`." }),
  webhook_url: secretThat(isHttpUrl, "expected the http(s) address of an incoming webhook")
    .optional()
    .meta({ description: "Incoming webhook, instead of `token` and `channel`. It cannot edit messages." }),
  api_url: z
    .string()
    .refine(isHttpUrl, "expected an http(s) address")
    .default(API_URL)
    .meta({ description: "Base of Slack's Web API." }),
  messages_per_second: z
    .number()
    .min(0.1)
    .max(50)
    .default(1)
    .meta({ description: "Pace of messages into the channel. Slack allows about 1." }),
});

export default defineSink({
  kind: "slack",
  config,
  receipt: "Slack channel, ts, permalink",
  // Slack takes about one message per second and channel: https://docs.slack.dev/apis/web-api/rate-limits/
  concurrency: 1,
  shortcut: {
    variables: {
      SLACK_BOT_TOKEN: { key: "token", isSecret: true },
      SLACK_CHANNEL: { key: "channel" },
      SLACK_WEBHOOK_URL: { key: "webhook_url", isSecret: true },
    },
    setUp:
      `Make an app with the scopes that the relay uses, install it and invite it into the channel:\n  ` +
      `${slackAppLink()}\n` +
      "Its bot token (xoxb-…) is under OAuth & Permissions; the channel's id is at the end of its details.",
    example: "SLACK_WEBHOOK_URL=https://hooks.slack.com/services/…",
    ways: [{ needs: ["SLACK_BOT_TOKEN", "SLACK_CHANNEL"] }, { needs: ["SLACK_WEBHOOK_URL"] }],
  },
  api: { variable: "SLACK_API_URL", key: "api_url", base: API_URL },
  faults({ token, channel, webhook_url }) {
    if (webhook_url) {
      const other = token ? "token" : channel ? "channel" : null;
      return other
        ? [
            {
              path: [other],
              message:
                "must not stand beside webhook_url: a bot needs token and channel, an incoming webhook its webhook_url alone",
            },
          ]
        : [];
    }
    if (!token && !channel) return [{ path: [], message: "needs token and channel, or webhook_url" }];
    if (!token) return [{ path: ["token"], message: "is missing: the channel needs a bot token" }];
    return channel ? [] : [{ path: ["channel"], message: "is missing: a bot token needs a channel" }];
  },
  addresses: ({ webhook_url, api_url }): Record<string, string> =>
    webhook_url ? { webhook_url: webhook_url.reveal() } : { api_url },
  create(name, { token, channel, webhook_url, api_url, messages_per_second: perSecond }, deps) {
    // https://docs.slack.dev/apis/web-api/rate-limits: one message per second per channel, and per incoming webhook.
    const flow = { ordered: true, pace: { key: `slack ${channel ?? name}`, perSecond } } as const;
    const own = { name, kind: "slack", ...flow };
    if (webhook_url) return { ...own, ...webhookDelivery(webhook_url, deps) };
    if (token && channel) {
      const bot = { name, token, channel, apiUrl: api_url };
      return { ...own, updates: true, ...botDelivery(bot, deps) };
    }
    throw new Error(`Slack sink ${name}: its config was not checked with faults() before create()`);
  },
  async diagnose({ token, channel, webhook_url, api_url }, deps, signal) {
    if (token && channel) return diagnoseBot({ token, channel, apiUrl: api_url }, deps, signal);
    return webhook_url ? diagnoseWebhook(webhook_url, deps, signal) : [];
  },
});
