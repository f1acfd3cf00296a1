/** The environment: every variable the relay knows, and the files that hold its secrets. */
import { z } from "zod";
import { parseCidr } from "../net/networks.ts";
import { LOG_LEVELS } from "../platform/log.ts";
import { Secret, withoutName } from "../platform/secret.ts";
import { KINDS } from "../sinks/kinds.ts";
import type { DatabaseSettings } from "../store/address.ts";
import { toFindings, wording, type Fault } from "./faults.ts";
import { baseAddress, parsed, skyvernAddress } from "./values.ts";

/** Environment variables of the process. An empty one counts as unset. */
export type EnvVars = Readonly<Record<string, string | undefined>>;

/** Variables whose value may come from a file that the variable with the suffix `_FILE` names. */
export const SECRET_VARIABLES: readonly string[] = [
  "SKYVERN_API_KEY",
  "RELAY_TOKEN",
  ...KINDS.flatMap(({ shortcut }) =>
    Object.entries(shortcut?.variables ?? {}).flatMap(([name, { isSecret }]) => (isSecret ? [name] : [])),
  ),
  "DATABASE_URL",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "HTTPS_PROXY",
];

const items = (text: string): string[] =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
const list = parsed((text) => (items(text).length > 0 ? items(text) : null), "has an empty item between its commas");
const toSecrets = (texts: string[]): Secret[] => texts.map((text) => new Secret(text));
const port = parsed(
  (text) => (/^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : null),
  "must be a port: a whole number from 0 to 65535",
);
/**
 * The database that an address names; null when it names none. A postgres address holds a password, so all of it is
 * secret.
 */
export function readDatabase(text: string): DatabaseSettings | null {
  if (isPostgres(text)) return { kind: "postgres", url: new Secret(text) };
  const path = sqlitePath(text);
  return path === null ? null : { kind: "sqlite", path };
}

const database = parsed(
  readDatabase,
  "must be sqlite:PATH, such as sqlite:./data/relay.db, or postgres://user:password@host/database",
);

const isPostgres = (text: string): boolean =>
  /^postgres(ql)?:\/\//i.test(text) && URL.canParse(text) && new URL(text).pathname.length > 1;

/** `sqlite:///data/x` means `/data/x`, as elsewhere. `sqlite://data/x` is refused: it looks relative and is not. */
function sqlitePath(text: string): string | null {
  const [, path] = /^sqlite:(.+)$/.exec(text) ?? [];
  if (path === undefined || /^\/\/[^/]/.test(path) || path.endsWith("/") || path.includes("\0")) return null;
  return path.replace(/^\/+/, "/");
}

/** Parses OpenTelemetry's format: `name=value,name=value` with percent-encoded values. Null for anything else. */
function readHeaders(text: string): Record<string, Secret> | null {
  const pairs = items(text).map((pair) => /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(.*)$/.exec(pair.replace(/\s*=\s*/, "=")));
  try {
    const headers = pairs.map((pair) => [pair?.[1] ?? "", new Secret(decodeURIComponent(pair?.[2] ?? ""))] as const);
    const isFit = headers.every(([name, value]) => name !== "" && /^[\x20-\x7e]*$/.test(value.reveal()));
    return isFit ? Object.fromEntries(headers) : null;
  } catch {
    return null;
  }
}

const proxy = parsed((text) => {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === "" || url.pathname !== "/" || url.search !== "")
    return null;
  return new Secret(url.href);
}, "must be the address of a proxy, such as http://proxy.example.com:3128");

const network = "must be networks in CIDR notation, separated by commas, such as 10.0.0.0/8,fd00::/8";

/** Every variable with a meaning of its own. Variables of sinks and of vendors' APIs belong to each sink kind. */
export const EnvironmentSchema = z.object({
  SKYVERN_API_KEY: list.transform(toSecrets).default([]),
  SKYVERN_BASE_URL: skyvernAddress.optional(),
  DATABASE_URL: database.prefault("sqlite:./data/relay.db"),
  HOST: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]+$/, "must be an IP address or a host name, without port")
    .default("0.0.0.0"),
  PORT: port.default(8080),
  METRICS_PORT: port.optional(),
  PUBLIC_URL: baseAddress.optional(),
  FLY_APP_NAME: z.string().optional(),
  RELAY_TOKEN: list
    .refine((tokens) => tokens.every((token) => /^[!-~]+$/.test(token)), "must be printable ASCII without spaces")
    .transform((tokens) => tokens.map(withoutName))
    .refine(
      (tokens) => tokens.every((token) => token.length >= 16),
      "must have at least 16 characters, each token without its name",
    )
    .transform(toSecrets)
    .default([]),
  ALLOW_PRIVATE_NETWORKS: list.refine((texts) => texts.every((text) => parseCidr(text) !== null), network).default([]),
  HTTPS_PROXY: proxy.optional(),
  NO_PROXY: list.default([]),
  OTEL_EXPORTER_OTLP_ENDPOINT: baseAddress.optional(),
  OTEL_EXPORTER_OTLP_HEADERS: parsed(readHeaders, "must be NAME=VALUE, several separated by commas").optional(),
  OTEL_SERVICE_NAME: z.string().max(200).default("skyvern-relay"),
  LOG_LEVEL: z.enum(LOG_LEVELS).default("info"),
  LOG_FORMAT: z.enum(["json", "text"]).optional(),
});
export type Settings = z.output<typeof EnvironmentSchema>;

