/** The configuration: environment and relay.yaml in, one checked value or every fault at once out. */
import { dirname, isAbsolute, join } from "node:path";
import { resolveArchive, type ArchiveSettings } from "./artifacts.ts";
import {
  describeUnreadable,
  errorCode,
  QUOTED,
  readEnvironment,
  type EnvVars,
  type Environment,
  type Settings,
} from "./environment.ts";
import { toFindings, pathText, wording, type Fault } from "./faults.ts";
import { disagreements, FileSchema, type FileSettings } from "./file.ts";
import { parseOrganization, type ApiKey } from "./keys.ts";
import { readShortcuts, withApi } from "./shortcuts.ts";
import { listOff, findWarnings, type Written, type Off } from "./notes.ts";
import type { SinkSettings } from "./sinks.ts";
import { readYaml, type YamlFile } from "./yaml.ts";
import { findKind, KINDS } from "../sinks/kinds.ts";
import type { AlertSettings } from "../alerts/rules.ts";
import type { Route } from "../domain/routing.ts";
import { Secret, withoutName } from "../platform/secret.ts";
import { DAY_MS, MINUTE_MS } from "../platform/time.ts";
import { isInMemory, type DatabaseSettings } from "../store/address.ts";

export { formatFaults, type Fault } from "./faults.ts";
export type { Off } from "./notes.ts";
export { parseClaims, parseOrganization, type ApiKey } from "./keys.ts";
export { readDatabase, readEnvironment } from "./environment.ts";
export { relaySchema } from "./json-schema.ts";
export type { SinkSettings } from "./sinks.ts";

export interface Config {
  /** At least one key. */
  keys: ApiKey[];
  /** Skyvern's API, without trailing slash and without `/v1`. */
  baseUrl: string;
  database: DatabaseSettings;
  host: string;
  /** 0 means any free port. */
  port: number;
  metricsPort: number | null;
  /** The base of links in messages, without a trailing slash. */
  publicUrl: string;
  /** The operator named `publicUrl`, which others can reach. */
  hasAddress: boolean;
  /** Bearer tokens. Empty: the history API, metrics and the web page are closed. */
  tokens: Secret[];
  /**
   * The file for the token that a relay creates at its first start; null when RELAY_TOKEN is set, or the host has no
   * files.
   */
  tokenFile: string | null;
  sinks: SinkSettings[];
  routes: Route[];
  delivery: { scheduleMs: number[]; timeoutMs: number; artifactsWaitMs: number };
  /** What messages carry besides text, in bytes. */
  attachments: { screenshots: boolean; files: boolean; maxBytes: number; maxTotal: number };
  /** How long a link opens its artifact. */
  linkLifeMs: number;
  /** Null: nothing is archived. */
  archive: ArchiveSettings | null;
  /** For runs with everything that belongs to them, and for received bytes; null: for ever. `hold`: runs that stay. */
  retention: { runsMs: number | null; rawMs: number | null; hold: readonly string[] };
  /** Null: no heartbeat. */
  heartbeat: { url: Secret; everyMs: number } | null;
  /** The sinks that get the relay's alerts. */
  alerts: AlertSettings;
  /** The collector of traces, by OTLP; null: none. */
  tracing: { url: string; headers: Record<string, Secret>; service: string } | null;
  /** How Skyvern's list is searched for runs whose webhook never came; null: it is not. */
  reconcile: ReconcileSettings | null;
  /** Asks Skyvern about runs whose webhook no key signed. */
  confirm: boolean;
  /** Bytes. */
  bodyLimit: number;
  /** Names in the query of a webhook address that become labels of the run. */
  labels: string[];
  /** Keys to mask besides the built-in ones. */
  redactKeys: string[];
  /** CIDRs that the guarded fetch may reach besides the public internet. */
  allowPrivateNetworks: string[];
  /** Through which https addresses are reached; null: directly. */
  proxy: { url: Secret; except: string[] } | null;
  /** Origins that the operator named as infrastructure: Skyvern's API, the sinks' vendors, the archive's storage. */
  trustedOrigins: string[];
  logLevel: Settings["LOG_LEVEL"];
  /** Null: text where standard output is a terminal, else JSON. */
  logFormat: "json" | "text" | null;
  /** The file that was read, by the given name. */
  file: string | null;
}

