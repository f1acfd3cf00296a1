/**
 * Delivers to an incoming webhook. It needs no Slack app, but cannot edit, reply in a thread or search for an earlier
 * message, so a message whose answer was lost is posted again. {@link
 * https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks}
 */
import type { HttpResponse } from "../../net/http-client.ts";
import { readRetryAfter } from "../../net/retry-after.ts";
import type { Secret } from "../../platform/secret.ts";
import { buildContent, type Content } from "../content.ts";
import type { Job, Sink, SinkDeps } from "../sink.ts";
import { renderMessage, renderPlainMessage, type SlackMessage } from "./blocks.ts";
import { isClientError, findMeaning, toOutcome, toRefusal, type SlackFailure } from "./error-codes.ts";

type Result = { ok: true; status: number } | { ok: false; failure: SlackFailure };

export function webhookDelivery(url: Secret, deps: SinkDeps): Pick<Sink, "deliver"> {
  return {
    async deliver(job, signal) {
      const content = withCorrection(buildContent(job.report, job.cause), job.cause);
      let result = await post(renderMessage(content));
      if (!result.ok && findMeaning(result.failure)?.kind === "plain") result = await post(renderPlainMessage(content));
      if (!result.ok) return toOutcome(result.failure, "incoming webhook", deps.now());
      return { kind: "delivered", receipt: { status: result.status } };

      async function post({ text, blocks }: SlackMessage): Promise<Result> {
        if (signal.aborted) return { ok: false, failure: { kind: "aborted" } };
        const body = JSON.stringify({ text, ...(blocks.length > 0 && { blocks }), ...PLAIN_READING });
        try {
          const response = await deps.request(url.reveal(), {
            method: "POST",
            headers: { "content-type": "application/json; charset=utf-8" },
            body,
            signal,
          });
          if (response.missing) throw response.missing.why;
          const { status } = response;
          return status >= 200 && status < 300
            ? { ok: true, status }
            : { ok: false, failure: toFailure(response, response.body.toString(), deps.now()) };
        } catch (error) {
          return { ok: false, failure: { kind: "unreachable", error, sent: false } };
        }
      }
    },
  };
}

/** The earlier message still stands, so the first line says that this one corrects it. */
const withCorrection = (content: Content, cause: Job["cause"]): Content =>
  cause === "correction"
    ? { ...content, status: { ...content.status, label: `Correction: ${content.status.label}` } }
    : content;

const PLAIN_READING = { parse: "none", link_names: false, mrkdwn: false, unfurl_links: false, unfurl_media: false };

function toFailure({ status, headers }: HttpResponse, answer: string, now: number): SlackFailure {
  if (status === 429) {
    const retryAfterMs = readRetryAfter(headers, now);
    return { kind: "limited", ...(retryAfterMs === null ? {} : { retryAfterMs }) };
  }
  const refusal = toRefusal(answer.trim());
  return refusal && isClientError(status) ? refusal : { kind: "http", status, headers };
}
