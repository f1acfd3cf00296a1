/** Wires the receiving side: webhooks, and the questions to Skyvern where none came. */
import type { Config } from "../../config/config.ts";
import { silentLog } from "../../platform/log.ts";
import { createAddresses } from "../../receive/own-addresses.ts";
import { createConfirm } from "../../reconcile/confirm.ts";
import type { CompleteHistoryDeps } from "../../reconcile/history.ts";
import { createDetailsReader } from "../../reconcile/details.ts";
import { createIngest } from "../../reconcile/ingest.ts";
import { createIntake } from "../../receive/intake.ts";
import { createReceiver } from "../../receive/receive.ts";
import { createReconciler, GRACE_MS, WHOLE_EVERY_MS } from "../../reconcile/reconcile.ts";
import { withinBudget } from "../../skyvern/request-budget.ts";
import { MINUTE_MS } from "../../platform/time.ts";
import type { AppHost } from "../host.ts";
import type { Otlp } from "./tracing.ts";
import type { SkyvernSide } from "./skyvern.ts";
import type { DeliverySide } from "./delivery.ts";

export type Receiving = ReturnType<typeof createReceiving>;

export function createReceiving(
  config: Config,
  { runtime, log, metrics, store, nudge, publicUrl, readApart, keys: keysInForce }: AppHost,
  { client, budget, newsSince, enricher, archive }: SkyvernSide,
  { delivering: { sinks, sendTest }, otlp }: { delivering: DeliverySide; otlp: Otlp | null },
) {
  const { routes, redactKeys, keys, labels } = config;
  const organizations = keys.map(({ organization }) => organization);
  const intake = createIntake({
    routes,
    sinks,
    organizations,
    labels,
    redactKeys,
    archives: archive !== null,
    store,
    runtime,
    readApart,
    log,
  });
  const tryOut = (sink: string): void => {
    // A test is not worth a webhook that waits for it; what went wrong is in the log and among the deliveries.
    sendTest(sink, "skyvern").catch((error: unknown) => log.error("sink.test_failed", { sink, error: String(error) }));
  };
  const addresses = createAddresses(publicUrl);
  const deps = {
    intake,
    addresses,
    keys: keysInForce,
    trace: otlp?.take ?? null,
    runtime,
    log,
    metrics,
    nudge,
    tryOut,
  };
  const ingest = createIngest(deps);
  const { scope = "mine", lookbackMs = 0 } = config.reconcile ?? {};
  const confirm = config.confirm ? createConfirm({ client, ingest, addresses, scope, now: runtime.now }) : null;
  const { everyMs = 0, hasWebhooks = true, historyMs = null } = config.reconcile ?? {};
  const unhurried = withinBudget(client, budget);
  const reconciling = {
    client: unhurried,
    store,
    ingest,
    addresses,
    scope,
    lookbackMs,
    graceMs: hasWebhooks ? GRACE_MS : 0,
    wholeEveryMs: everyMs < MINUTE_MS ? WHOLE_EVERY_MS : 0,
    newsSince,
    runtime,
    log,
    metrics,
  };
  // One log line for each past run would hide the start.
  const quiet = createIngest({ ...deps, log: silentLog }, { deliver: false });
  const history: CompleteHistoryDeps | null =
    historyMs === null || newsSince === null
      ? null
      : { client: unhurried, store, ingest: quiet, addresses, runtime, log, historyMs, newsSince };
  const organizationOf = (name: string | null) => keys.find((key) => key.name === name)?.organization ?? null;
  const quietIngest = createIngest(deps, { deliver: false });
  const budgetMs = config.delivery.artifactsWaitMs;
  return {
    receiver: createReceiver(deps, confirm),
    readDetails: createDetailsReader({ ...deps, client, ingest, quietIngest, store, budgetMs }),
    reconciling,
    reconciler: createReconciler(reconciling),
    history,
    followUps: { ...deps, store, client, ingest, organizationOf, refresh: enricher.refresh },
    rereading: { ...deps, store, organizationOf },
  };
}
