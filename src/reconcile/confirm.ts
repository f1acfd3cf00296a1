/**
 * Confirm by API: for runs started in Skyvern's web page, whose webhooks are signed with a key nobody else can know. Of a
 * body whose signature does not fit only the run id is taken; Skyvern's own answer about that run is what is ingested.
 */
import { isJsonObject, parseJson } from "../platform/json.ts";
import { createRateLimit } from "../platform/rate-limit.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { Accepted } from "../store/contract/receipts.ts";
import type { Addresses } from "../receive/own-addresses.ts";
import type { Ingest } from "./ingest.ts";
import { byOrganization, webhookUrlOf } from "./reconcile.ts";

export type Confirmed =
  | { kind: "accepted"; accepted: Accepted }
  /** Skyvern knows no such run of ours. */
  | { kind: "refused" }
  /** Skyvern could not be asked, or too much was asked for: come again. */
  | { kind: "unavailable" };

export type Confirm = (bytes: Buffer) => Promise<Confirmed>;

export interface ConfirmDeps {
  client: SkyvernClient;
  ingest: Ingest;
  addresses: Addresses;
  scope: "mine" | "all";
  now: Runtime["now"];
}

/** Anyone may send ids: so many questions at once, then two a second. */
const QUESTIONS_ALLOWED = { burst: 20, everyMs: 500 };
/** An id that Skyvern did not know, or that is not ours, is not asked for again for so long. */
const UNKNOWN_MS = 600_000;
const MAX_UNKNOWN = 10_000;
const TIMEOUT_MS = 15_000;

export function createConfirm(deps: ConfirmDeps): Confirm {
  const unknown = new Map<string, number>();
  const questions = createRateLimit({ ...QUESTIONS_ALLOWED, now: deps.now });
  return async (bytes) => {
    const id = readRunId(bytes);
    if (id === null || (unknown.get(id) ?? 0) > deps.now()) return { kind: "refused" };
    if (!questions.take("anyone")) return { kind: "unavailable" };
    const confirmed = await ask(deps, id);
    if (confirmed.kind === "refused") {
      unknown.delete(id);
      unknown.set(id, deps.now() + UNKNOWN_MS);
      const oldest = unknown.size > MAX_UNKNOWN ? unknown.keys().next().value : undefined;
      if (oldest !== undefined) unknown.delete(oldest);
    }
    return confirmed;
  };
}

/** Every organization, until one knows the run. */
async function ask({ client, ingest, addresses, scope }: ConfirmDeps, id: string): Promise<Confirmed> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  let unavailable = false;
  for (const keys of byOrganization(client.perKey()).values()) {
    for (const { client: one, organization } of keys) {
      const answer = await one.with({ tries: 1 }).getRun(id, signal);
      if (!answer.ok) {
        unavailable ||= answer.fault.kind === "unavailable" || answer.fault.kind === "rate_limited";
        if (answer.fault.kind === "forbidden") continue;
        break;
      }
      const webhookUrl = webhookUrlOf(answer.value);
      if (scope !== "all" && !addresses.pointsHere(webhookUrl)) return { kind: "refused" };
      const channel = addresses.channelOf(webhookUrl);
      const accepted = await ingest(answer.value, { source: "reconciled", organization, channel });
      return accepted === null ? { kind: "refused" } : { kind: "accepted", accepted };
    }
  }
  return { kind: unavailable ? "unavailable" : "refused" };
}

/** The run id in a body that nobody vouches for: an id's characters, nothing else. */
function readRunId(bytes: Buffer): string | null {
  try {
    const json = parseJson(bytes.toString("utf8"));
    if (!isJsonObject(json) || typeof json["status"] !== "string") return null;
    const id = json["run_id"] ?? json["task_id"] ?? json["workflow_run_id"];
    return typeof id === "string" && /^[A-Za-z0-9_-]{1,100}$/.test(id) ? id : null;
  } catch {
    return null;
  }
}
