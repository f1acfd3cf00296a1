/** The real relay in this process, on real SQLite, with stand-ins beside it on loopback. Closed when the test ends. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { App } from "../../src/app/app.ts";
import { createRelay, type Relay } from "../../src/app/relay.ts";
import { formatFaults, loadConfig, type Config } from "../../src/config/config.ts";
import { startHttpSink, type HttpSinkStandIn } from "./http-sink.ts";
import { startSkyvern, type StandInSkyvernOptions, type StandInSkyvern } from "./skyvern.ts";
import { startSlack, type SlackStandIn } from "./slack.ts";
import { startSmtp, type SmtpStandIn } from "./smtp.ts";
import type { Json } from "../../src/platform/json.ts";
import { systemRuntime, type Runtime } from "../../src/platform/runtime.ts";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { FIXTURE_KEY, signatureOf } from "./fixtures.ts";
import { aRuntime } from "./runtime.ts";

export const TOKEN = "a-token-of-the-tests";
export const PUBLIC_URL = "https://relay.example.com";
const SINK_SECRET = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;

export interface AppOptions {
  /** relay.yaml */
  file?: string;
  /** Started beside it and configured; Skyvern always is. */
  standIns?: readonly ("slack" | "smtp" | "http")[];
  skyvern?: Partial<StandInSkyvernOptions>;
  /** A clock that stands still unless told. */
  runtime?: Runtime;
}

export interface StandIns {
  skyvern: StandInSkyvern;
  /** Throws when it was not asked for. */
  readonly slack: SlackStandIn;
  readonly smtp: SmtpStandIn;
  readonly http: HttpSinkStandIn;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The text as JSON; throws when it is not. */
  json<T = Record<string, Json>>(): T;
}

export interface TestApp {
  app: App;
  config: Config;
  standIns: StandIns;
  /** Everything logged so far, one JSON line each. */
  log(): string;
  /** POSTs a body signed with the fixture key, unless `signature` says otherwise. */
  webhook(body: string | Uint8Array, options?: WebhookOptions): Promise<Answer>;
  /** GETs with the token. */
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  /** The same, as JSON; the answer must be 200. */
  read<T = Record<string, Json>>(path: string): Promise<T>;
  post(path: string, body?: unknown): Promise<Answer>;
  /** Attempts everything due. */
  deliver(): Promise<void>;
  /** Listens and delivers, as `serve` has it. */
  start(): ReturnType<Relay["start"]>;
  /** Stops it before the test ends. */
  stop(): Promise<void>;
}

/** Where relays run that a test asks for. */
export type OpenApp = (given: {
  config: Config;
  env: Record<string, string | undefined>;
  options: AppOptions;
}) => Promise<Pick<TestApp, "app" | "log" | "start" | "stop">>;

const inThisProcess: OpenApp = async ({ config, options }) => {
  const lines: string[] = [];
  const log = createLog("trace", { write: (line) => void lines.push(line) });
  const relay = await createRelay(config, options.runtime ?? aRuntime(), log);
  return { app: relay.app, log: () => lines.join(""), start: () => relay.start(), stop: () => relay.stop() };
};
let openApp = inThisProcess;

/** All relays of this file run elsewhere from now on. */
export const useHost = (open: OpenApp): void => {
  openApp = open;
};

/**
 * Starts nothing that listens: addresses are asked through `app.fetch`. `env` adds to and overrides a working default.
 */
export async function anApp(env: Record<string, string | undefined> = {}, options: AppOptions = {}): Promise<TestApp> {
  const standIns = await startStandIns(options);
  const all = { ...environmentOf(standIns), ...env };
  const { config } = configOf(all, options.file);
  const { app, log, start, stop } = await openApp({ config, env: all, options });
  onTestFinished(stop);
  const get = async (path: string, headers = {}) =>
    answerOf(await app.fetch(new Request(`http://relay.test${path}`, { headers: { ...bearer, ...headers } })));
  return {
    app,
    config,
    standIns: standIns.all,
    log,
    webhook: async (body, given) => answerOf(await app.fetch(aSignedRequest(body, given))),
    get,
    read: async <T>(path: string): Promise<T> => {
      const answer = await get(path);
      if (answer.status !== 200) throw new Error(`GET ${path} answered ${answer.status}: ${answer.text}`);
      return answer.json<T>();
    },
    post: async (path, body) =>
      answerOf(
        await app.fetch(
          new Request(`http://relay.test${path}`, {
            method: "POST",
            headers: { ...bearer, ...(body === undefined ? {} : { "content-type": "application/json" }) },
            body: body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body),
          }),
        ),
      ),
    deliver: () => app.deliverDue(),
    start,
    stop,
  };
}

