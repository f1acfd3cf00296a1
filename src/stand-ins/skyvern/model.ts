/** What a stand-in Skyvern is made of, what it is asked, and what is ordered of it. */
import type { IncomingHttpHeaders } from "node:http";
import type { Json, JsonObject } from "../../platform/json.ts";
import type { Runtime } from "../../platform/runtime.ts";

export interface StandInArtifact {
  artifact_id: string;
  artifact_type: string;
  /** A tiny PNG, a few bytes of webm or a line of text unless given. */
  bytes?: Uint8Array;
  /** Of a download. */
  filename?: string;
  /** Skyvern's naive UTC. */
  created_at?: string;
  archived?: boolean;
  /** Where its storage keeps it. */
  uri?: string;
}

export interface StandInRun {
  /** A webhook's body or an answer of GET run. Its artifact URLs are minted anew each time it is shown. */
  payload: JsonObject;
  /** Added to the artifacts that the payload's URLs name, which need not be repeated. */
  artifacts?: StandInArtifact[];
  /** What its timeline answers, newest first; of workflow runs and v2 tasks alone. */
  timeline?: Json[];
  /** What GET run says the run was started with, when the payload does not say. */
  run_request?: JsonObject;
  /** The organization whose keys see it: the first key's unless told. */
  organization?: string;
  /** `api`, `scheduled`, … */
  trigger_type?: string;
  /** Child and debug runs are missing in the list of runs. */
  unlisted?: boolean;
}

/** What the next fitting request gets instead of an answer. The first that fits is used up first. */
export interface StandInFault {
  /** Tested against `/v1/runs/wr_1/artifacts`; every path when missing. */
  on?: RegExp;
  /** 1 unless told. */
  times?: number;
  status?: number;
  headers?: Record<string, string>;
  /** Skyvern's own body for the status unless given. */
  body?: string;
  /** `hang`: no answer. `reset`: the connection breaks. */
  instead?: "hang" | "reset";
}

/** A request that arrived. */
export interface StandInCall {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
}

export interface WebhookResult {
  delivered: boolean;
  /** In order; `status` is null when no answer came, `error` says why then. */
  attempts: { status: number | null; body: string; error: string | null }[];
  /** What Skyvern would store as the run's `webhook_failure_reason`. */
  failureReason: string | null;
}

export interface StandInSkyvern {
  readonly url: string;
  readonly runs: Map<string, StandInRun>;
  readonly calls: StandInCall[];
  readonly faults: StandInFault[];
  addRun(run: StandInRun): void;
  /**
   * POSTs as Skyvern does: a run by its id, an object, or the exact bytes. Up to 3 attempts with one body, signature and
   * timestamp; 403, 408, 425, 429, 5xx and network errors are tried again, redirects are not followed.
   */
  sendWebhook(what: string | JsonObject | Uint8Array, url: string, key: string): Promise<WebhookResult>;
  close(): Promise<void>;
}

export interface StandInSkyvernOptions {
  /** Every key that is let in. A bare text belongs to {@link DEFAULT_ORGANIZATION}. */
  keys: readonly (string | { key: string; organization: string })[];
  /** `local` is self-hosted without cloud storage: `file:` URLs, no signing. `cloud` unless told. */
  storage?: "cloud" | "local";
  /** `missing` answers 404 like a Skyvern before v1.0.47, `unconfigured` 503. By the storage unless told. */
  signedUrls?: "ok" | "missing" | "unconfigured";
  /** The artifact types it knows; others are refused with 422. */
  artifactTypes?: readonly string[];
  /** How many it has; `missing` answers 404 like a Skyvern that has no such list. None unless told. */
  workflows?: number;
  schedules?: number | "missing";
  now?: Runtime["now"];
  random?: Runtime["random"];
  sleep?: Runtime["sleep"];
  /** Of webhooks: 1 000 in Skyvern, doubled before the third attempt. */
  backoffMs?: number;
  /** Of one webhook attempt: 30 000 in Skyvern. */
  webhookTimeoutMs?: number;
  /** Told of each request before it is answered: what it adds or changes is in the answer. */
  onCall?: (call: StandInCall) => void;
}

export const DEFAULT_ORGANIZATION = "o_512846093377601280";

/** 16×9 pixels of one blue. */
export const TINY_PNG: Uint8Array = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAJCAIAAAC0SDtlAAAAFElEQVR42mPQztlAEmIY1TAoNAAALmO38Z6fgBcAAAAASUVORK5CYII=",
  "base64",
);

/** The head of a webm file. */
export const TINY_WEBM: Uint8Array = Buffer.from(
  "1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104",
  "hex",
);
