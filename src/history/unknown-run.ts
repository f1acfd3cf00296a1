/** Says why the relay may not know a run, and what to do: for the page, the history API and the command `why`. Pure. */
import { formatDuration } from "../platform/duration.ts";
import { plural } from "../platform/amounts.ts";
import { isoTime } from "../platform/time.ts";

/**
 * What is known of a run that is not stored. `listedRun` is what Skyvern's own list showed of it, `unrecognized` how
 * many bodies were not recognized as a run.
 */
export interface UnknownRun {
  listedRun: { createdAt: number; targetsThisRelay: boolean } | null;
  unrecognized: number;
  webhookUrl: string;
  /** How often Skyvern's list is read where no webhook can arrive; null where they can. */
  listEveryMs: number | null;
}

/** {@link UnknownRun.listEveryMs} of a configuration. */
export const listEveryMs = ({
  reconcile,
}: {
  reconcile: { everyMs: number; hasWebhooks: boolean } | null;
}): number | null => (reconcile?.hasWebhooks === false ? reconcile.everyMs : null);

/** For a program and a terminal. `runId` is shown as it is given. */
export function explainUnknownRun(runId: string, known: UnknownRun): string[] {
  const unread = describeUnrecognized(known);
  return [
    `The relay does not know the run ${runId}.`,
    ...whyUnknown(known),
    ...(unread === null ? [] : [`${unread} GET /v1/receipts/unrecognized lists what was received.`]),
    "Coverage (GET /v1/stats) counts the runs that only Skyvern has; `skyvern-relay backfill --since 7d` fetches " +
      "those of a week.",
  ];
}

/** Addresses and commands are between backticks. */
export function whyUnknown({ listedRun, webhookUrl, listEveryMs }: UnknownRun): string[] {
  const started = `Runs come here when they are started with the webhook address \`${webhookUrl}\`.`;
  if (listedRun !== null) {
    const has = `Skyvern has it, created ${isoTime(listedRun.createdAt)}.`;
    if (listEveryMs !== null)
      return [`${has} The relay reads it within ${formatDuration(listEveryMs)}: look again then.`];
    if (listedRun.targetsThisRelay)
      return [
        `${has} Its result was to be sent here and has not arrived. The relay fetches it within minutes: look again ` +
          "then.",
      ];
    const command = `skyvern-relay backfill --scope all --since ${isoTime(listedRun.createdAt)}`;
    return [
      `${has} Its result goes to another address, or to none.`,
      `${started} On the relay's machine, \`${command}\` fetches this one.`,
    ];
  }
  if (listEveryMs !== null)
    return [
      `The relay asks Skyvern for its runs every ${formatDuration(listEveryMs)}, and this one was not among them. ` +
        "Its id may be mistyped, it may belong to another organization, or Skyvern did not answer.",
      "On the relay's machine, `skyvern-relay doctor` says which.",
    ];
  return [
    "Its id may be mistyped, it may belong to another organization, or Skyvern was not told to send its result here.",
    `${started} On the relay's machine, \`skyvern-relay backfill --since 1d\` fetches those of the last day.`,
  ];
}

/** Null where every body was recognized. */
export const describeUnrecognized = ({ unrecognized }: UnknownRun): string | null =>
  unrecognized === 0
    ? null
    : `The relay could not read ${plural(unrecognized, "webhook")} that it received: the run may be ` +
      `${unrecognized === 1 ? "this one" : "one of them"}.`;