/** The same, listening on a free port of 127.0.0.1 with the system's clock. */
export async function aListeningApp(
  env: Record<string, string | undefined> = {},
  options: AppOptions = {},
): Promise<TestApp & { port: number; url: string }> {
  const relay = await anApp({ HOST: "127.0.0.1", PORT: "0", ...env }, { runtime: systemRuntime(), ...options });
  const { port } = await relay.start();
  return { ...relay, port, url: `http://127.0.0.1:${port}` };
}

/** The cookie of a session of the web page. */
export async function logIn({ app }: TestApp): Promise<string> {
  const login = await app.fetch(
    new Request(`${PUBLIC_URL}/login`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", origin: PUBLIC_URL },
      body: new URLSearchParams({ token: TOKEN }).toString(),
    }),
  );
  return login.headers.get("set-cookie")?.split(";")[0] ?? "";
}

const bearer = { authorization: `Bearer ${TOKEN}` };

export interface WebhookOptions {
  path?: string;
  key?: string;
  /** Null: no such header. */
  signature?: string | null;
  headers?: Record<string, string>;
}

/** A webhook as Skyvern sends it. */
export function aSignedRequest(body: string | Uint8Array, options: WebhookOptions = {}): Request {
  const { path = "/webhook", key = FIXTURE_KEY, signature = signatureOf(body, key), headers = {} } = options;
  return new Request(`http://relay.test${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-skyvern-timestamp": "1787310156",
      ...(signature === null ? {} : { "x-skyvern-signature": signature }),
      ...headers,
    },
    body: Buffer.from(body),
  });
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: <T>() => JSON.parse(text) as T,
  };
}

/** A new folder, removed when the test ends. */
export function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Every byte of every file in a folder, as text in which each byte is a character. */
export const bytesIn = (folder: string): string =>
  readdirSync(folder)
    .map((name) => readFileSync(join(folder, name)).toString("latin1"))
    .join("\n");

async function startStandIns({ standIns = [], skyvern: given }: AppOptions) {
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY], backoffMs: 1, ...given });
  const slack = standIns.includes("slack") ? await startSlack() : null;
  const smtp = standIns.includes("smtp") ? await startSmtp() : null;
  const http = standIns.includes("http") ? await startHttpSink({ secret: SINK_SECRET }) : null;
  for (const standIn of [skyvern, slack, smtp, http]) if (standIn) onTestFinished(() => standIn.close());
  const all: StandIns = {
    skyvern,
    get slack() {
      return asked(slack, "slack");
    },
    get smtp() {
      return asked(smtp, "smtp");
    },
    get http() {
      return asked(http, "http");
    },
  };
  return { all, slack, smtp, http };
}

function asked<T>(standIn: T | null, name: string): T {
  if (standIn === null) throw new Error(`the test did not ask for the stand-in ${name}`);
  return standIn;
}

const environmentOf = ({ all, slack, smtp, http }: Awaited<ReturnType<typeof startStandIns>>) => ({
  SKYVERN_API_KEY: FIXTURE_KEY,
  SKYVERN_BASE_URL: all.skyvern.url,
  DATABASE_URL: "sqlite::memory:",
  PUBLIC_URL,
  RELAY_TOKEN: TOKEN,
  ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
  ...(slack && { SLACK_BOT_TOKEN: slack.token, SLACK_CHANNEL: "C0123ABCD", SLACK_API_URL: slack.url }),
  ...(smtp && { SMTP_URL: smtp.url, EMAIL_FROM: "relay@example.com", EMAIL_TO: "ops@example.com" }),
  ...(http && { SINK_URL: http.url, SINK_SECRET }),
});

function configOf(env: Record<string, string | undefined>, file: string | undefined): { config: Config } {
  const loaded = loadConfig({
    env,
    readFile: (path) => {
      if (path === "relay.yaml" && file !== undefined) return file;
      throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
    },
  });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  return loaded;
}
