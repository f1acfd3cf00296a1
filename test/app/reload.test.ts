/** A configuration that is taken up while the relay runs: nothing is lost, doubled or refused meanwhile. */
import { request as sendHttp } from "node:http";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { createRelay, type Relay } from "../../src/app/relay.ts";
import { formatFaults, loadConfig, type Config } from "../../src/config/config.ts";
import { startHttpSink, type HttpSinkStandIn } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { silentLog } from "../../src/platform/log.ts";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { aFolder, aSignedRequest, TOKEN } from "../support/app.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { newDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";

interface World {
  relay: Relay;
  url: string;
  folder: string;
  a: HttpSinkStandIn;
  b: HttpSinkStandIn;
  /** relay.yaml as a configuration. */
  configOf(file: string, env?: Record<string, string>): Config;
  log(): string;
  /** POSTs a webhook; the status. */
  send(runId: string, status?: string): Promise<number>;
  read<T>(path: string): Promise<T>;
}

/** On an SQLite of its own unless told. */
async function aWorld(file: (world: { a: string; b: string }) => string, database?: string): Promise<World> {
  const folder = aFolder();
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
  const a = await startHttpSink();
  const b = await startHttpSink();
  for (const standIn of [skyvern, a, b]) onTestFinished(() => standIn.close());
  const configOf = (text: string, env: Record<string, string> = {}): Config => {
    const loaded = loadConfig({
      env: {
        SKYVERN_API_KEY: FIXTURE_KEY,
        SKYVERN_BASE_URL: skyvern.url,
        DATABASE_URL: database ?? `sqlite:${join(folder, "relay.db")}`,
        HOST: "127.0.0.1",
        PORT: "0",
        RELAY_TOKEN: TOKEN,
        ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
        ...env,
      },
      readFile: (path) => {
        if (path === "relay.yaml") return text;
        throw Object.assign(new Error("no"), { code: "ENOENT" });
      },
    });
    if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
    return loaded.config;
  };
  const lines: string[] = [];
  const log = createLog("trace", { write: (line) => void lines.push(line) });
  const relay = await createRelay(configOf(file({ a: a.url, b: b.url })), systemRuntime(), log);
  onTestFinished(() => relay.stop());
  const { port } = await relay.start();
  const url = `http://127.0.0.1:${port}`;
  return {
    relay,
    url,
    folder,
    a,
    b,
    configOf,
    log: () => lines.join(""),
    send: async (runId, status = "completed") => {
      const request = aSignedRequest(JSON.stringify({ run_id: runId, status, output: { runId } }));
      const body = await request.text();
      const response = await fetch(`${url}/webhook`, { method: "POST", headers: request.headers, body });
      await response.arrayBuffer();
      return response.status;
    },
    read: async <T>(path: string) => {
      const response = await fetch(url + path, { headers: { authorization: `Bearer ${TOKEN}` } });
      return (await response.json()) as T;
    },
  };
}

const told = (sink: HttpSinkStandIn): string[] =>
  sink.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);
const both = (a: string, b: string, more = ""): string =>
  `sinks:\n  a: { kind: http, url: "${a}" }\n  b: { kind: http, url: "${b}" }\n${more}`;

const databases: Record<string, () => Promise<string | undefined>> = {
  sqlite: async () => undefined,
  postgres: () => newDatabase({ empty: true }),
};

