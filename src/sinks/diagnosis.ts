/** What `skyvern-relay doctor` found about one configured part of the relay. */
import type { Log } from "../platform/log.ts";
import type { Fetch } from "../platform/runtime.ts";
import type { Outcome } from "../domain/run.ts";

/** `fault`: results do not get through, or soon will not. `warning`: they do, with a drawback. */
export type Diagnosis =
  | { state: "ok"; found: string }
  | { state: "warning" | "fault"; found: string; /** What the operator should do, as an instruction. */ fix: string };

export const ok = (found: string): Diagnosis => ({ state: "ok", found });
export const warning = (found: string, fix: string): Diagnosis => ({ state: "warning", found, fix });
export const fault = (found: string, fix: string): Diagnosis => ({ state: "fault", found, fix });

/** What a check may use of the outside world. No check sends a message. */
export interface DiagnoseDeps {
  /** The guarded fetch. */
  fetch: Fetch;
  /**
   * Opens a connection under the rules of the guarded fetch, with TLS where the address asks for it, and closes it
   * unused.
   */
  reach(url: string | URL, signal: AbortSignal): Promise<void>;
  now(): number;
  log: Log;
}

/** The reason of an outcome other than delivered. */
export const reasonOf = (outcome: Outcome): string =>
  outcome.kind === "delivered" ? "it was accepted" : outcome.reason;
