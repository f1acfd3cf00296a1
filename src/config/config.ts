/** The configuration: environment and relay.yaml in, one checked value or every fault at once out. */
import { dirname, isAbsolute, join } from "node:path";
import { archiveOf, type ArchiveSettings } from "./artifacts.ts";
import { errorCode, readEnvironment, type Env, type Environment, type Settings } from "./environment.ts";
import { findingsOf, pathText, wording, type Fault } from "./faults.ts";
import { disagreements, FileSchema, type FileSettings } from "./file.ts";
import { organizationOf, type ApiKey } from "./keys.ts";
import { readShortcuts, withSlackApi } from "./shortcuts.ts";
import type { SinkSettings } from "./sinks.ts";
import { readYaml, type YamlFile } from "./yaml.ts";
import type { AlertSettings } from "../alerts/rules.ts";
import type { Route } from "../domain/routing.ts";
import type { Secret } from "../platform/secret.ts";
import { isInMemory, type DatabaseSettings } from "../store/address.ts";

export { formatFaults, type Fault } from "./faults.ts";
export { claimsOf, organizationOf, type ApiKey } from "./keys.ts";
export { readDatabase, readEnvironment } from "./environment.ts";
export { relaySchema } from "./json-schema.ts";
export type { SinkSettings } from "./sinks.ts";

export interface Config {
  /** At least one. */
  keys: ApiKey[];
  /** Skyvern's API, without trailing slash and without `/v1`. */
  baseUrl: string;
  database: DatabaseSettings;
  host: string;
  /** 0: any free one. */
  port: number;
  metricsPort: number | null;
  /** Base of the links in messages, without trailing slash. */
  publicUrl: string;
  /** Bearer tokens. Empty: the history API, metrics and the web page are closed. */
  tokens: Secret[];
  sinks: SinkSettings[];
  routes: Route[];
  delivery: { scheduleMs: number[]; timeoutMs: number; artifactsWaitMs: number };
  /** What messages carry besides words. Bytes. */
  attachments: { screenshots: boolean; files: boolean; maxBytes: number; maxTotal: number };
  /** How long a link opens its artifact. */
  linkLifeMs: number;
  /** Null: no copies are kept. */
  archive: ArchiveSettings | null;
  /** Null: for ever. */
  retention: { runsMs: number | null; rawMs: number | null; hold: string[] };
  /** Null: nobody waits for signs of life. */
  heartbeat: { url: Secret; everyMs: number } | null;
  /** Which sinks are told of the relay itself. */
  alerts: AlertSettings;
  /** Where traces go, by OTLP; null: nowhere. */
  tracing: { url: string; headers: Record<string, Secret>; service: string } | null;
  /** Null: Skyvern is not asked for runs whose webhook never came. */
  reconcile: { everyMs: number; lookbackMs: number; scope: "mine" | "all" } | null;
  /** Ask Skyvern about runs whose webhook no key signed. */
  confirm: boolean;
  /** Bytes. */
  bodyLimit: number;
  /** Keys to mask besides the built-in ones. */
  redactKeys: string[];
  /** CIDRs that the guarded fetch may reach besides the public internet. */
  allowPrivateNetworks: string[];
  /** Origins the operator named as infrastructure: Skyvern's and Slack's API, the archive's storage. */
  trustedOrigins: string[];
  logLevel: Settings["LOG_LEVEL"];
  /** The file that was read, as it was named. */
  file: string | null;
}

export interface ConfigSource {
  env: Env;
  /** A file's text. Throws like `readFileSync` when it cannot be read. */
  readFile: (path: string) => string;
  /** What relative paths start from. Default: as `readFile` sees it. */
  cwd?: string;
}

export type Loaded = { ok: true; config: Config; warnings: string[] } | { ok: false; faults: Fault[] };

/** Reads the whole configuration. No fault holds a secret's value; warnings are for the log at start. */
export function loadConfig({ env, readFile, cwd }: ConfigSource): Loaded {
  const read = (path: string) => readFile(cwd === undefined || isAbsolute(path) ? path : join(cwd, path));
  const environment = readEnvironment(env, read);
  const file = openFile(environment, read);
  const shortcuts = readShortcuts(environment, file.yaml?.variables ?? new Set());
  const content = readContent(file.yaml, environment, shortcuts.names);
  const faults = [
    ...environment.faults,
    ...shortcuts.faults,
    ...file.faults,
    ...content.faults,
    ...absentKey(environment, content),
    ...twoAddresses(environment, content, file.yaml),
  ];
  if (faults.length > 0 || environment.settings === null || content.settings === null) return { ok: false, faults };
  const sinks = [...shortcuts.sinks, ...sinksOf(content.settings)];
  const config = combine(environment.settings, content.settings, sinks, file.name);
  return { ok: true, config, warnings: warningsOf(config, environment) };
}