describe.each(Object.entries(databases))("on %s", (_name, database) => {
  it("changed routes hold from the next webhook on, and what was routed before goes where it was routed", async () => {
    const world = await aWorld(({ a, b }) => both(a, b, "routes: [{ to: a }]\n"), await database());
    const { relay, a, b, configOf } = world;
    expect(await world.send("tsk_1")).toBe(200);
    await until("a was told", () => a.requests.length === 1);
    const { changed } = await relay.reload(configOf(both(a.url, b.url, "routes: [{ to: b }]\n")));
    expect(changed).toEqual(["routes"]);
    expect(await world.send("tsk_2")).toBe(200);
    await until("b was told", () => b.requests.length === 1);
    expect([told(a), told(b)]).toEqual([["tsk_1"], ["tsk_2"]]);
  });

  it("after a change a new sink gets the next run, a changed one gets it at its new address, a removed one gets nothing", async () => {
    const world = await aWorld(
      ({ a }) => `sinks: { a: { kind: http, url: "${a}" } }\ndelivery: { schedule: [1h] }\n`,
      await database(),
    );
    const { relay, a, b, configOf } = world;
    a.answers.push({ status: 503 });
    await world.send("tsk_1");
    await until("a was asked", () => a.requests.length === 1);
    // The delivery that waits for a goes with it.
    await relay.reload(configOf(`sinks: { b: { kind: http, url: "${b.url}" } }\n`));
    await world.send("tsk_2");
    await until("b was told", () => b.requests.length === 1);
    expect(told(b)).toEqual(["tsk_2"]);
    const { data } = await world.read<{ data: { sink: string; state: string; last_error: string }[] }>(
      "/v1/deliveries",
    );
    expect(data.find(({ sink }) => sink === "a")).toMatchObject({
      state: "dead",
      last_error: expect.stringContaining("no longer configured") as string,
    });
    expect(await world.read("/v1/sinks")).toMatchObject({ data: [{ name: "b" }] });
    expect(a.requests).toHaveLength(1);
  });

  it("an attempt under way ends before the next configuration delivers, while webhooks are taken", async () => {
    const world = await aWorld(
      ({ a }) =>
        `sinks: { a: { kind: http, url: "${a}", concurrency: 1 } }\ndelivery: { timeout: 2s, schedule: [100ms, 100ms] }\n`,
      await database(),
    );
    const { relay, a, b, configOf } = world;
    a.answers.push({ hang: true });
    await world.send("tsk_1");
    await until("the attempt hangs", () => a.requests.length === 1);
    let inForce = false;
    const reloading = relay
      .reload(
        configOf(
          `sinks: { a: { kind: http, url: "${b.url}" } }\ndelivery: { timeout: 2s, schedule: [100ms, 100ms] }\n`,
        ),
      )
      .then(() => (inForce = true));
    for (let n = 2; n <= 6; n += 1) expect(await world.send(`tsk_${n}`)).toBe(200);
    expect({ inForce, toldMeanwhile: [...a.requests.slice(1), ...b.requests] }).toEqual({
      inForce: false,
      toldMeanwhile: [],
    });
    await reloading;
    await until("all are told, at the new address", () => new Set(told(b)).size === 6);
    expect(told(b).toSorted()).toEqual(["tsk_1", "tsk_2", "tsk_3", "tsk_4", "tsk_5", "tsk_6"]);
    // The one that hung is told under the id it had.
    const id = (sink: HttpSinkStandIn) =>
      sink.requests.find(({ body }) => body.includes('"tsk_1"'))?.headers["webhook-id"];
    expect(id(b)).toBe(id(a));
  });

  it("requests are answered by the new configuration at once, while an attempt of the one before is under way", async () => {
    const sinks = (a: string, b: string, more: string): string => both(a, b, `delivery: { timeout: 3s }\n${more}`);
    const world = await aWorld(({ a, b }) => sinks(a, b, "routes: [{ to: a }]\n"), await database());
    const { relay, a, b, configOf, url } = world;
    a.answers.push({ hang: true });
    await world.send("tsk_1");
    await until("the attempt hangs", () => a.requests.length === 1);
    const other = "another-token-of-the-tests";
    const next = configOf(sinks(a.url, b.url, "routes: [{ to: b }]\n"), { RELAY_TOKEN: other });
    let inForce = false;
    const reloading = relay.reload(next).then(() => (inForce = true));
    const read = async (): Promise<number> =>
      (await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${other}` } })).status;
    await until("the new token opens the history", async () => (await read()) === 200);
    const from = performance.now();
    expect(await world.send("tsk_2")).toBe(200);
    expect(performance.now() - from).toBeLessThan(1_000);
    expect({ inForce, toldMeanwhile: told(b) }).toEqual({ inForce: false, toldMeanwhile: [] });
    await reloading;
    await until("b was told", () => told(b).includes("tsk_2"));
    expect(told(a)).not.toContain("tsk_2");
  });

  it("a webhook whose body came in half before the change is answered, and delivered at once after it", async () => {
    const world = await aWorld(({ a, b }) => both(a, b, "routes: [{ to: a }]\n"), await database());
    const { relay, a, b, configOf, url } = world;
    const body = Buffer.from(JSON.stringify({ run_id: "tsk_1", status: "completed", output: null }));
    const headers = Object.fromEntries(aSignedRequest(body).headers);
    const request = sendHttp(`${url}/webhook`, {
      method: "POST",
      headers: { ...headers, "content-length": body.length },
    });
    const status = new Promise<number | undefined>((resolve, reject) => {
      request.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject);
    });
    await new Promise((resolve) => request.write(body.subarray(0, 20), resolve));
    await until("the relay reads it", async () => (await world.send("tsk_0")) === 200);
    await relay.reload(configOf(both(a.url, b.url, "routes: [{ to: b }]\n")));
    request.end(body.subarray(20));
    expect(await status).toBe(200);
    // By the routes that held when it came.
    await until("a was told", () => told(a).includes("tsk_1"));
    expect(told(b)).toEqual([]);
  });

  it("the relay answers every webhook 200 and delivers every run once through eight changes under load", async () => {
    const world = await aWorld(({ a, b }) => both(a, b), await database());
    const { relay, a, b, configOf } = world;
    let sent = 0;
    const over = new AbortController();
    const sender = async (): Promise<void> => {
      while (!over.signal.aborted) expect(await world.send(`tsk_${sent++}`)).toBe(200);
    };
    const load = Promise.all([sender(), sender(), sender()]);
    for (let n = 1; n <= 8; n += 1) {
      const before = sent;
      await until("some more webhooks came", () => sent >= before + 5);
      await relay.reload(configOf(both(a.url, b.url, `redact: { keys: [key${n}] }\n`)));
    }
    over.abort();
    await load;
    const ids = Array.from({ length: sent }, (_, n) => `tsk_${n}`).toSorted();
    expect(sent).toBeGreaterThanOrEqual(40);
    await until("all are told", () => new Set(told(a)).size === sent && new Set(told(b)).size === sent);
    expect(told(a).toSorted()).toEqual(ids);
    expect(told(b).toSorted()).toEqual(ids);
    // One set of metrics goes on through all of them.
    const metrics = await (
      await fetch(`${world.url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })
    ).text();
    expect(metrics).toContain(`skyvern_relay_webhooks_total{result="accepted"} ${sent}\n`);
    expect(metrics).toContain("# TYPE skyvern_relay_backlog gauge");
  });
});

