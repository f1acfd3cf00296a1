/** How each status of a run looks wherever people read of it: on pages, in mail and in Slack. Pure. */

/** `bad`: it ended without success. `warn`: it is not over. `plain`: nothing went wrong, and nothing was achieved. */
export type Tone = "good" | "bad" | "warn" | "plain";

export interface StatusLook {
  label: string;
  symbol: string;
  tone: Tone;
}

/** A Map, because a hostile status may be a property name that every object inherits. */
const LOOKS = new Map<string, StatusLook>([
  ["completed", { label: "Completed", symbol: "✅", tone: "good" }],
  ["failed", { label: "Failed", symbol: "❌", tone: "bad" }],
  ["terminated", { label: "Terminated", symbol: "🛑", tone: "bad" }],
  ["timed_out", { label: "Timed out", symbol: "⏱️", tone: "bad" }],
  ["canceled", { label: "Canceled", symbol: "🚫", tone: "plain" }],
  ["retrying", { label: "Retrying", symbol: "🔁", tone: "warn" }],
  ["test", { label: "Test", symbol: "🧪", tone: "plain" }],
]);

/** An unknown status has its own words as its label. */
export const lookOf = (status: string): StatusLook =>
  LOOKS.get(status) ?? { label: status.replaceAll("_", " "), symbol: "ℹ️", tone: "plain" };