export interface ReconcileSettings {
  everyMs: number;
  lookbackMs: number;
  /** `mine`: only runs whose `webhook_url` leads here. */
  scope: "mine" | "all";
  /** How far back the first start fills the history; null: not at all. */
  historyMs: number | null;
  /** The most requests to Skyvern's API in any hour; null: no limit. */
  requestsPerHour: number | null;
  /** True when webhooks can arrive, so a run that ended just now is left to its webhook for a moment. */
  hasWebhooks: boolean;
}

export interface ConfigSource {
  env: EnvVars;
  /** Reads a file. Throws like `readFileSync` when it cannot. Default: there are no files. */
  readFile?: (path: string) => string;
  /** The base of relative paths. Default: that of `readFile`. */
  cwd?: string;
  /** True when the host keeps files beside the database, such as the relay's own token. */
  keepsFiles?: boolean;
}

/** `warnings`, and what is `off`, go to the log at the start. No text holds a secret. */
export type Loaded = { ok: true; config: Config; warnings: string[]; off: Off[] } | { ok: false; faults: Fault[] };

/** Reads the whole configuration. */
export function loadConfig({ env, readFile = noFile, cwd, keepsFiles = false }: ConfigSource): Loaded {
  const read = (path: string) => readFile(cwd === undefined || isAbsolute(path) ? path : join(cwd, path));
  const environment = readEnvironment(env, read);
  const file = openFile(environment, read);
  const shortcuts = readShortcuts(environment, file.yaml?.variables ?? new Set());
  const content = readContent(file.yaml, environment, shortcuts.names);
  const token = keepsFiles ? readTokenFile(environment.settings, read) : { file: null, tokens: [], faults: [] };
  const faults = [
    ...environment.faults,
    ...token.faults,
    ...shortcuts.faults,
    ...file.faults,
    ...content.faults,
    ...absentKey(environment, content),
    ...twoAddresses(environment, content, file.yaml),
  ];
  const quoted = environment.quoted(variablesOf(file.yaml));
  for (const fault of faults) if (quoted.includes(fault.where)) fault.message += `; the value ${QUOTED}`;
  if (faults.length > 0 || environment.settings === null || content.settings === null) return { ok: false, faults };
  const sinks = [...shortcuts.sinks, ...listSinks(content.settings)];
  const combined = combine({ ...environment, settings: environment.settings }, content.settings, sinks, file.name);
  const config = token.file === null ? combined : { ...combined, tokens: token.tokens, tokenFile: token.file };
  return {
    ok: true,
    config,
    warnings: [...quoted.map((name) => `${name} ${QUOTED}`), ...findWarnings(config, written(environment, file.yaml))],
    off: listOff(config, shortcuts.off),
  };
}

function noFile(path: string): never {
  throw Object.assign(new Error(`there are no files here: ${path}`), { code: "ENOENT" });
}

/** The token that a relay on SQLite created for itself; none before its first start. */
function readTokenFile(settings: Settings | null, read: (path: string) => string) {
  const none = { file: null, tokens: [], faults: [] as Fault[] };
  if (settings === null || settings.RELAY_TOKEN.length > 0) return none;
  const { DATABASE_URL: database } = settings;
  if (database.kind !== "sqlite" || isInMemory(database)) return none;
  const file = `${database.path.replace(/\.db$/, "")}.token`;
  try {
    const text = withoutName(read(file).trim());
    if (/^[!-~]{16,}$/.test(text)) return { file, tokens: [new Secret(text)], faults: [] };
    return { ...none, faults: [{ where: file, message: "holds no token: delete it, and the next start makes one" }] };
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { ...none, file };
    return { ...none, faults: [{ where: file, message: `cannot be read (${code}): it holds the relay's own token` }] };
  }
}