export interface Environment {
  /** The parsed variables; null when one of them is at fault. */
  settings: Settings | null;
  /** The base URLs of vendors' APIs that were set, ending in a slash, by sink kind. */
  apis: ReadonlyMap<string, string>;
  faults: Fault[];
  /** The text of any variable, for a secret also from its file. Undefined when it is unset or empty. */
  get: (name: string) => string | undefined;
  /** Set variables whose value stands in quotes, by the name that the user set. */
  quoted: (names: Iterable<string>) => string[];
  /** The name that the user set: `SMTP_URL` or `SMTP_URL_FILE`. */
  locate: (name: string) => string;
}

/** Many programs read these in lower case, some of them only so. */
const LOWER_CASE = new Set(["HTTPS_PROXY", "NO_PROXY"]);

/** Reads the environment. `readFile` returns a file's text and throws, like `readFileSync`, when it cannot. */
export function readEnvironment(env: EnvVars, readFile: (path: string) => string): Environment {
  const { fromFiles, faults } = readSecretFiles(env, readFile);
  const get = (name: string): string | undefined =>
    fromFiles.get(name) ?? (env[name] || (LOWER_CASE.has(name) ? env[name.toLowerCase()] : undefined) || undefined);
  const locate = (name: string): string => (fromFiles.has(name) ? `${name}_FILE` : name);
  const texts = Object.fromEntries(Object.keys(EnvironmentSchema.shape).map((name) => [name, get(name)]));
  const result = EnvironmentSchema.safeParse(texts, { error: wording });
  for (const { path, message } of result.success ? [] : toFindings(result.error.issues)) {
    faults.push({ where: locate(String(path[0])), message });
  }
  const apis = readApis(get, faults);
  const { PORT = null, METRICS_PORT = null } = result.data ?? {};
  if (PORT !== null && PORT !== 0 && PORT === METRICS_PORT) {
    faults.push({ where: "METRICS_PORT", message: "must be another port than PORT" });
  }
  const quoted = (names: Iterable<string>): string[] =>
    [...new Set([...Object.keys(texts), ...names])].filter((name) => isQuoted(get(name))).map(locate);
  return { settings: result.data ?? null, apis, faults, get, quoted, locate };
}

/** `docker --env-file` and systemd's `Environment=` hand quotes on that a shell would have taken off. */
const isQuoted = (text: string | undefined): boolean => /^(["']).*\1$/s.test(text ?? "");

export const QUOTED = "stands in quotes, which belong to the value: docker --env-file keeps them, take them out";

function readApis(get: Environment["get"], faults: Fault[]): Environment["apis"] {
  const apis = new Map<string, string>();
  for (const { kind, api } of KINDS) {
    const text = api && get(api.variable);
    if (text === undefined) continue;
    const result = baseAddress.safeParse(text, { error: wording });
    if (result.success) apis.set(kind, `${result.data}/`);
    else
      faults.push(...toFindings(result.error.issues).map(({ message }) => ({ where: api?.variable ?? kind, message })));
  }
  return apis;
}

function readSecretFiles(env: EnvVars, readFile: (path: string) => string) {
  const fromFiles = new Map<string, string>();
  const faults: Fault[] = [];
  for (const name of SECRET_VARIABLES) {
    const where = `${name}_FILE`;
    const path = env[where];
    if (!path) continue;
    if (env[name]) {
      faults.push({ where, message: `is set together with ${name}; set one of them` });
      continue;
    }
    try {
      const text = readFile(path).replace(/[\r\n]+$/, "");
      if (text === "") faults.push({ where, message: "names an empty file" });
      else fromFiles.set(name, text);
    } catch (error) {
      faults.push({ where, message: describeUnreadable(path, error) });
    }
  }
  return { fromFiles, faults };
}

/** Says why the file that a variable names cannot be read. */
export const describeUnreadable = (path: string, error: unknown): string =>
  `names a file that cannot be read (${errorCode(error)})${isQuoted(path) ? `; the value ${QUOTED}` : ""}`;

/** `ENOENT`, `EACCES`, … of a failed file operation. */
export const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown error";
