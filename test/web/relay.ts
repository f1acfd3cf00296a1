/** A whole relay in memory with one HTTP sink on loopback, and a browser's manners. */
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { App } from "../../src/app/app.ts";
import { createRelay, type Relay as Running } from "../../src/app/relay.ts";
import { formatFaults, loadConfig } from "../../src/config/config.ts";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { silentLog } from "../../src/platform/log.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";

export const KEY = "test-skyvern-key";
export const TOKEN = "a-token-for-the-web-page";
export const HOST = "http://relay.test";

export interface Relay {
  app: App;
  /** Listens and delivers, as `serve` has it. */
  start(): ReturnType<Running["start"]>;
  skyvern: StandInSkyvern;
  /** Statuses the sink answers with, one a request; 200 when there is none left. */
  sinkAnswers: number[];
  /** Bodies the sink received. */
  sinkBodies: string[];
  clock: { ms: number };
  /** A signed webhook. Resolves with the relay's answer. */
  webhook(payload: unknown, path?: string): Promise<Response>;
  request(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export interface RelayOptions {
  env?: Record<string, string | undefined>;
  /** relay.yaml */
  file?: string;
}

export async function aRelay({ env = {}, file }: RelayOptions = {}): Promise<Relay> {
  const clock = { ms: Date.parse("2026-01-20T12:00:31.512Z") };
  const sinkAnswers: number[] = [];
  const sinkBodies: string[] = [];
  const sink = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      sinkBodies.push(Buffer.concat(chunks).toString());
      response.writeHead(sinkAnswers.shift() ?? 200).end();
    });
  });
  await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", resolve));
  const skyvern = await startSkyvern({ keys: [KEY] });
  const loaded = loadConfig({
    env: {
      SKYVERN_API_KEY: KEY,
      SKYVERN_BASE_URL: skyvern.url,
      DATABASE_URL: "sqlite::memory:",
      HOST: "127.0.0.1",
      PORT: "0",
      PUBLIC_URL: HOST,
      RELAY_TOKEN: TOKEN,
      SINK_URL: `http://127.0.0.1:${(sink.address() as AddressInfo).port}/hook`,
      ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
      ...(file === undefined ? {} : { RELAY_CONFIG: "relay.yaml" }),
      ...env,
    },
    readFile: (path) => {
      if (path === "relay.yaml" && file !== undefined) return file;
      throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
    },
  });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  const relay = await createRelay(loaded.config, { ...systemRuntime(), now: () => clock.ms++ }, silentLog);
  const request = async (path: string, init: RequestInit = {}) =>
    relay.app.fetch(new Request(`${HOST}${path}`, { redirect: "manual", ...init }));
  return {
    app: relay.app,
    start: () => relay.start(),
    skyvern,
    sinkAnswers,
    sinkBodies,
    clock,
    request,
    webhook: (payload, path = "/webhook") => {
      const body = typeof payload === "string" ? payload : JSON.stringify(payload);
      const signature = createHmac("sha256", KEY).update(body).digest("hex");
      return request(path, { method: "POST", body, headers: { "x-skyvern-signature": signature } });
    },
    close: async () => {
      await relay.stop();
      await skyvern.close();
      await new Promise((resolve) => {
        sink.close(resolve);
        sink.closeAllConnections();
      });
    },
  };
}

/** What a browser's form sends from a page of the relay. */
export const OWN_FORM = { "sec-fetch-site": "same-origin", origin: HOST };

export const form = (fields: Record<string, string>, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  body: new URLSearchParams(fields),
  headers: { ...OWN_FORM, ...headers },
});

/** Logs in. Resolves with the cookie to send along. */
export async function login(relay: Relay, token = TOKEN): Promise<string> {
  const answer = await relay.request("/login", form({ token }));
  const cookie = answer.headers.get("set-cookie")?.split(";")[0];
  if (cookie === undefined) throw new Error(`no cookie came with ${answer.status}`);
  return cookie;
}

export interface Reader {
  get(path: string): Promise<Response>;
  page(path: string): Promise<string>;
  post(path: string, fields?: Record<string, string>): Promise<Response>;
}

/** Somebody who is logged in. */
export async function aReader(relay: Relay): Promise<Reader> {
  const cookie = await login(relay);
  const get = (path: string) => relay.request(path, { headers: { cookie } });
  const page = async (path: string) => (await get(path)).text();
  return {
    get,
    page,
    post: async (path, fields = {}) => {
      const csrf = /name="csrf" value="([^"]+)"/.exec(await page("/"))?.[1] ?? "";
      return relay.request(path, form({ csrf, ...fields }, { cookie }));
    },
  };
}

/** A task as Skyvern sends it. Name only what matters. */
export const aTask = (given: Record<string, unknown> = {}): Record<string, unknown> => ({
  run_id: "tsk_v2_1",
  task_id: "tsk_v2_1",
  run_type: "task_v2",
  status: "completed",
  prompt: "Read the invoice",
  url: "https://portal.example/",
  summary: "Two invoices.",
  output: { total: 3 },
  created_at: "2026-01-20T11:58:00.000001",
  queued_at: "2026-01-20T11:58:01",
  started_at: "2026-01-20T11:58:10",
  finished_at: "2026-01-20T12:00:30",
  app_url: "https://app.skyvern.com/runs/wr_1",
  step_count: 4,
  ...given,
});
