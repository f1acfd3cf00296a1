/** A receiver of Standard Webhooks that fails when a test orders it. */
import type { ServerResponse } from "node:http";
import * as plain from "../../src/stand-ins/http-sink.ts";

/** What the stand-in does with one request instead of answering 200. */
export interface SinkAnswer {
  /** Default 200. */
  status?: number;
  headers?: Record<string, string>;
  body?: string;
  /** Answers status and body, but never ends the answer. */
  unfinished?: boolean;
  /** Accepts the request and never answers. */
  hang?: boolean;
  /** Accepts the request, then resets the connection. */
  reset?: boolean;
}

export interface HttpSinkStandIn extends plain.HttpSinkStandIn {
  /** Consumed one per genuine request, in order. Tests push to it. */
  answers: SinkAnswer[];
}

export async function startHttpSink({
  answers = [],
  ...options
}: { secret?: string; answers?: SinkAnswer[] } = {}): Promise<HttpSinkStandIn> {
  const standIn = await plain.startHttpSink({
    ...options,
    intercept: (response) => {
      answer(response, answers.shift() ?? {});
      return true;
    },
  });
  return { ...standIn, answers };
}

function answer(response: ServerResponse, { status = 200, headers = {}, body = "", ...trouble }: SinkAnswer) {
  if (trouble.hang) return;
  if (trouble.reset) {
    response.socket?.resetAndDestroy();
    return;
  }
  response.writeHead(status, headers);
  if (trouble.unfinished) response.write(body);
  else response.end(body);
}
