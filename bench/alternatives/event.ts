/**
 * The work that every alternative does for a webhook: verify its signature, make an event of the run, sign the event
 * and POST it.
 */
import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import { Agent } from "undici";

const env = (name: string): string => process.env[name] ?? "";
const apiKey = createSecretKey(Buffer.from(env("SKYVERN_API_KEY")));
const sinkKey = createSecretKey(Buffer.from(env("SINK_SECRET").replace(/^whsec_/, ""), "base64"));

export function isGenuine(body: Buffer, signature: string | undefined): boolean {
  const expected = createHmac("sha256", apiKey).update(body).digest();
  const given = Buffer.from(signature ?? "", "hex");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

export interface RunEvent {
  type: string;
  timestamp: string;
  data: { run_id: string } & Record<string, unknown>;
}

interface DownloadedFile {
  filename?: string;
  file_size?: number;
  checksum?: string;
  artifact_id?: string;
}

interface Payload extends Record<string, unknown> {
  status?: string;
  finished_at?: string;
  downloaded_files?: DownloadedFile[] | null;
}

/** The run as a sink gets it: without the links that expire. Throws when the body is not a run. */
export function parseEvent(body: Buffer): RunEvent {
  const run = JSON.parse(body.toString()) as Payload;
  const run_id = run["run_id"] ?? run["task_id"] ?? run["workflow_run_id"];
  if (typeof run_id !== "string") throw new Error("the body names no run");
  const { status, run_type, organization_id, app_url, parameters, created_at, started_at, finished_at } = run;
  const files = run.downloaded_files ?? [];
  return {
    type: `run.${status}`,
    timestamp: finished_at ?? new Date().toISOString(),
    data: {
      run_id,
      run_type,
      status,
      organization_id,
      title: run["workflow_title"] ?? run["title"] ?? null,
      app_url,
      workflow_id: run["workflow_id"] ?? null,
      output: run["output"] ?? run["extracted_information"] ?? null,
      failure: run["failure_reason"]
        ? { reason: run["failure_reason"], categories: run["failure_category"], errors: run["errors"] }
        : null,
      parameters,
      files: files.map(({ filename: name, file_size: size, checksum, artifact_id }) => ({
        name,
        size,
        checksum,
        artifact_id,
      })),
      step_count: run["total_steps"] ?? null,
      created_at,
      started_at,
      finished_at,
    },
  };
}

/** How many POSTs are under way at a time: as many as the relay's HTTP sink has. */
export const CONCURRENCY = 16;
/** How often a delivery is tried before it is given up. */
export const MOST_ATTEMPTS = 15;

const TIMEOUT_MS = 15_000;
const sink = new URL(env("SINK_URL"));
const agent = new Agent({ connections: CONCURRENCY, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });

/** POSTs the event with the headers of Standard Webhooks. Rejects unless the answer is 2xx. */
export async function post(runId: string, event: string): Promise<void> {
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = createHmac("sha256", sinkKey).update(`${runId}.${timestamp}.${event}`).digest("base64");
  const { statusCode, body } = await agent.request({
    origin: sink.origin,
    path: sink.pathname,
    method: "POST",
    headers: {
      "content-type": "application/json",
      "webhook-id": runId,
      "webhook-timestamp": `${timestamp}`,
      "webhook-signature": `v1,${signature}`,
    },
    body: event,
  });
  await body.dump();
  if (statusCode < 200 || statusCode > 299) throw new Error(`the sink answered ${statusCode}`);
}