const DEFAULT_FILE = "relay.yaml";

function openFile(environment: Environment, read: (path: string) => string) {
  const named = environment.get("RELAY_CONFIG");
  const name = named ?? DEFAULT_FILE;
  try {
    return { name, yaml: readYaml(name, read(name), environment.get), faults: [] };
  } catch (error) {
    const code = errorCode(error);
    if (code === "unknown error") throw error;
    if (named === undefined && code === "ENOENT") return { name: null, yaml: null, faults: [] };
    const [where, message] =
      named === undefined
        ? [name, `cannot be read (${code})`]
        : ["RELAY_CONFIG", `names a file that cannot be read (${code})`];
    return { name, yaml: null, faults: [{ where, message }] };
  }
}

interface Content {
  /** Null when the file has a fault. Without a file, the defaults. */
  settings: FileSettings | null;
  /** The value as written, to look further into a file with faults. */
  raw: Record<string, unknown>;
  faults: Fault[];
}

function readContent(yaml: YamlFile | null, environment: Environment, environmentSinks: readonly string[]): Content {
  if (yaml === null) return { settings: FileSchema.parse({}), raw: {}, faults: [] };
  if (yaml.value === undefined) return { settings: null, raw: {}, faults: yaml.faults };
  const raw = withSlackApis(yaml.value, environment);
  const result = FileSchema.safeParse(raw, { error: wording });
  const findings = [
    ...(result.success ? [] : findingsOf(result.error.issues)),
    ...disagreements(raw, environmentSinks),
  ].map(({ path, message, aboutKey }) => ({
    where: yaml.locate(path, aboutKey),
    message: path.length === 0 ? `the file ${message}` : `${pathText(path)}: ${message}`,
  }));
  // A value whose variable is missing is one fault, not two.
  const filled = new Set(yaml.faults.map(({ where }) => where));
  const faults = [...yaml.faults, ...findings.filter(({ where }) => !filled.has(where))].sort(byPlace);
  return { settings: result.data ?? null, raw: isMapping(raw) ? raw : {}, faults };
}

