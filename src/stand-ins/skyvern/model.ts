/** The state of a stand-in Skyvern, and the requests it gets. */
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { Json, JsonObject } from "../../platform/json.ts";
import type { Runtime } from "../../platform/runtime.ts";

export interface StandInArtifact {
  artifact_id: string;
  artifact_type: string;
  /** Default: a tiny PNG, a few bytes of webm or a line of text. */
  bytes?: Uint8Array;
  /** Set for a download. */
  filename?: string;
  /** Skyvern's naive UTC. */
  created_at?: string;
  archived?: boolean;
  /** The location in its storage. */
  uri?: string;
  /** Other values of its row, as `task_id` or `bundle_key`. */
  row?: JsonObject;
}

export interface StandInRun {
  /** A webhook's body or an answer of GET run. Its artifact URLs are signed anew each time it is shown. */
  payload: JsonObject;
  /** Added to the artifacts that the payload's URLs name, which need not be repeated. */
  artifacts?: StandInArtifact[];
  /** What its timeline answers, newest first; of workflow runs and v2 tasks alone. */
  timeline?: Json[];
  /** What GET run says the run was started with, when the payload does not say. */
  run_request?: JsonObject;
  /** The organization whose keys see the run. Default: the first key's. */
  organization?: string;
  /** `api`, `scheduled`, … */
  trigger_type?: string;
  /** The workflow run that started it; it is missing in the list of runs then. */
  parent?: string;
  /** `wfs_…` */
  schedule?: string;
  /** A label has no key. */
  tags?: readonly { key: string | null; value: string }[];
  /** Child and debug runs are missing in the list of runs. */
  unlisted?: boolean;
}

export interface StandInAnswer {
  status: number;
  headers?: Record<string, string>;
  body: string | Uint8Array;
}

/** A request that arrived. */
export interface StandInCall {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
}

/** One request, and what it would be answered. */
export interface StandInExchange {
  response: ServerResponse;
  answer: () => StandInAnswer;
}

/** What the receiver of a webhook answered; `status` is null when no answer came, `error` says why then. */
export interface WebhookAnswer {
  status: number | null;
  body: string;
  error: string | null;
  headers: IncomingHttpHeaders;
}

export interface WebhookOrder {
  url: string;
  /** Signs it. */
  key: string;
  /** Whether the same is sent once more after this answer. Default: never. */
  again?: (answer: WebhookAnswer) => boolean | Promise<boolean>;
  /** Default: Skyvern's 30 000. */
  timeoutMs?: number;
}

export interface StandInSkyvern {
  readonly url: string;
  readonly runs: Map<string, StandInRun>;
  readonly calls: StandInCall[];
  addRun(run: StandInRun): void;
  /** POSTs like Skyvern: a run by its id, an object, or the exact bytes. Redirects are not followed. */
  sendWebhook(what: string | JsonObject | Uint8Array, order: WebhookOrder): Promise<WebhookAnswer>;
  close(): Promise<void>;
}

export interface StandInSkyvernOptions {
  /** The accepted keys. A plain text belongs to {@link DEFAULT_ORGANIZATION}. */
  keys: readonly (string | { key: string; organization: string })[];
  /** `local` is self-hosted without cloud storage: `file:` URLs, no signing. Default: `cloud`. */
  storage?: "cloud" | "local";
  /** `missing` answers 404 like a Skyvern before v1.0.47, `unconfigured` 503. Default: by the storage. */
  signedUrls?: "ok" | "missing" | "unconfigured";
  /** The known artifact types; others are refused with 422. */
  artifactTypes?: readonly string[];
  /**
   * Asked first with each request of a right key: the answer to what this stand-in does not have, such as a workflow;
   * null where it has none either.
   */
  more?: (call: StandInCall, body: string) => StandInAnswer | null;
  now?: Runtime["now"];
  /** Called with each request before it is answered: its additions and changes are in the answer. */
  onCall?: (call: StandInCall) => void;
  /** Called with each request. True: it was answered, or never will be. */
  intercept?: (call: StandInCall, exchange: StandInExchange) => boolean;
}

export const DEFAULT_ORGANIZATION = "o_512846093377601280";

/** 16×9 pixels of one blue. */
export const TINY_PNG: Uint8Array = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAJCAIAAAC0SDtlAAAAFElEQVR42mPQztlAEmIY1TAoNAAALmO38Z6fgBcAAAAASUVORK5CYII=",
  "base64",
);

/** A second of a light square that moves over dark blue, 320×180, as Chromium records it: it plays. */
export const TINY_WEBM: Uint8Array = Buffer.from(
  "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQRChYECGFOAZwEAAAAAAANGEU2bdLlNu4tTq4QVSalmU6yBbk27i1OrhBZUrmtTrIGTTb" +
    "uLU6uEH0O2dVOsgdVNu4xTq4QcU7trU6yCAzTsrgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAVSalmoCrX" +
    "sYMPQkBEiYRD+uKPTYCGQ2hyb21lV0GGQ2hyb21lFlSua72uu9eBAXPFh4+UBtOGzHCDgQFV7oEBhoVWX1ZQOeCesIIBQLqBtFPAgQFVsJBVsY" +
    "EBVbmBAlW6gQ1Vu4EBH0O2dQEAAAAAAAJT54EAoEDmoUCVgQAAAIJJg0JQE/ALNmY4JBwZkgAA4FBl7SMECl4CJ55DRtgAZz/+BQlV/Ui1puBn" +
    "+OA8Ve3wrtOzMvu0RdZHRQrXv3u0t91YcLpg6A6oXrUjnyivVKv/2ypWpY3dv/G+XTgnQQ9fpdKs0kF1RPrX72S77U2JzT+kOlymXS+usL/CLb" +
    "1rEwxHZBnrLN0NT6Sq8HsLdwB1ocumye6BAaXEgkmDQgAT8As2ZjgkHBmSAABQQ+i/QABnP/6qAAAE7manidP7F9NwTMTn2Rtb5axMMR2QZ6yz" +
    "dDU+kqvB7C3oAIVZLPCg2KG4gQB9AIYAQJIc/F0AAAVwU9IAAHpJAgO49zXGlkThVbTbothtGjXtllk7SHDg8b4jn3s4ZQ3vHnB1oZimlu6BAa" +
    "WRhgBAkhz8XQAAA3AAAFXZbID7gQCg7KHMgQD6AIYAQJIc/FvAAAVwpagAAHo/bkrJHfcf41T+19jF663K9tv0bsxw9aQ8xB0V6UBQJNXB0vP/" +
    "uuVWSQpXNb5KjlH4Bou8V6iXAHWhmKaW7oEBpZGGAECSHPxbwAADcAAAVdlsgPuBfaDKoaqBAXgAhgBAkhz8XQAAA3AAAHo7o3ZLJpzA+Nm8WE" +
    "5Nh8YCYBINYV3nj7Z1oZimlu6BAaWRhgBAkhz8XQAAA3AAAFXZbID7gfqg0aGwgQH1AIYAQJIc/F0AAAZwq/dYAAB6cRe8SpMSTvjSMyNBbocF" +
    "HkIJD8g5PRcXWpjsdaGYppbugQGlkYYAQJIc/F0AAANwAABV2WyA+4IBeBxTu2uNu4uzgQC3hveBAfGB1Q==",
  "base64",
);
