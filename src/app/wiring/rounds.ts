/** Wires what is done from time to time. */
import type { Config } from "../../config/config.ts";
import { alertRound, type AlertDeps } from "../../alerts/alerts.ts";
import { WAITS_AFTER_CUT_MS } from "../../deliver/backoff.ts";
import { createHeartbeat } from "../../alerts/heartbeat.ts";
import { followUpDue } from "../../reconcile/follow-up.ts";
import { fillHistory } from "../../reconcile/history.ts";
import { findGap } from "../../reconcile/reconcile.ts";
import { rereadUnrecognized } from "../../receive/reread.ts";
import { prune } from "../retention.ts";
import { createDiskWatch } from "../disk-watch.ts";
import { upkeep } from "../upkeep.ts";
import type { Rounds } from "../jobs.ts";
import type { AppHost } from "../host.ts";
import type { Otlp } from "./tracing.ts";
import type { SkyvernSide } from "./skyvern.ts";
import type { DeliverySide } from "./delivery.ts";
import type { Receiving } from "./receiving.ts";

interface RoundDeps {
  skyvern: SkyvernSide;
  delivering: DeliverySide;
  receiving: Receiving;
  otlp: Otlp | null;
  unready(): Promise<string | null>;
  signal: AbortSignal;
}

export function createRounds(
  config: Config,
  host: AppHost,
  { skyvern: { archive }, delivering, receiving, otlp, unready, signal }: RoundDeps,
): Rounds {
  const { runtime, log, metrics, store, fleet, nudge } = host;
  const disk = host.diskSpace
    ? createDiskWatch({
        ...host,
        now: runtime.now,
        space: host.diskSpace,
        seen: (free) => metrics.diskFree.set({ disk: "database" }, free),
      })
    : null;
  const isGapTold = config.reconcile !== null && config.alerts.onCoverageGap.length > 0;
  const alerting: AlertDeps = {
    settings: config.alerts,
    sinks: delivering.lanes.map(({ sink }) => sink),
    store,
    gap: () => (isGapTold ? findGap(receiving.reconciling) : Promise.resolve([])),
    isDiskLow: () => disk?.isLow() ?? false,
    publicUrl: host.publicUrl,
    timeoutMs: config.delivery.timeoutMs,
    runtime,
    log,
    metrics,
  };
  const { heartbeat, retention: settings } = config;
  const beat = heartbeat
    ? createHeartbeat({
        url: heartbeat.url,
        request: host.operatorRequest,
        fault: unready,
        now: runtime.now,
        log,
        metrics,
      })
    : null;
  return {
    reread: async () => {
      const understood = await rereadUnrecognized(receiving.rereading, signal);
      if (understood > 0) nudge();
      return understood;
    },
    followUp: () => followUpDue(receiving.followUps, signal),
    reconcile: () => receiving.reconciler.round(signal),
    fillHistory: async () => (receiving.history ? fillHistory(receiving.history, signal) : null),
    archive: async () => {
      const runs = (await archive?.round(signal)) ?? 0;
      await archive?.clear(signal);
      return runs;
    },
    watchDisk: disk?.look ?? null,
    upkeep: () => upkeep({ ...runtime, store }, signal),
    prune: async () => {
      const removed = await prune({ ...runtime, store, settings }, { signal });
      if (Object.values(removed).some((count) => count > 0)) log.info("retention.pruned", { ...removed });
      return removed;
    },
    alert: () => alertRound(alerting, signal),
    beat: async () => beat?.(signal),
    sendSpans: async () => otlp?.flush(),
    reclaimFromDeadPeers: async () => {
      const names = (await fleet?.deadPeers()) ?? [];
      if (names.length === 0) return;
      const reclaimed = await store.reclaimLeases(runtime.now(), WAITS_AFTER_CUT_MS, names);
      log.warn("fleet.leases_reclaimed", { from: names, deliveries: reclaimed });
      nudge();
    },
  };
}
