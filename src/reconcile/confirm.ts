/**
 * Confirms runs by Skyvern's API. Runs started in Skyvern's web page have webhooks signed with a key that nobody else
 * can know. From a body whose signature does not fit only the run id is taken; Skyvern's own answer about that run is
 * ingested.
 */
import type { ReconcileDeps } from "./reconcile.ts";
import { createRateLimit, remember, toNetwork } from "../platform/rate-limit.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Confirm } from "../receive/receive.ts";
import { readClaimedRunId } from "./claimed-run.ts";
import { webhookUrlOf } from "./ingest.ts";
import { askEachKey } from "./owners.ts";
import { withDeadline } from "../platform/abortable.ts";

export interface ConfirmDeps extends Pick<ReconcileDeps, "client" | "ingest" | "addresses" | "scope"> {
  now: Runtime["now"];
}

/** How many bodies of one address are examined. */
const CLAIMS_ALLOWED = { burst: 20, everyMs: 500 };
/** Anyone may send ids, so half of the questions serve any sender, and half only addresses that had a run confirmed. */
const QUESTIONS_ALLOWED = { burst: 10, everyMs: 1_000 };
/** How long an id that Skyvern did not know, or that belongs elsewhere, is not asked for again. */
const UNKNOWN_MS = 60_000;
const MAX_REMEMBERED = 10_000;
const TIMEOUT_MS = 15_000;

export function createConfirm(deps: ConfirmDeps): Confirm {
  const { now } = deps;
  const unknownUntil = new Map<string, number>();
  const proven = new Map<string, true>();
  const claims = createRateLimit({ ...CLAIMS_ALLOWED, now });
  const questions = createRateLimit({ ...QUESTIONS_ALLOWED, now });
  return async (bytes, from) => {
    if (!claims.take(from)) return { kind: "unavailable" };
    const id = readClaimedRunId(bytes);
    if (id === null || (unknownUntil.get(id) ?? 0) > now()) return null;
    const network = toNetwork(from);
    const mayAsk = (proven.has(network) && questions.take("proven")) || questions.take("anyone");
    if (!mayAsk) return { kind: "unavailable" };
    const confirmed = await ask(deps, id);
    if (confirmed === null) remember(unknownUntil, id, now() + UNKNOWN_MS, MAX_REMEMBERED);
    else if ("verdict" in confirmed) remember(proven, network, true, MAX_REMEMBERED);
    return confirmed;
  };
}

/** Asks for every organization until one is shown the run. */
async function ask({ client, ingest, addresses, scope }: ConfirmDeps, id: string): ReturnType<Confirm> {
  const { answers, fault } = await withDeadline(TIMEOUT_MS, undefined, (inTime) =>
    askEachKey(client, id, inTime, { first: true }),
  );
  const [shown] = answers;
  // Any other answer (a proxy's page, a refused key) says nothing about the run.
  if (shown === undefined) return fault === null ? null : { kind: "unavailable" };
  const [organization, run] = shown;
  if (scope !== "all" && !addresses.pointsHere(webhookUrlOf(run))) return null;
  return ingest(run, { source: "reconciled", organization });
}
