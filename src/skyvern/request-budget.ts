/**
 * One budget of requests to Skyvern's API for everything a relay asks on its own. Half of it may be used at once, the
 * other half comes back over an hour, so that no hour has more than the whole. Requests for a message or a page are
 * counted and never refused.
 */
import type { HttpClient } from "../net/http-client.ts";
import { HOUR_MS } from "../platform/time.ts";
import { createRateLimit, type RateLimit } from "../platform/rate-limit.ts";
import type { SkyvernClient } from "./client.ts";
import type { SkyvernResult } from "./api-call.ts";

export interface RequestBudget {
  /** The most requests in any hour. */
  readonly perHour: number;
  /** Milliseconds until another request may be made; 0 means now. */
  waitMs(): number;
  /** The same client with each of its requests counted. */
  counted(request: HttpClient): HttpClient;
}

export function createRequestBudget({ perHour, now }: { perHour: number; now(): number }): RequestBudget {
  const limit: RateLimit = createRateLimit({ burst: Math.ceil(perHour / 2), everyMs: (2 * HOUR_MS) / perHour, now });
  return {
    perHour,
    waitMs: () => limit.waitMs(CLIENT),
    counted: (request) => (url, asked) => {
      limit.count(CLIENT);
      return request(url, asked);
    },
  };
}

/** The limit counts by client; this client is the relay. */
const CLIENT = "relay";

/**
 * The client for work that can wait: while the budget is spent it refuses lists and runs as `rate_limited`, with the
 * time to wait.
 */
export function withinBudget(client: SkyvernClient, budget: RequestBudget | null): SkyvernClient {
  if (budget === null) return client;
  const gate = <T>(ask: () => Promise<SkyvernResult<T>>): Promise<SkyvernResult<T>> => {
    const retryAfterMs = budget.waitMs();
    if (retryAfterMs === 0) return ask();
    const reason = `the budget of ${budget.perHour} requests an hour is spent (skyvern.reconcile.requests_per_hour)`;
    return Promise.resolve({ ok: false, fault: { kind: "rate_limited", status: null, reason, retryAfterMs } });
  };
  return {
    ...client,
    getRun: (id, signal) => gate(() => client.getRun(id, signal)),
    listRuns: (query, signal) => gate(() => client.listRuns(query, signal)),
    with: (choice) => withinBudget(client.with(choice), budget),
    perKey: () => client.perKey().map((key) => ({ ...key, client: withinBudget(key.client, budget) })),
  };
}
