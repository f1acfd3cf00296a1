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
  /** `alert`: the relay speaks of itself. */
  cause: Cause | "alert";
  /** An earlier attempt may have arrived: its result is unknown, or the process died before recording it. */
  maybeSent: boolean;
  report: Report;
  /** The receipt of this sink's last delivered message about the same run, to edit or answer it; null when there is none. */
  previous: DeliveryReceipt | null;
  /** Pictures and files to show; none: the links in the report have to do. */
  evidence?: Evidence;
  /** W3C trace context of this attempt, to pass on. None: nobody collects traces. */
  traceparent?: string;
  /** With cause `alert`: what it says; the report says the same for people. */
  alert?: Alert;
}

/** A configured destination. */
export interface Sink {
  readonly name: string;
  readonly kind: string;
  /** How fast the vendor takes messages. Sinks that share a `key` (one Slack channel) share the pace. None: no limit. */
  readonly pace?: { key: string; perSecond: number };
  /** Deliver strictly in the order of arrival, one at a time: people read it as a sequence. */
  readonly ordered?: true;
  /** A second message with the same `deliveryId` does no harm: whoever gets it drops it. Its deliveries may be claimed ahead of their attempt. */
  readonly dropsRepeats?: true;
  /** Wants to hear of more data for the same outcome (cause `update`), not only of outcomes. */
  readonly updates?: true;
  /**
   * One attempt. Resolves with its outcome and never throws for what the other side does; a throw is a bug. Ends promptly
   * when the signal aborts (the attempt's deadline, or shutdown).
   */
  deliver(job: Job, signal: AbortSignal): Promise<Outcome>;
  close?(): Promise<void>;
}

/** What a sink may use of the outside world. The ways out refuse private addresses unless allowed, and follow no redirect. */
export interface SinkDeps extends Outbound {
  /** Epoch milliseconds. */
  now(): number;
  /** Ends early, without rejecting, when the signal aborts. Default: by the wall clock. */
  sleep?(ms: number, signal?: AbortSignal): Promise<void>;
  log: Log;
}

/** The environment variables that make one sink of a kind, named after the kind. */
export interface Shortcut {
  readonly variables: Readonly<Record<string, ShortcutVariable>>;
  /** `VARIABLE=value`, for somebody who has no sink yet. */
  readonly example: string;
  /** Each way to the sink takes all of its `needs`, beside which `takes` may stand. */
  readonly ways: readonly { readonly needs: readonly string[]; readonly takes?: readonly string[] }[];
}

export interface ShortcutVariable {
  /** The key of the sink's configuration that it fills. */
  readonly key: string;
  /** It may come from a file, named by the variable with `_FILE` behind it. */
  readonly isSecret?: true;
  /** What is off when the sink is made without it, and the line that turns it on. */
  readonly without?: { readonly what: string; readonly turn_on: string };
}

/** A vendor's API: its origin may be asked wherever it is, as the operator named it or left it at its default. */
export interface VendorApi {
  /** The environment variable that names another base for all sinks of the kind… */
  readonly variable: string;
  /** …which fills this key of their configuration, unless the file does. */
  readonly key: string;
  readonly base: string;
}

/** The code for one type of sink, and all that is known of it: nothing outside its folder names it but `kinds.ts`. */
export interface SinkKind<Shape extends z.ZodRawShape = z.ZodRawShape> {
  readonly kind: string;
  /** The zod object of its keys in relay.yaml, `kind` left out. */
  readonly config: z.ZodObject<Shape>;
  /** Attempts at the same time, unless the file says otherwise. Default 4. */
  readonly concurrency?: number;
  /** None: only the file makes such sinks. */
  readonly shortcut?: Shortcut;
  readonly api?: VendorApi;
  /** What the receipt of a delivered message holds, in words for the description of the API. */
  readonly receipt: string;
  /** What is wrong with keys that are each right by themselves; `path` leads to the key at fault. None: an empty list. */
  faults?(config: z.output<z.ZodObject<Shape>>): { path: string[]; message: string }[];
  create(name: string, config: z.output<z.ZodObject<Shape>>, deps: SinkDeps): Sink;
  /**
   * Looks whether a sink so configured could deliver, and tells nobody anything. Resolves within the signal's time, and never
   * rejects for what the other side does.
   */
  diagnose?(config: z.output<z.ZodObject<Shape>>, deps: DiagnoseDeps, signal: AbortSignal): Promise<Diagnosis[]>;
}

export const defineSink = <Shape extends z.ZodRawShape>(kind: SinkKind<Shape>): SinkKind<Shape> => kind;