it("a change is refused while the database takes no write, the relay goes on as before, and a second try succeeds", async () => {
  const world = await aWorld(({ a, b }) => both(a, b));
  const { relay, a, b, configOf, folder } = world;
  // Without a wait of its own: the relay's transactions need this thread to end.
  const other = new Sqlite(join(folder, "relay.db"), { timeout: 0 });
  await until("another program has the lock", () => {
    try {
      other.exec("BEGIN IMMEDIATE");
      return true;
    } catch {
      return false;
    }
  });
  const next = configOf(both(a.url, b.url, "routes: [{ to: b }]\n"));
  await expect(relay.reload(next)).rejects.toThrow("database is locked");
  other.exec("ROLLBACK");
  other.close();
  expect(relay.app.config.routes).toEqual([]);
  expect(await world.send("tsk_1")).toBe(200);
  await until("both were told", () => a.requests.length === 1 && b.requests.length === 1);
  // The metrics are those of the app in force, not of the one that was refused.
  const metrics = await (await fetch(`${world.url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })).text();
  expect(metrics).toContain("skyvern_relay_ready 1\n");
  await relay.reload(next);
  await world.send("tsk_2");
  await until("b was told", () => b.requests.length === 2);
  expect(told(a)).toEqual(["tsk_1"]);
});

it("a change of database or port is reported to need a restart, and changes nothing else", async () => {
  const world = await aWorld(({ a, b }) => both(a, b));
  const { relay, a, b, configOf } = world;
  const other = configOf(both(a.url, b.url), { PORT: "1", DATABASE_URL: "sqlite:./other.db" });
  expect(await relay.reload(other)).toEqual({ changed: [], fixed: ["database", "port", "publicUrl"] });
  expect(world.log()).not.toContain("config.applied");
  expect(await world.send("tsk_1")).toBe(200);
});

it("a new token opens the history from the change on, and the old one no more", async () => {
  const world = await aWorld(({ a, b }) => both(a, b));
  const { relay, a, b, configOf, url } = world;
  const other = "another-token-of-the-tests";
  await relay.reload(configOf(both(a.url, b.url), { RELAY_TOKEN: other }));
  const status = async (token: string) =>
    (await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect([await status(TOKEN), await status(other)]).toEqual([401, 200]);
});

it("a key and a token that are taken away stop at once, while a sink hangs and an earlier change waits for it", async () => {
  const sinks = (a: string, more: string): string =>
    `sinks: { a: { kind: http, url: "${a}" } }\ndelivery: { timeout: 5s }\n${more}`;
  const world = await aWorld(({ a }) => sinks(a, ""));
  const { relay, a, configOf, url } = world;
  a.answers.push({ hang: true });
  await world.send("tsk_1");
  await until("the attempt hangs", () => a.requests.length === 1);
  const stream = await fetch(`${url}/v1/events`, { headers: { authorization: `Bearer ${TOKEN}` } });
  const body = Buffer.from(JSON.stringify({ run_id: "tsk_2", status: "completed", output: null }));
  const signed = Object.fromEntries(aSignedRequest(body).headers);
  const begun = sendHttp(`${url}/webhook`, { method: "POST", headers: { ...signed, "content-length": body.length } });
  const begunStatus = new Promise<number | undefined>((resolve, reject) => {
    begun.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject);
  });
  await new Promise((resolve) => begun.write(body.subarray(0, 20), resolve));
  const from = performance.now();
  const first = relay.reload(configOf(sinks(a.url, "redact: { keys: [a] }\n")));
  const other = { RELAY_TOKEN: "another-token-of-the-tests", SKYVERN_API_KEY: "another-key" };
  const second = relay.reload(configOf(sinks(a.url, "redact: { keys: [b] }\n"), other));
  const status = async () => (await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${TOKEN}` } })).status;
  await until("the old token is refused", async () => (await status()) === 401);
  expect(await world.send("tsk_3")).toBe(401);
  begun.end(body.subarray(20));
  expect(await begunStatus).toBe(401);
  await stream.text();
  expect(performance.now() - from).toBeLessThan(3_000);
  expect((await first).changed).toEqual(["redactKeys"]);
  expect((await second).changed).toContain("tokens");
  // Of the two that followed, the last one alone delivers.
  expect(world.log().split('"event":"config.applied"')).toHaveLength(2);
});

it("a relay that is asked to stop in the middle of a change stops in time, and loses no delivery", async () => {
  const world = await aWorld(
    ({ a }) => `sinks: { a: { kind: http, url: "${a}" } }\ndelivery: { timeout: 1s, schedule: [1h] }\n`,
  );
  const { relay, a, configOf } = world;
  a.answers.push({ hang: true });
  await world.send("tsk_1");
  await until("the attempt hangs", () => a.requests.length === 1);
  const reloading = relay.reload(
    configOf(`sinks: { a: { kind: http, url: "${a.url}" } }\ndelivery: { timeout: 1s, schedule: [50ms] }\n`),
  );
  await relay.stop();
  await reloading;
  expect(world.log()).toContain('"event":"relay.stopped"');

  const again = await createRelay(
    configOf(`sinks: { a: { kind: http, url: "${a.url}" } }\n`),
    systemRuntime(),
    silentLog,
  );
  onTestFinished(() => again.stop());
  await again.start();
  expect(a.requests).toHaveLength(1);
});
