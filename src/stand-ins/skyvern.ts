/**
 * A Skyvern on loopback for the demo and the tests: the parts of its API that the relay reads, and its webhooks, true
 * to the wire contract with all its traps. It shares no code with the relay's own Skyvern client, so that both can
 * disagree.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { listenOnLoopback } from "./loopback.ts";
import { authorize, detail, json } from "./skyvern/answer.ts";
import { getArtifact, listArtifacts, signedUrl } from "./skyvern/artifacts.ts";
import { content } from "./skyvern/content.ts";
import type { StandInAnswer, StandInCall, StandInSkyvern, StandInSkyvernOptions } from "./skyvern/model.ts";
import { getRun, getTimeline, listRuns, listTags, listWorkflowRuns } from "./skyvern/runs.ts";
import { firstOrganization, idOf, createState, type SkyvernState } from "./skyvern/state.ts";
import { toBody, sendWebhook } from "./skyvern/webhooks.ts";

export { DEFAULT_ORGANIZATION, TINY_PNG, TINY_WEBM } from "./skyvern/model.ts";
export type {
  StandInArtifact,
  StandInRun,
  StandInAnswer,
  StandInExchange,
  StandInCall,
  WebhookAnswer,
  StandInSkyvern,
  StandInSkyvernOptions,
} from "./skyvern/model.ts";

/** Listens on a free port of 127.0.0.1. */
export async function startSkyvern(options: StandInSkyvernOptions): Promise<StandInSkyvern> {
  const state = createState(options);
  const { origin, close } = await listenOnLoopback((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    if (request.method === "GET") serve(state, request, response, "");
    else request.on("end", () => serve(state, request, response, Buffer.concat(chunks).toString("utf8")));
  });
  state.url = origin;
  return {
    url: state.url,
    runs: state.runs,
    calls: state.calls,
    addRun: (run) => void state.runs.set(idOf(run), run),
    sendWebhook: async (what, order) => sendWebhook(state, toBody(state, what), order),
    close,
  };
}

function serve(state: SkyvernState, request: IncomingMessage, response: ServerResponse, body: string): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", state.url);
  const call = { method: request.method ?? "GET", path: pathname, query: searchParams, headers: request.headers };
  state.calls.push(call);
  state.onCall(call);
  const makeAnswer = () => answer(state, call, body);
  if (state.intercept(call, { response, answer: makeAnswer })) return;
  const { status, headers, body: shown } = makeAnswer();
  response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(shown) }).end(shown);
}

function answer(state: SkyvernState, call: StandInCall, body: string): StandInAnswer {
  const [version, kind, id, part, ...rest] = call.path.split("/").slice(1).map(decode);
  const more = typeof authorize(state, call) === "string" ? state.more(call, body) : null;
  if (more !== null) return more;
  if (version !== "v1" || call.method !== "GET" || rest.length > 0) return detail(404, "Not Found");
  if (kind === "artifacts" && id !== undefined && part === "content") return content(state, call, id);
  const organization = authorize(state, call);
  if (typeof organization !== "string") return organization;
  const runs = [...state.runs.values()].filter(
    (run) => (run.organization ?? firstOrganization(state)) === organization,
  );
  if (kind === "runs" && id === undefined) return listRuns(runs, call.query);
  if (kind === "runs" && id !== undefined && part === undefined) return getRun(state, runs, id);
  if (kind === "runs" && id !== undefined && part === "artifacts") return listArtifacts(state, runs, id, call.query);
  if (kind === "runs" && id !== undefined && part === "timeline") return getTimeline(runs, id);
  if (kind === "runs" && id !== undefined && part === "tags") return listTags(runs, id);
  if (kind === "workflows" && id !== undefined && part === "runs") return listWorkflowRuns(runs, id, call.query);
  if (kind === "artifacts" && id !== undefined && part === undefined) return getArtifact(state, runs, id);
  if (kind === "artifacts" && id !== undefined && part === "signed-url") return signedUrl(state, runs, id);
  if (kind === "workflows" && id === undefined) return json(200, []);
  if (kind === "schedules" && id === undefined) return json(200, { schedules: [], total_count: 0 });
  return detail(404, "Not Found");
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
