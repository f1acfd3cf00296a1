/**
 * A stand-in for Slack on loopback: the part of the Web API and of incoming webhooks that the relay uses. It enforces
 * the rules that Slack documents, stores what a channel would show, and fails when a test orders it.
 *
 * {@link https://docs.slack.dev/reference/methods}, {@link https://docs.slack.dev/reference/block-kit/blocks}
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { SlackStandInCall, SlackFault, SlackOptions, SlackStandIn } from "./slack/model.ts";
import { UPLOAD_PATH } from "./slack/uploads.ts";
import { parseArgs, readBody, asText } from "./slack/wire.ts";
import { WEBHOOK_PATH, Workspace } from "./slack/workspace.ts";

export type {
  SlackChannel,
  SlackFault,
  SlackStandInCall,
  SlackMessageStored,
  SlackOptions,
  SlackStandIn,
} from "./slack/model.ts";

export async function startSlack(options: SlackOptions = {}): Promise<SlackStandIn> {
  let origin = "";
  const workspace = new Workspace(options, () => origin);
  const calls: SlackStandInCall[] = [];
  const faults: SlackFault[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

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
    const fault = faultFor(call, faults) ?? options.faultOf?.(call);
    if (fault?.hang) return;
    if (fault?.drop) return void request.socket.destroy();
    if (fault && !fault.hangAfterSuccess && !fault.resetAfterSuccess) return fail(response, fault, isWebhook);
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const reply = isWebhook
      ? workspace.webhook(pathname, request.method ?? "", readable ? args : null)
      : isUpload
        ? workspace.uploads.bring(pathname.slice(UPLOAD_PATH.length), request.method ?? "", body)
        : workspace.api(call.method, readable ? args : null, bearer ?? asText(args["token"]));
    if (fault?.hangAfterSuccess) return;
    if (fault?.resetAfterSuccess) return void request.socket.resetAndDestroy();
    response.writeHead(reply.status, reply.headers).end(reply.body);
  }

  return {
    url: `${origin}/api/`,
    webhookUrl: `${origin}${WEBHOOK_PATH}`,
    token: workspace.token,
    calls,
    faults,
    messages: (channel) => workspace.messages(channel),
    pictureOf: ({ blocks }) => workspace.uploads.pictureOf(blocks),
    files: () => workspace.uploads.files(),
    delete: (channel, ts) => workspace.delete(channel, ts),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function faultFor(call: SlackStandInCall, faults: SlackFault[]): SlackFault | undefined {
  const i = faults.findIndex(({ method }) => method === undefined || method === call.method);
  return i < 0 ? undefined : faults.splice(i, 1)[0];
}

function fail(response: ServerResponse, fault: SlackFault, isWebhook: boolean): void {
  const { error, retryAfter, location } = fault;
  const status =
    fault.status ?? (location ? 302 : error || fault.body !== undefined || retryAfter === undefined ? 200 : 429);
  const headers = {
    ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    ...(location && { location }),
    "content-type":
      fault.body === undefined && !isWebhook ? "application/json; charset=utf-8" : "text/plain; charset=utf-8",
  };
  const word = error ?? (status === 429 ? "ratelimited" : "internal_error");
  const body = fault.body ?? (location ? "" : isWebhook ? word : JSON.stringify({ ok: false, error: word }));
  response.writeHead(status, headers).end(body);
}
