/** How each status of a run looks wherever people read of it: on pages, in mail and in Slack. Pure. */

/** `bad`: it ended without success. `warn`: it is not over. `plain`: nothing went wrong, and nothing came of it yet. */
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
  ["created", { label: "Created", symbol: "ℹ️", tone: "plain" }],
  ["queued", { label: "Queued", symbol: "ℹ️", tone: "plain" }],
  ["running", { label: "Running", symbol: "ℹ️", tone: "plain" }],
  ["paused", { label: "Paused", symbol: "ℹ️", tone: "warn" }],
  ["skipped", { label: "Skipped", symbol: "ℹ️", tone: "plain" }],
  ["test", { label: "Test", symbol: "🧪", tone: "plain" }],
]);

/** Any other status has its own words as its label. */
export const lookOf = (status: string): StatusLook =>
  LOOKS.get(status) ?? { label: status.replaceAll("_", " "), symbol: "ℹ️", tone: "plain" };
