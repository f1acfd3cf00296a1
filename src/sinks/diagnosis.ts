/** What a look at a configured part of the relay found, for `skyvern-relay doctor`. */
import type { Log } from "../platform/log.ts";
import type { Fetch } from "../platform/runtime.ts";
import type { Outcome } from "../domain/run.ts";

/** `fault`: results do not get through, or not for long. `warning`: they do, but not as somebody would wish. */
export type Diagnosis =
  | { state: "ok"; found: string }
  | { state: "warning" | "fault"; found: string; /** What to do about it, as an instruction. */ fix: string };

export const ok = (found: string): Diagnosis => ({ state: "ok", found });
export const warning = (found: string, fix: string): Diagnosis => ({ state: "warning", found, fix });
export const fault = (found: string, fix: string): Diagnosis => ({ state: "fault", found, fix });

/** What a look may use of the outside world. Nothing it does tells anybody of anything. */
export interface DiagnoseDeps {
  /** The guarded fetch. */
  fetch: Fetch;
  /** Opens a connection, with TLS where the address says so, by the rules of the guarded fetch, and ends it unused. */
  reach(url: string | URL, signal: AbortSignal): Promise<void>;
  now(): number;
  log: Log;
}

/** The reason of an outcome that is not delivered. */
export const reasonOf = (outcome: Outcome): string => (outcome.kind === "delivered" ? "it was taken" : outcome.reason);
