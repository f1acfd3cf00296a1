/**
 * Email sinks send the report as one mail over SMTP.
 *
 * Every attempt of a delivery carries the same Message-ID. When the relay cannot know whether a mail arrived (the
 * connection broke after the text was handed over, or the process died while sending), it sends the mail again, and
 * mail stores and clients that know the id show it once. `on_unknown: assume_sent` prefers a lost mail to a second one.
 */
import { defineSink } from "../sink.ts";
import { EmailConfig } from "./config.ts";
import { emailDelivery } from "./deliver.ts";
import { diagnose } from "./diagnose.ts";

export default defineSink({
  kind: "email",
  config: EmailConfig,
  receipt: "Message-ID",
  shortcut: {
    variables: { SMTP_URL: { key: "smtp", isSecret: true }, EMAIL_FROM: { key: "from" }, EMAIL_TO: { key: "to" } },
    example: "SMTP_URL=smtp://… with EMAIL_FROM and EMAIL_TO",
    ways: [{ needs: ["SMTP_URL", "EMAIL_FROM", "EMAIL_TO"] }],
  },
  create: (name, config, deps) => ({ name, kind: "email", ...emailDelivery(name, config, deps) }),
  diagnose: (config, _deps, signal) => diagnose(config, signal),
});
