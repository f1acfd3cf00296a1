/**
 * Traces, in W3C's and OpenTelemetry's terms. A run is one trace, whose id derives from the run's, so every process
 * that handles the run, today or after a restart, uses the same trace and nothing is stored. There is a span for each
 * settled receipt and each attempt. An attempt's parent is the receipt that made its revision, and a later attempt
 * links to the one before.
 */
import { hash } from "node:crypto";

const digest = (text: string, digits: number): string => hash("sha256", text).slice(0, digits);

/** 32 hex digits. */
export const traceIdOf = (runId: string): string => digest(`run ${runId}`, 32);
/** 16 hex digits, for the receipt that made a revision of a run. */
export const revisionSpanOf = (runId: string, revision: number): string => digest(`revision ${revision} ${runId}`, 16);
/** 16 hex digits, for an attempt, counted from 1. */
export const attemptSpanOf = (deliveryId: string, n: number): string => digest(`attempt ${n} ${deliveryId}`, 16);
/** 16 hex digits, for a receipt that made no revision. */
export const receiptSpanOf = (receiptId: string): string => digest(`receipt ${receiptId}`, 16);

/** The `traceparent` header (https://www.w3.org/TR/trace-context/), which says that the trace is recorded. */
export const traceparentOf = (runId: string, deliveryId: string, n: number): string =>
  `00-${traceIdOf(runId)}-${attemptSpanOf(deliveryId, n)}-01`;

export type Attribute = string | number | boolean | null;

export interface Span {
  traceId: string;
  spanId: string;
  parentSpanId: string | null;
  /** An earlier span of the same trace. */
  link: string | null;
  name: string;
  kind: "internal" | "server" | "client";
  /** Epoch ms, with fractions. */
  startedAt: number;
  finishedAt: number;
  /** Null attributes are left out. */
  attributes: Record<string, Attribute>;
  /** Why it failed; null when it did not. */
  error: string | null;
}

/** Accepts spans; never waits and never fails. Null when no traces are collected. */
export type Trace = ((span: Span) => void) | null;
