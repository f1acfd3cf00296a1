import type { Log } from "../platform/log.ts";
import type { Circuit, Outcome } from "../domain/run.ts";
import type { OutboxStore } from "../store/contract/outbox.ts";
import { afterOutcome, CLOSED } from "./circuit-breaker.ts";

export interface CircuitsDeps {
  store: Pick<OutboxStore, "circuits" | "saveCircuit">;
  /** Set where other relays on the same database change circuits too. */
  fleet?: object | null;
  /** Waits after the first try of a delivery, ms. */
  scheduleMs: readonly number[];
  log: Log;
}

export type Circuits = ReturnType<typeof createCircuits>;

/** How long circuits that other relays may have changed are used from memory. */
const CIRCUITS_FRESH_MS = 500;

/**
 * The sinks' circuits: kept in memory for decisions, saved with each attempt, and read again where other relays write
 * them.
 */
export function createCircuits({ store, log, fleet, scheduleMs }: CircuitsDeps) {
  let loaded: Promise<Map<string, Circuit>> | null = null;
  /** Monotonic clock. */
  let loadedAt = 0;
  const all = async () => {
    if (fleet && performance.now() - loadedAt > CIRCUITS_FRESH_MS) loaded = null;
    if (loaded === null) loadedAt = performance.now();
    loaded ??= store.circuits();
    try {
      return await loaded;
    } catch (error) {
      loaded = null;
      throw error;
    }
  };
  let known = new Map<string, Circuit>();
  const of = async (sink: string): Promise<Circuit> => {
    known = await all();
    return known.get(sink) ?? CLOSED;
  };
  return {
    of,
    /** The circuit as last read. */
    known: (sink: string): Circuit => known.get(sink) ?? CLOSED,
    /** Reads circuits again that other relays may have changed, if it can. */
    refresh: async (): Promise<void> => {
      if (!fleet) return;
      try {
        known = await all();
      } catch {
        // The circuits as last read are used.
      }
    },
    /** The circuit after an outcome, which is saved with the attempt. */
    after: (sink: string, outcome: Outcome, now: number): Circuit => {
      const was = known.get(sink) ?? CLOSED;
      const is = afterOutcome(was, outcome, now, scheduleMs);
      known.set(sink, is);
      const about = { sink, reason: is.reason };
      if (is.state !== was.state && is.state === "closed") log.info("circuit.closed", about);
      else if (is.state !== was.state) log.warn(is.state === "open" ? "circuit.opened" : "circuit.stopped", about);
      return is;
    },
    close: async (sink: string): Promise<void> => {
      const was = await of(sink);
      const is = { ...CLOSED, last_success_at: was.last_success_at, last_failure_at: was.last_failure_at };
      await store.saveCircuit(sink, is);
      known.set(sink, is);
      log.info("circuit.closed", { sink, reason: "resumed" });
    },
    shift: (byMs: number) => {
      for (const [sink, circuit] of known) {
        if (circuit.until !== null) known.set(sink, { ...circuit, until: circuit.until - byMs });
      }
    },
  };
}
