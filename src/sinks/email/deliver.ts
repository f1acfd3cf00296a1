/**
 * The mail shows the decisive screenshot and carries the downloads, so it can be read without a network. When they make
 * it too large for the server, it is sent without them.
 */
import type { DeliveryReceipt, Outcome } from "../../domain/run.ts";
import { buildContent, formatTime, type IdPart } from "../content.ts";
import { readFiles, readScreenshot } from "../attachments.ts";
import type { Job, Sink, SinkDeps } from "../sink.ts";
import type { EmailSettings } from "./config.ts";
import { makeMessageId, NOTHING, rawMessage, type Enclosed } from "./message.ts";
import { renderMail } from "./render.ts";
import {
  isTextRefused,
  isTooLarge,
  outcomeOfSmtp,
  readProgress,
  sendMail,
  settledBy,
  smtpServer,
  type SmtpProgress,
  type SmtpServer,
} from "./smtp.ts";

export function emailDelivery(name: string, config: EmailSettings, deps: SinkDeps): Pick<Sink, "deliver"> {
  const server = smtpServer(config.smtp.reveal());
  return { deliver: (job, signal) => deliver({ name, config, server, deps }, job, signal) };
}

interface MailTarget {
  name: string;
  config: EmailSettings;
  server: SmtpServer;
  deps: SinkDeps;
}

async function deliver({ name, config, server, deps }: MailTarget, job: Job, signal: AbortSignal): Promise<Outcome> {
  const messageId = makeMessageId(job.deliveryId, config.from);
  const begun = readProgress(job.begun ?? null);
  const assume = config.on_unknown === "assume_sent";
  const assumed = (receipt: DeliveryReceipt | null | undefined): Outcome => ({
    kind: "delivered",
    receipt: { ...receipt, message_id: messageId, assumed: true },
  });
  if (assume && job.maybeSent) return assumed(job.begun);

  const { from, to, reply_to: replyTo } = config;
  const send = async (enclosed: Enclosed, notes: string[], settled: SmtpProgress) => {
    const gone = new Set([...settled.accepted, ...settled.rejected.map(({ address }) => address)]);
    const recipients = [...new Set(to.map(({ address }) => address))].filter((address) => !gone.has(address));
    const date = new Date(deps.now());
    const content = buildContent(job.report, job.cause);
    const told = { ...content, ids: [...content.ids, ...formatAsOf(job, date)], notes: [...content.notes, ...notes] };
    const mail = renderMail(told, job.report, job, enclosed.picture);
    const message = await rawMessage({ mail, enclosed, messageId, from, to, recipients, replyTo, date });
    return sendMail(server, message, signal);
  };
  const who = `SMTP server of email sink "${name}" (${server.address})`;
  const context = { who, messageId, secrets: server.secrets, begun };
  const { enclosed, notes } = await enclose(job, signal);
  const first = await send(enclosed, notes, begun);
  const retryNote = isTooLarge(first, job.attempt) ? TOO_LARGE : isTextRefused(first, job.attempt) ? REFUSED : null;
  let outcome = outcomeOfSmtp(first, context);
  if (retryNote !== null && enclosed !== NOTHING) {
    const settled = settledBy(first, context);
    outcome = outcomeOfSmtp(await send(NOTHING, [retryNote], settled), { ...context, begun: settled });
  }
  return assume && outcome.kind === "retry" && outcome.unknown ? assumed(outcome.receipt ?? job.begun) : outcome;
}

/** A mail cannot be edited, so it says how old its text is. */
const formatAsOf = ({ cause }: Job, date: Date): IdPart[] =>
  cause === "alert" || cause === "test"
    ? []
    : [{ text: `as of ${formatTime(date.toISOString())}; the run page has what came later`, run: null }];

/** Bytes before encoding, which adds a third: many servers accept no more than 10 MB. */
const MAX_ENCLOSED_BYTES = 7_000_000;

const REFUSED =
  "The mail server refused this message with its screenshot and files, so it was sent without them. The links work.";

const TOO_LARGE =
  "The mail server rejected this message as too large, so it was sent without attachments. The links still work.";

/** Reads the decisive screenshot and the downloads. What is too large, or cannot be read in time, stays a link. */
async function enclose(
  { evidence, deliveryId }: Job,
  signal: AbortSignal,
): Promise<{ enclosed: Enclosed; notes: string[] }> {
  if (!evidence || (evidence.screenshots.length === 0 && evidence.files.length === 0)) {
    return { enclosed: NOTHING, notes: [] };
  }
  const most = Math.min(evidence.limits.total, MAX_ENCLOSED_BYTES);
  const limits = { each: Math.min(evidence.limits.each, most), total: most };
  const { picture: screenshot, why } = await readScreenshot({ ...evidence, limits }, 1, signal);
  const picture = screenshot && {
    ...screenshot,
    cid: `${deliveryId.replace(/[^\w.-]/g, "_")}.screenshot@skyvern-relay`,
  };
  const { files, omitted } = await readFiles({ ...evidence, limits }, most - (picture?.bytes.byteLength ?? 0), signal);
  const notes = [
    ...(why === null ? [] : [why]),
    ...(omitted > 0 ? [`${omitted === 1 ? "1 file is" : `${omitted} files are`} not attached, only linked.`] : []),
  ];
  return { enclosed: { picture, files }, notes };
}
