/** Why the relay may not know a run, and what to do, for whoever followed a link. */
import { html } from "hono/html";
import type { UnknownRun } from "../../history/why.ts";
import { formatDuration } from "../../platform/duration.ts";
import { time, type Part } from "../markup.ts";
import { line, many } from "../text.ts";

/** A paragraph each. */
export function whyUnknown({
  runId,
  listedRun,
  unrecognized,
  webhookUrl,
  listEveryMs,
}: UnknownRun & { runId: string }): Part[] {
  return [
    html`<code>${line(runId, 100)}</code>`,
    ...(listedRun === null
      ? whyUnlisted(webhookUrl, listEveryMs)
      : [
          [
            html`Skyvern has it, created ${time(listedRun.createdAt)}.`,
            " ",
            whyListed(listedRun, webhookUrl, listEveryMs),
          ],
        ]),
    ...(unrecognized === 0
      ? []
      : [
          html`The relay could not read <a href="/unrecognized">${many(unrecognized, "webhook")} that it received</a>:
            the run may be ${unrecognized === 1 ? "this one" : "one of them"}.`,
        ]),
  ];
}

function whyUnlisted(webhookUrl: string, listEveryMs: number | null): Part[] {
  if (listEveryMs !== null)
    return [
      `The relay asks Skyvern for its runs every ${formatDuration(listEveryMs)}, and this one was not among them. Its id ` +
        "may be mistyped, it may belong to another organization, or Skyvern did not answer.",
      html`On the relay's machine, <code>skyvern-relay doctor</code> says which.`,
    ];
  return [
    "Its id may be mistyped, it may belong to another organization, or Skyvern was not told to send its result here.",
    html`Runs come here when they are started with the webhook address <code>${webhookUrl}</code>. On the relay's
      machine, <code>skyvern-relay backfill</code> fetches earlier ones.`,
  ];
}

function whyListed(
  { targetsThisRelay }: NonNullable<UnknownRun["listedRun"]>,
  webhookUrl: string,
  everyMs: number | null,
): Part {
  if (everyMs !== null) return `The relay reads it within ${formatDuration(everyMs)}: load this page again then.`;
  if (targetsThisRelay)
    return "Its result was to be sent here and has not arrived. The relay fetches it within minutes: load this page again then.";
  return html`Its result goes to another address, or to none. Runs come here when they are started with the webhook
    address <code>${webhookUrl}</code>; on the relay's machine, <code>skyvern-relay backfill</code> fetches this one.`;
}