/** A sink of the environment is named after its kind, and the file has no sink of that name. */
function written(environment: Environment, yaml: YamlFile | null): Written {
  const sets = (path: string[]): boolean =>
    path.reduce<unknown>((value, key) => (isMapping(value) ? value[key] : undefined), yaml?.value) !== undefined;
  return {
    setsRaw: sets(["retention", "raw"]),
    locate: ({ name, kind }, key) => {
      const path = ["sinks", name, key];
      if (yaml && sets(path)) return `${yaml.locate(path)}: ${pathText(path)}`;
      const { shortcut, api } = findKind(kind);
      if (api?.key === key) return api.variable;
      const variables = Object.entries(shortcut?.variables ?? {});
      return environment.locate(variables.find(([, variable]) => variable.key === key)?.[0] ?? name);
    },
  };
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
    const place = placeIn(error);
    if (place !== null) return { name, yaml: null, faults: [{ where: `${name}:${place}`, message: code }] };
    if (named === undefined && code === "ENOENT") return { name: null, yaml: null, faults: [] };
    const [where, message] =
      named === undefined ? [name, `cannot be read (${code})`] : ["RELAY_CONFIG", describeUnreadable(named, error)];
    return { name, yaml: null, faults: [{ where, message }] };
  }
}

/** `12:5` where what keeps a file from being read stands at a place in it. */
const placeIn = (error: unknown): string | null =>
  error instanceof Error && "place" in error && typeof error.place === "string" ? error.place : null;

/** Every variable that something reads: those of sinks and of vendors' APIs, and those in the file. */
const variablesOf = (yaml: YamlFile | null): string[] => [
  ...KINDS.flatMap(({ shortcut, api }) => [...Object.keys(shortcut?.variables ?? {}), ...(api ? [api.variable] : [])]),
  ...(yaml?.variables ?? []),
];

interface FileContent {
  /** Null when the file has a fault. Without a file it holds the defaults. */
  settings: FileSettings | null;
  /** The value as written, for more checks of a file with faults. */
  raw: Record<string, unknown>;
  faults: Fault[];
}

