/**
 * Email sinks send the report as one mail over SMTP.
 *
 * Every attempt of a delivery carries the same Message-ID, so that where the relay cannot know whether a mail arrived
 * (the connection broke after the text was handed over, or the process died in mid-send) sending it again shows once in
 * mail stores and clients that know the id. `on_unknown: assume_sent` prefers a lost mail over a second one.
 */
import { defineSink, loadedSink } from "../sink.ts";
import { EmailConfig } from "./config.ts";

export default defineSink({
  kind: "email",
  config: EmailConfig,
  create: (name, config, deps) =>
    loadedSink({ name, kind: "email" }, async () => (await import("./deliver.ts")).emailDelivery(name, config, deps)),
  diagnose: async (config, _deps, signal) => (await import("./diagnose.ts")).diagnose(config, signal),
});
