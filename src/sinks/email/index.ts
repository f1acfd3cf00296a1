/**
 * Email sinks send the report as one mail over SMTP.
 *
 * Every attempt of a delivery carries the same Message-ID, so that where the relay cannot know whether a mail arrived
 * (the connection broke after the text was handed over, or the process died in mid-send) sending it again shows once in
 * mail stores and clients that know the id. `on_unknown: assume_sent` prefers a lost mail over a second one.
 */
import type { Outcome } from "../../run.ts";
import { contentOf } from "../content.ts";
import { defineSink, type Job, type SinkDeps } from "../sink.ts";
import { EmailConfig, type EmailSettings } from "./config.ts";
import { messageIdOf, rawMessage } from "./message.ts";
import { mailOf } from "./render.ts";
import { outcomeOfSmtp, sendOnce, smtpServer, type SmtpServer } from "./smtp.ts";

export default defineSink({
  kind: "email",
  config: EmailConfig,
  create: (name, config, deps) => {
    const server = smtpServer(config.smtp.reveal());
    return { name, kind: "email", deliver: (job, signal) => deliver({ name, config, server, deps }, job, signal) };
  },
});

interface Target {
  name: string;
  config: EmailSettings;
  server: SmtpServer;
  deps: SinkDeps;
}

async function deliver({ name, config, server, deps }: Target, job: Job, signal: AbortSignal): Promise<Outcome> {
  const messageId = messageIdOf(job.deliveryId, config.from);
  const assumed: Outcome = { kind: "delivered", receipt: { message_id: messageId, assumed: true } };
  const assume = config.on_unknown === "assume_sent";
  if (assume && job.maybeSent) return assumed;

  const mail = mailOf(contentOf(job.report, job.cause), job.report, job);
  const { from, to, reply_to: replyTo } = config;
  const message = await rawMessage({ mail, messageId, from, to, replyTo, date: new Date(deps.now()) });
  const result = await sendOnce(server, message, signal);
  const outcome = outcomeOfSmtp(result, {
    who: `SMTP server of email sink "${name}" (${server.address})`,
    messageId,
    secrets: server.secrets,
  });
  return assume && outcome.kind === "retry" && outcome.unknown ? assumed : outcome;
}
