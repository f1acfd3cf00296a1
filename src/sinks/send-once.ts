import type { Log } from "../platform/log.ts";
import type { Outcome } from "../domain/run.ts";
import { withDeadline } from "../platform/abortable.ts";
import type { Job, Sink } from "./sink.ts";

export interface SendOnceInput {
  sink: Sink;
  deliveryId: string;
  /** The run for the log; null when the message is about none. */
  runId: string | null;
  /** Builds what is sent. Its time does not count against the deadline. */
  prepare(): Omit<Job, "deliveryId"> | Promise<Omit<Job, "deliveryId">>;
  /** How long the sink may take to answer, ms. */
  timeoutMs: number;
  /** Aborts the attempt when the relay stops. */
  signal?: AbortSignal;
  log: Log;
}

/**
 * Makes one attempt under a deadline. Never throws: a bug in the sink, or in building the message, is logged and
 * retried.
 */
export async function sendOnce(input: SendOnceInput): Promise<Outcome> {
  const { sink, deliveryId, runId, timeoutMs, signal, log } = input;
  try {
    const job = await input.prepare();
    if (signal?.aborted) return { kind: "retry", reason: "the relay was stopped before the message was sent" };
    return await withDeadline(timeoutMs, signal, (inTime) => sink.deliver({ deliveryId, ...job }, inTime));
  } catch (error) {
    log.error("delivery.crashed", {
      delivery_id: deliveryId,
      ...(runId === null ? {} : { run_id: runId }),
      sink: sink.name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    return { kind: "retry", unknown: true, reason: "internal error in this sink; see the relay's log" };
  }
}