function readContent(
  yaml: YamlFile | null,
  environment: Environment,
  environmentSinks: readonly string[],
): FileContent {
  if (yaml === null) return { settings: FileSchema.parse({}), raw: {}, faults: [] };
  if (yaml.value === undefined) return { settings: null, raw: {}, faults: yaml.faults };
  const raw = withApis(yaml.value, environment);
  const result = FileSchema.safeParse(raw, { error: wording });
  const findings = [
    ...(result.success ? [] : toFindings(result.error.issues)),
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

function withApis(value: unknown, environment: Environment): unknown {
  if (!isMapping(value) || !isMapping(value["sinks"])) return value;
  const sinks = Object.entries(value["sinks"]).map(([name, sink]) => [name, withApi(sink, environment)] as const);
  return { ...value, sinks: Object.fromEntries(sinks) };
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Sorts by place in the file, line before column. */
function byPlace(a: Fault, b: Fault): number {
  const [lineA = 0, colA = 0] = parsePlace(a);
  const [lineB = 0, colB = 0] = parsePlace(b);
  return lineA - lineB || colA - colB;
}
const parsePlace = ({ where }: Fault): number[] => where.split(":").slice(-2).map(Number);

function absentKey(environment: Environment, { raw }: FileContent): Fault[] {
  const inFile = isMapping(raw["skyvern"]) && raw["skyvern"]["keys"] !== undefined;
  if (inFile || environment.get("SKYVERN_API_KEY") !== undefined) return [];
  if (environment.faults.some(({ where }) => where === "SKYVERN_API_KEY_FILE")) return [];
  const message = "is missing: Skyvern signs its webhooks with it (a key from https://app.skyvern.com/settings)";
  return [{ where: "SKYVERN_API_KEY", message }];
}

function twoAddresses(environment: Environment, { settings }: FileContent, yaml: YamlFile | null): Fault[] {
  const [inFile, inEnvironment] = [settings?.skyvern.base_url, environment.settings?.SKYVERN_BASE_URL];
  if (yaml === null || inFile === undefined || inEnvironment === undefined || inFile === inEnvironment) return [];
  const message = "skyvern.base_url: differs from SKYVERN_BASE_URL; set one of them";
  return [{ where: yaml.locate(["skyvern", "base_url"]), message }];
}

function combine(
  { settings: env, apis }: Pick<Environment, "apis"> & { settings: Settings },
  file: FileSettings,
  sinks: SinkSettings[],
  name: string | null,
): Config {
  const baseUrl = env.SKYVERN_BASE_URL ?? file.skyvern.base_url ?? "https://api.skyvern.com";
  const { DATABASE_URL: database } = env;
  const hasFolder = database.kind === "sqlite" && !isInMemory(database);
  const archive = resolveArchive(file.artifacts, hasFolder ? dirname(database.path) : "./data");
  return {
    keys: resolveKeys(env, file),
    baseUrl,
    database,
    host: env.HOST,
    port: env.PORT,
    metricsPort: env.METRICS_PORT ?? null,
    publicUrl:
      env.PUBLIC_URL ?? (env.FLY_APP_NAME ? `https://${env.FLY_APP_NAME}.fly.dev` : `http://localhost:${env.PORT}`),
    hasAddress: isReachable(env),
    tokens: env.RELAY_TOKEN,
    tokenFile: null,
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
      runsMs: file.retention.runs || null,
      rawMs: file.retention.raw || null,
      hold: file.retention.hold,
    },
    reconcile: resolveReconcile(env, file),
    heartbeat: file.heartbeat ? { url: file.heartbeat.url, everyMs: file.heartbeat.every } : null,
    alerts: {
      onDead: file.alerts.on_dead,
      onCoverageGap: file.alerts.on_coverage_gap,
      onDiskLow: file.alerts.on_disk_low,
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
    labels: file.receive.labels,
    redactKeys: file.redact.keys,
    allowPrivateNetworks: env.ALLOW_PRIVATE_NETWORKS,
    proxy: env.HTTPS_PROXY === undefined ? null : { url: env.HTTPS_PROXY, except: env.NO_PROXY },
    trustedOrigins: [
      baseUrl,
      ...KINDS.flatMap(({ kind, api }) => (api ? [apis.get(kind) ?? api.base] : [])),
      ...(archive?.s3 ? [archive.s3.endpoint] : []),
    ].map((url) => new URL(url).origin),
    logLevel: env.LOG_LEVEL,
    logFormat: env.LOG_FORMAT ?? null,
    file: name,
  };
}

/** Where no webhook can arrive, the relay asks for every run, often and within a budget. */
function resolveReconcile(env: Settings, { skyvern: { reconcile } }: FileSettings): ReconcileSettings | null {
  if (reconcile === false) return null;
  const hasWebhooks = isReachable(env);
  const { every, lookback, history = 7 * DAY_MS, requests_per_hour } = reconcile;
  const { scope = hasWebhooks ? "mine" : "all" } = reconcile;
  return {
    everyMs: every ?? (hasWebhooks ? 5 * MINUTE_MS : 10_000),
    lookbackMs: lookback,
    scope,
    historyMs: scope === "all" && history !== false ? history : null,
    requestsPerHour: requests_per_hour ?? (hasWebhooks ? null : 3_600),
    hasWebhooks,
  };
}

/** True when the operator named an address that others can reach. */
const isReachable = ({ PUBLIC_URL, FLY_APP_NAME }: Settings): boolean => Boolean(PUBLIC_URL ?? FLY_APP_NAME);

const listSinks = (file: FileSettings): SinkSettings[] =>
  Object.entries(file.sinks).map(([name, settings]) => ({ name, ...settings }));

/** The file's keys, then the environment's; a key in both counts once. */
function resolveKeys(env: Settings, file: FileSettings): ApiKey[] {
  const named = [
    ...(file.skyvern.keys ?? []),
    ...env.SKYVERN_API_KEY.map((key, index) => ({
      name: `SKYVERN_API_KEY[${index + 1}]`,
      key,
      organization: undefined,
    })),
  ];
  const texts = named.map(({ key }) => key.reveal());
  return named
    .filter((_, index) => texts.indexOf(texts[index] ?? "") === index)
    .map(({ name, key, organization = null }) => ({
      name,
      key,
      organization: parseOrganization(key.reveal()) ?? organization,
    }));
}
