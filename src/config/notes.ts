/** Notes on a valid configuration: what is unusual in it, and what it leaves off. */
import type { Route } from "../domain/routing.ts";
import { findUnmatched } from "../domain/unmatched-routes.ts";
import type { ApiKey } from "./keys.ts";
import type { AlertSettings } from "../alerts/rules.ts";
import { formatDuration } from "../platform/duration.ts";
import { toComparableText, type Secret } from "../platform/secret.ts";
import { findKind, KINDS } from "../sinks/kinds.ts";
import { foreseeRefusal } from "../net/networks.ts";
import { isInMemory, type DatabaseSettings } from "../store/address.ts";
import type { SinkSettings } from "./sinks.ts";

/** The parts of the configuration that the notes are about. */
interface NotedConfig {
  keys: readonly ApiKey[];
  database: DatabaseSettings;
  publicUrl: string;
  hasAddress: boolean;
  tokens: readonly Secret[];
  tokenFile: string | null;
  sinks: readonly SinkSettings[];
  routes: readonly Route[];
  alerts: AlertSettings;
  archive: { s3: unknown } | null;
  retention: { runsMs: number | null; rawMs: number | null };
  allowPrivateNetworks: readonly string[];
  trustedOrigins: readonly string[];
}

/** The configuration as its author wrote it. */
export interface Written {
  /** Whether relay.yaml sets `retention.raw` itself. */
  setsRaw: boolean;
  /** Where a key of a sink was set: `relay.yaml:4:30: sinks.mine.url`, or a variable. */
  locate(sink: SinkSettings, key: string): string;
}

/** A feature that is off because nobody has configured it. */
export interface Off {
  /** `messages: no sink is configured, …` */
  what: string;
  /** The line that turns it on: a variable with a value, or a key of relay.yaml. */
  turn_on: string;
}

/** One line for each sink kind that the environment can configure. */
const EXAMPLES = KINDS.flatMap(({ shortcut }) => shortcut?.example ?? []);

export function listOff(config: NotedConfig, ofSinks: readonly Off[]): Off[] {
  const off: [boolean, string, string][] = [
    [
      config.sinks.length === 0,
      "messages: no sink is configured: runs are stored and nothing is delivered",
      `${EXAMPLES.join(" or ")} (docs/sinks.md)`,
    ],
    [
      !config.hasAddress,
      `webhooks from Skyvern, because PUBLIC_URL is not set; links in messages lead to ${config.publicUrl}`,
      "PUBLIC_URL=https://relay.example.com, and https://relay.example.com/webhook as webhook_url of your runs",
    ],
    [
      config.tokens.length === 0 && config.tokenFile === null,
      "web page, history API and metrics: RELAY_TOKEN is not set",
      "RELAY_TOKEN=… (the output of: openssl rand -hex 32)",
    ],
  ];
  return [...off.flatMap(([isOff, what, turn_on]) => (isOff ? [{ what, turn_on }] : [])), ...ofSinks];
}

export function findWarnings(config: NotedConfig, written: Written): string[] {
  const { runsMs, rawMs } = config.retention;
  const warnings: [boolean, string][] = [
    [
      config.sinks.length > 0 &&
        config.alerts.onSinkDown.length > 0 &&
        config.sinks.every(({ name }) => config.alerts.onSinkDown.every((one) => one === name)),
      "alerts.on_sink_down names the only sink; a sink cannot be alerted about itself",
    ],
    [isInMemory(config.database), "DATABASE_URL is in memory: everything is lost when the process ends"],
    [
      config.database.kind === "postgres" && config.archive !== null && config.archive.s3 === null,
      "artifacts.archive is a folder: of several relays each would show its own copies only; set artifacts.s3",
    ],
    [
      written.setsRaw && runsMs !== null && rawMs !== null && rawMs > runsMs,
      `retention.raw (${formatDuration(rawMs ?? 0)}) is longer than retention.runs (${formatDuration(runsMs ?? 0)}): ` +
        "received bytes go with their run",
    ],
  ];
  const oddKeys = config.keys.filter(({ key }) => /[\s"']/.test(key.reveal()));
  return [
    ...warnings.flatMap(([applies, text]) => (applies ? [text] : [])),
    ...findTwins(config.sinks),
    ...config.sinks.flatMap((sink) => findRefusedAddresses(sink, config, written)),
    ...findUnmatched(
      config.routes,
      config.keys.map(({ organization }) => organization),
    ),
    ...oddKeys.map(({ name }) => `the key ${name} holds a space or a quote, which Skyvern's keys never do`),
  ];
}

/** Sinks that send to the same place, most often one of variables that `init` wrote and one of relay.yaml. */
const findTwins = (sinks: readonly SinkSettings[]): string[] =>
  [...Map.groupBy(sinks, ({ kind, config }) => toComparableText({ kind, config })).values()].flatMap((twins) =>
    twins.length === 1
      ? []
      : [
          `the sinks ${twins.map(({ name }) => name).join(" and ")} are the same: a run that goes to both arrives twice`,
        ],
  );

/** Addresses of a sink to which the guard will not let any delivery go. */
function findRefusedAddresses(
  sink: SinkSettings,
  { allowPrivateNetworks, trustedOrigins }: NotedConfig,
  { locate }: Written,
): string[] {
  const addresses = findKind(sink.kind).addresses?.(sink.config) ?? {};
  return Object.entries(addresses).flatMap(([key, url]) => {
    const refused = foreseeRefusal(url, allowPrivateNetworks, trustedOrigins);
    return refused === null ? [] : [`${locate(sink, key)}: ${refused}`];
  });
}
