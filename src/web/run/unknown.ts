/** Why the relay may not know a run, and what to do, for whoever followed a link. */
import { html } from "hono/html";
import { describeUnrecognized, whyUnknown, type UnknownRun } from "../../history/unknown-run.ts";
import { withTimes, type Part } from "../markup.ts";
import { line } from "../text.ts";

/** A paragraph each. */
export function unknownRun(runId: string, known: UnknownRun): Part[] {
  const unread = describeUnrecognized(known);
  return [
    html`<code>${line(runId, 100)}</code>`,
    ...whyUnknown(known).map(withCode),
    ...(unread === null ? [] : [html`${unread} <a href="/unrecognized">Show what was received</a>`]),
  ];
}

/** Every second part stands between backticks. */
const withCode = (text: string): Part[] =>
  text.split("`").map((part, n) => (n % 2 === 0 ? withTimes(part) : html`<code>${part}</code>`));
