/**
 * A stand-in for Slack on loopback: the part of the Web API and of incoming webhooks that the relay uses. It enforces
 * the rules that Slack documents, and stores what a channel would show.
 *
 * {@link https://docs.slack.dev/reference/methods}, {@link https://docs.slack.dev/reference/block-kit/blocks}
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { listenOnLoopback, readBody } from "./loopback.ts";
import type { SlackStandInCall, SlackOptions, SlackStandIn } from "./slack/model.ts";
import { UPLOAD_PATH } from "./slack/uploads.ts";
import { parseArgs, asText } from "./slack/wire.ts";
import { WEBHOOK_PATH, Workspace } from "./slack/workspace.ts";

export type {
  SlackChannel,
  SlackExchange,
  SlackStandInCall,
  SlackMessageStored,
  SlackOptions,
  SlackStandIn,
} from "./slack/model.ts";

export async function startSlack(options: SlackOptions = {}): Promise<SlackStandIn> {
  const workspace = new Workspace(options, () => origin);
  const calls: SlackStandInCall[] = [];
  const { origin, close } = await listenOnLoopback((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", origin);
    const isWebhook = pathname.startsWith("/services/");
    const isUpload = pathname.startsWith(UPLOAD_PATH);
    const body = await readBody(request);
    const { args, readable } = isUpload
      ? { args: { length: body.length }, readable: true }
      : parseArgs(body.toString("utf8"), request.headers["content-type"] ?? "", searchParams);
    const method = isWebhook ? "webhook" : isUpload ? "upload" : pathname.replace(/^\/api\//, "");
    const call = { method, args, at: workspace.now() };
    calls.push(call);
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const act = () =>
      isWebhook
        ? workspace.webhook(pathname, request.method ?? "", readable ? args : null)
        : isUpload
          ? workspace.uploads.bring(pathname.slice(UPLOAD_PATH.length), request.method ?? "", body)
          : workspace.api(call.method, readable ? args : null, bearer ?? asText(args["token"]));
    if (options.intercept?.(call, { request, response, isWebhook, act })) return;
    const reply = act();
    response.writeHead(reply.status, reply.headers).end(reply.body);
  }

  return {
    url: `${origin}/api/`,
    webhookUrl: `${origin}${WEBHOOK_PATH}`,
    token: workspace.token,
    calls,
    messages: (channel) => workspace.messages(channel),
    pictureOf: ({ blocks }) => workspace.uploads.pictureOf(blocks),
    files: () => workspace.uploads.files(),
    delete: (channel, ts) => workspace.delete(channel, ts),
    close,
  };
}
