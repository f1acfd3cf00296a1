/** Wires the delivery side: the sinks, and the worker that serves them. */
import type { Config } from "../../config/config.ts";
import { createAttempt } from "../../deliver/attempt.ts";
import { createEvidence } from "../../deliver/attachments.ts";
import { AHEAD_PER_SLOT } from "../../deliver/lane.ts";
import { createTestSend } from "../../deliver/test-message.ts";
import { Worker } from "../../deliver/worker.ts";
import { ARTIFACTS_DELAY_MS, lacksRelations } from "../../domain/follow-up-plan.ts";
import type { ReadDetails } from "../../reconcile/details.ts";
import { findKind } from "../../sinks/kinds.ts";
import type { AppHost } from "../host.ts";
import type { Otlp } from "./tracing.ts";
import type { SkyvernSide } from "./skyvern.ts";

const LEASE_MARGIN_MS = 60_000;

export type DeliverySide = ReturnType<typeof createDeliverySide>;

export function createDeliverySide(
  config: Config,
  { runtime, log, metrics, store, fleet, fetch, request }: AppHost,
  { links, media, enricher, askAgainAt }: SkyvernSide,
  { otlp, readDetails }: { otlp: Otlp | null; readDetails: ReadDetails },
) {
  const { timeoutMs, artifactsWaitMs, scheduleMs } = config.delivery;
  const sinkDeps = { fetch, request, now: runtime.now, sleep: runtime.sleep, log };
  const lanes = config.sinks.map(({ kind, name, config: own, concurrency }) => ({
    sink: findKind(kind).create(name, own, sinkDeps),
    concurrency,
  }));
  const showing = { media, settings: config.attachments, budgetMs: timeoutMs / 2 };
  const attempt = createAttempt({
    traced: otlp !== null,
    enrich: async ({ state, artifactsStatus, maybeSent }, signal) => {
      const { run } = state;
      const { reason: _reason, isNew, ...known } = await enricher.list(run, artifactsStatus, signal);
      // When Skyvern gave no list, it is not asked for more; and a message that may be out is not changed now.
      const later = known.status !== "complete" || maybeSent ? null : await readDetails(state, signal);
      const isLacking = later !== null && lacksRelations(later.run);
      const followUpAt = isLacking ? runtime.now() + ARTIFACTS_DELAY_MS : askAgainAt(known.status);
      const found = { runId: run.run_id, known, followUpAt };
      return { known, ...(isNew ? { found } : {}), ...(later ? { state: later } : {}) };
    },
    evidence: (run, artifacts) => createEvidence(showing, run, artifacts),
    links,
    timeoutMs,
    log,
  });
  const leaseMs = (artifactsWaitMs + timeoutMs) * (AHEAD_PER_SLOT + 1) + LEASE_MARGIN_MS;
  const trace = otlp?.take ?? null;
  const worker = new Worker({ trace, store, lanes, attempt, fleet, scheduleMs, leaseMs, runtime, log, metrics });
  const sendTest = createTestSend({ sinks: lanes.map(({ sink }) => sink), store, links, timeoutMs, runtime, log });
  const sinks = lanes.map(({ sink: { name, kind, updates = false, attempts = false } }) => ({
    name,
    kind,
    updates,
    attempts,
  }));
  return { lanes, sinks, worker, sendTest };
}