function withSlackApis(value: unknown, environment: Environment): unknown {
  if (!isMapping(value) || !isMapping(value["sinks"])) return value;
  const sinks = Object.entries(value["sinks"]).map(([name, sink]) => [name, withSlackApi(sink, environment)] as const);
  return { ...value, sinks: Object.fromEntries(sinks) };
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** In the file's order, line before column. */
function byPlace(a: Fault, b: Fault): number {
  const [lineA = 0, colA = 0] = placeOf(a);
  const [lineB = 0, colB = 0] = placeOf(b);
  return lineA - lineB || colA - colB;
}
const placeOf = ({ where }: Fault): number[] => where.split(":").slice(-2).map(Number);

function absentKey(environment: Environment, { raw }: Content): Fault[] {
  const inFile = isMapping(raw["skyvern"]) && raw["skyvern"]["keys"] !== undefined;
  if (inFile || environment.get("SKYVERN_API_KEY") !== undefined) return [];
  if (environment.faults.some(({ where }) => where === "SKYVERN_API_KEY_FILE")) return [];
  const message = "is missing: Skyvern signs its webhooks with it (a key from https://app.skyvern.com/settings)";
  return [{ where: "SKYVERN_API_KEY", message }];
}

function twoAddresses(environment: Environment, { settings }: Content, yaml: YamlFile | null): Fault[] {
  const [inFile, inEnvironment] = [settings?.skyvern.base_url, environment.settings?.SKYVERN_BASE_URL];
  if (yaml === null || inFile === undefined || inEnvironment === undefined || inFile === inEnvironment) return [];
  const message = "skyvern.base_url: differs from SKYVERN_BASE_URL; set one of them";
  return [{ where: yaml.locate(["skyvern", "base_url"]), message }];
}

function combine(env: Settings, file: FileSettings, sinks: SinkSettings[], name: string | null): Config {
  const baseUrl = env.SKYVERN_BASE_URL ?? file.skyvern.base_url ?? "https://api.skyvern.com";
  const { DATABASE_URL: database } = env;
  const hasFolder = database.kind === "sqlite" && !isInMemory(database);
  const archive = archiveOf(file.artifacts, hasFolder ? dirname(database.path) : "./data");
  return {
    keys: keysOf(env, file),
    baseUrl,
    database,
    host: env.HOST,
    port: env.PORT,
    metricsPort: env.METRICS_PORT ?? null,
    publicUrl:
      env.PUBLIC_URL ?? (env.FLY_APP_NAME ? `https://${env.FLY_APP_NAME}.fly.dev` : `http://localhost:${env.PORT}`),
    tokens: env.RELAY_TOKEN,
    sinks,
    routes: file.routes,
    delivery: {
      scheduleMs: file.delivery.schedule,
      timeoutMs: file.delivery.timeout,
      artifactsWaitMs: file.delivery.artifacts_wait,
    },
    attachments: {
      screenshots: file.attachments.screenshots,
      files: file.attachments.files,
      maxBytes: file.attachments.max_bytes,
      maxTotal: file.attachments.max_total,
    },
    linkLifeMs: file.artifacts.expiry,
    archive,
    retention: {
      runsMs: file.retention.runs ?? null,
      rawMs: file.retention.raw ?? null,
      hold: file.retention.hold,
    },
    reconcile: file.skyvern.reconcile
      ? {
          everyMs: file.skyvern.reconcile.every,
          lookbackMs: file.skyvern.reconcile.lookback,
          scope: file.skyvern.reconcile.scope,
        }
      : null,
    heartbeat: file.heartbeat ? { url: file.heartbeat.url, everyMs: file.heartbeat.every } : null,
    alerts: {
      onDead: file.alerts.on_dead,
      onCoverageGap: file.alerts.on_coverage_gap,
      onSinkDown: file.alerts.on_sink_down,
      downAfterMs: file.alerts.down_after,
      everyMs: file.alerts.every,
    },
    tracing:
      env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
        ? null
        : {
            url: `${env.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces`,
            headers: env.OTEL_EXPORTER_OTLP_HEADERS ?? {},
            service: env.OTEL_SERVICE_NAME,
          },
    confirm: file.skyvern.confirm,
    bodyLimit: file.receive.body_limit,
    redactKeys: file.redact.keys,
    allowPrivateNetworks: env.ALLOW_PRIVATE_NETWORKS,
    trustedOrigins: [
      baseUrl,
      env.SLACK_API_URL ?? "https://slack.com/",
      ...(archive?.s3 ? [archive.s3.endpoint] : []),
    ].map((url) => new URL(url).origin),
    logLevel: env.LOG_LEVEL,
    file: name,
  };
}

const sinksOf = (file: FileSettings): SinkSettings[] =>
  Object.entries(file.sinks).map(([name, settings]) => ({ name, ...settings }));

/** The file's keys, then the environment's; a key that is in both counts once. */
function keysOf(env: Settings, file: FileSettings): ApiKey[] {
  const named = [
    ...(file.skyvern.keys ?? []),
    ...env.SKYVERN_API_KEY.map((key, index) => ({ name: `SKYVERN_API_KEY[${index + 1}]`, key })),
  ];
  const texts = named.map(({ key }) => key.reveal());
  return named
    .filter((_, index) => texts.indexOf(texts[index] ?? "") === index)
    .map(({ name, key }) => ({ name, key, organization: organizationOf(key.reveal()) }));
}

function warningsOf(config: Config, { get }: Environment): string[] {
  const isUnsigned = get("SINK_SECRET") === undefined && config.sinks.some(({ name }) => name === "http");
  const warnings: [boolean, string][] = [
    [config.sinks.length === 0, "no sink is configured: results are stored, and nobody is told"],
    [config.tokens.length === 0, "RELAY_TOKEN is not set: the history API, /metrics and the web page answer 403"],
    [
      config.tokens.some((token) => token.reveal().length < 16),
      "RELAY_TOKEN holds a token of fewer than 16 characters",
    ],
    [
      get("PUBLIC_URL") === undefined && get("FLY_APP_NAME") === undefined,
      `PUBLIC_URL is not set: links in messages begin with ${config.publicUrl}, and runs whose webhook was lost are not found`,
    ],
    [get("SINK_URL") !== undefined && isUnsigned, "SINK_SECRET is not set: what SINK_URL is sent is not signed"],
    [
      config.sinks.length > 0 &&
        config.alerts.onSinkDown.length > 0 &&
        config.sinks.every(({ name }) => config.alerts.onSinkDown.every((told) => told === name)),
      "alerts.on_sink_down names the only sink, which is not told of itself",
    ],
    [isInMemory(config.database), "DATABASE_URL is in memory: everything is lost when the process ends"],
    [
      config.database.kind === "postgres" && config.archive !== null && config.archive.s3 === null,
      "artifacts.archive is a folder: of several relays each would show its own copies only; set artifacts.s3",
    ],
  ];
  const oddKeys = config.keys.filter(({ key }) => /[\s"']/.test(key.reveal()));
  return [
    ...warnings.flatMap(([applies, text]) => (applies ? [text] : [])),
    ...oddKeys.map(({ name }) => `the key ${name} holds a space or a quote, which Skyvern's keys never do`),
  ];
}
