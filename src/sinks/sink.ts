import type { z } from "zod";
import type { Alert } from "../domain/alert.ts";
import type { Log } from "../platform/log.ts";
import type { Outbound } from "../net/http-client.ts";
import type { Report } from "../domain/report.ts";
import type { Cause, DeliveryReceipt, Outcome } from "../domain/run.ts";
import type { DiagnoseDeps, Diagnosis } from "./diagnosis.ts";
import type { Evidence } from "./attachments.ts";

/** One delivery as a sink sees it. The same `deliveryId` comes with every attempt: it is the idempotency key. */
export interface Job {
  deliveryId: string;
  /** 1 on the first try. */
  attempt: number;
  /** `alert`: the message is about the relay itself. */
  cause: Cause | "alert";
  /** When the delivery was queued, epoch ms: no attempt is older. */
  queuedAt: number;
  /** True when an earlier attempt may have arrived: its result is unknown, or the process died before recording it. */
  maybeSent: boolean;
  report: Report;
  /**
   * Set where the message is about a run attempt that failed with another one to come: the id of this event, the same
   * whenever it is sent. The report is the run as it was at that time.
   */
  attemptEventId?: string;
  /**
   * The receipt of this sink's last delivered message about the same run, for editing or answering it; null when there
   * is none.
   */
  previous: DeliveryReceipt | null;
  /** The receipt of an earlier attempt of this delivery by which some of its recipients got the message. */
  begun?: DeliveryReceipt | null;
  /** Pictures and files to show; without it the report's links must do. */
  evidence?: Evidence;
  /** The W3C trace context to pass on; absent when no traces are collected. */
  traceparent?: string;
  /** Set with cause `alert`: the alert itself; the report says the same for people. */
  alert?: Alert;
}

/** A configured destination. */
export interface Sink {
  readonly name: string;
  readonly kind: string;
  /**
   * How fast the vendor accepts messages. Sinks with the same `key` (one Slack channel) share the pace. Absent: no
   * limit.
   */
  readonly pace?: { key: string; perSecond: number };
  /** Deliver strictly in the order of arrival, one at a time, because people read the messages as a sequence. */
  readonly ordered?: true;
  /**
   * A second message with the same `deliveryId` does no harm, because receivers drop it. Deliveries may be claimed
   * ahead.
   */
  readonly dropsRepeats?: true;
  /** The sink also wants updates (cause `update`): more data for the same outcome. */
  readonly updates?: true;
  /** The sink also wants a message about each run attempt that failed with another one to come. */
  readonly attempts?: true;
  /**
   * Makes one attempt. Resolves with its outcome and never throws for what the other side does; a throw is a bug. Ends
   * promptly when the signal aborts (the attempt's deadline, or shutdown).
   */
  deliver(job: Job, signal: AbortSignal): Promise<Outcome>;
  close?(): Promise<void>;
}

/**
 * What a sink may use of the outside world. Outgoing requests refuse private addresses unless allowed, and follow no
 * redirect.
 */
export interface SinkDeps extends Outbound {
  /** Epoch milliseconds. */
  now(): number;
  /** Ends early, without rejecting, when the signal aborts. Default: the wall clock. */
  sleep?(ms: number, signal?: AbortSignal): Promise<void>;
  log: Log;
}

/** The environment variables that configure one sink of a kind, which is named after the kind. */
export interface Shortcut {
  readonly variables: Readonly<Record<string, ShortcutVariable>>;
  /** A `VARIABLE=value` example for an operator who has no sink yet. */
  readonly example: string;
  /** What a person does first, before they have the values. */
  readonly setUp?: string;
  /** The ways to configure the sink: each requires all of its `needs` and allows its `takes`. */
  readonly ways: readonly { readonly needs: readonly string[]; readonly takes?: readonly string[] }[];
}

export interface ShortcutVariable {
  /** The key of the sink's configuration that the variable sets. */
  readonly key: string;
  /** The value may come from a file, which the variable with the suffix `_FILE` names. */
  readonly isSecret?: true;
  /** Generates a value that nobody gave when a sink is set up. */
  readonly make?: () => string;
  /** What is off when the sink is configured without this variable, and the line that turns it on. */
  readonly without?: { readonly what: string; readonly turn_on: string };
}

/** A vendor's API. Its origin may be reached wherever it is, because the operator named it or left the default. */
export interface VendorApi {
  /** The environment variable that sets another base URL for all sinks of the kind. */
  readonly variable: string;
  /** The configuration key that this variable sets, unless the file sets it. */
  readonly key: string;
  readonly base: string;
}

/** The code for one type of sink, and everything known about it. Outside its folder only `kinds.ts` names it. */
export interface SinkKind<Shape extends z.ZodRawShape = z.ZodRawShape> {
  readonly kind: string;
  /** The zod object of its keys in relay.yaml, without `kind`. */
  readonly config: z.ZodObject<Shape>;
  /**
   * Parallel attempts, unless the file sets another number; 1: the file may not, as its sinks are ordered. Default 4.
   */
  readonly concurrency?: number;
  /** Absent: only the file configures such sinks. */
  readonly shortcut?: Shortcut;
  readonly api?: VendorApi;
  /** What the receipt of a delivered message holds, as the API's description words it. */
  readonly receipt: string;
  /** Faults of keys that are each valid by themselves; `path` leads to the key at fault. Empty when there are none. */
  faults?(config: z.output<z.ZodObject<Shape>>): { path: string[]; message: string }[];
  /** The addresses that the guard judges at each delivery, by the key that holds each. */
  addresses?(config: z.output<z.ZodObject<Shape>>): Readonly<Record<string, string>>;
  create(name: string, config: z.output<z.ZodObject<Shape>>, deps: SinkDeps): Sink;
  /**
   * Checks whether a sink with this configuration could deliver, without sending a message. Resolves within the
   * signal's time, and never rejects for what the other side does.
   */
  diagnose?(config: z.output<z.ZodObject<Shape>>, deps: DiagnoseDeps, signal: AbortSignal): Promise<Diagnosis[]>;
}

export const defineSink = <Shape extends z.ZodRawShape>(kind: SinkKind<Shape>): SinkKind<Shape> => kind;
