/** How the program starts, refuses to start, and ends. */
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { startHttpSink } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { aFolder } from "../support/app.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { runProgram, serve } from "../support/process.ts";
import { rawConnection } from "../support/raw-http.ts";
import { until } from "../support/until.ts";

const BODY = '{"run_id":"tsk_1","status":"completed"}';

describe("SIGTERM", () => {
  it("SIGTERM during a delivery that hangs answers 503 to what comes, ends with 0 in time, and does not lose the delivery", async () => {
    const sink = await startHttpSink();
    const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
    onTestFinished(() => sink.close());
    onTestFinished(() => skyvern.close());
    sink.answers.push({ hang: true });
    const env = {
      DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`,
      SINK_URL: sink.url,
      SKYVERN_BASE_URL: skyvern.url,
    };
    const first = await serve(env, "delivery: { timeout: 2s, schedule: [100ms, 100ms] }");
    await first.webhook(BODY);
    await until("the sink was asked", () => sink.requests.length === 1);

    const askedAt = Date.now();
    first.signal("SIGTERM");
    const refused = await until("it refuses", async () => {
      const answer = await first.webhook(`${BODY} `);
      return answer.status === 503 ? answer : null;
    });
    expect(Number(refused.headers.get("retry-after"))).toBeLessThanOrEqual(30);
    expect((await fetch(`${first.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${first.url}/healthz`)).status).toBe(200);

    expect(await first.ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    expect(Date.now() - askedAt).toBeLessThan(8_000);
    await serve(env);
    await until("the run is delivered", () => sink.requests.length === 2);
    const ids = sink.requests.map(({ headers }) => headers["webhook-id"]);
    expect(ids[0]).toBe(ids[1]);
  });

  it("a second SIGTERM during a delivery that hangs ends it at once, and says so", async () => {
    const sink = await startHttpSink();
    onTestFinished(() => sink.close());
    sink.answers.push({ hang: true });
    const relay = await serve({ DATABASE_URL: "sqlite::memory:", SINK_URL: sink.url });
    await relay.webhook(BODY);
    await until("the sink was asked", () => sink.requests.length === 1);
    relay.signal("SIGTERM");
    // Two signals at once are one request, as of npm's Ctrl-C.
    relay.signal("SIGTERM");
    await until("it refuses", async () => (await relay.webhook(`${BODY} `)).status === 503);
    await sleep(600);
    expect((await fetch(`${relay.url}/healthz`)).status).toBe(200);

    const askedAt = Date.now();
    relay.signal("SIGTERM");

    const { code, signal, stderr } = await relay.ended;
    expect({ code, signal }).toEqual({ code: null, signal: "SIGTERM" });
    expect(Date.now() - askedAt).toBeLessThan(2_000);
    expect(stderr).toContain("a second SIGTERM came: it ends at once");
  });

  it.each(["SIGTERM", "SIGINT"] as const)(
    "%s to a relay with nothing to do ends it at once with 0, idle connections or not",
    async (signal) => {
      const relay = await serve({ DATABASE_URL: "sqlite::memory:" });
      await fetch(`${relay.url}/healthz`);
      const idle = await rawConnection(relay.port);
      const askedAt = Date.now();

      relay.signal(signal);

      const { code, stdout } = await relay.ended;
      expect(code).toBe(0);
      expect(Date.now() - askedAt).toBeLessThan(5_000);
      expect(stdout).toContain("relay.stopped");
      await idle.closed;
    },
  );
});

describe("a wrong configuration", () => {
  it("the program without SKYVERN_API_KEY ends with 2 and names it, and starts nothing", async () => {
    const database = join(aFolder(), "sub", "relay.db");

    const { code, stdout, stderr } = await runProgram(["serve"], { DATABASE_URL: `sqlite:${database}` }).ended;

    expect(code).toBe(2);
    expect(stderr).toContain("SKYVERN_API_KEY");
    expect(stderr).toMatch(/This folder \(.+\) has no \.env and no relay\.yaml: run it where the relay starts\./);
    expect(stdout).toBe("");
    expect(existsSync(join(database, ".."))).toBe(false);
  });

  it("the program lists every fault of a wrong configuration with its place, and no value of a secret", async () => {
    const { code, stderr } = await runProgram(
      ["serve"],
      {
        PORT: "eighty",
        SMTP_URL: "smtp://ada:hunter2@mail.example",
        DATABASE_URL: "mysql://x",
        RELAY_TOKEN: "a b-hunter2",
      },
      'routes:\n  - { to: [nobody] }\nunknown: 1\ndelivery: { timeout: "soon" }\n',
    ).ended;

    expect(code).toBe(2);
    for (const place of [
      "SKYVERN_API_KEY",
      "PORT",
      "EMAIL_FROM",
      "EMAIL_TO",
      "DATABASE_URL",
      "RELAY_TOKEN",
      "relay.yaml:2:",
      "relay.yaml:3:",
      "relay.yaml:4:",
    ]) {
      expect(stderr).toContain(place);
    }
    expect(stderr).not.toContain("hunter2");
  });
});

describe("a port that is taken", () => {
  it.each(["PORT", "METRICS_PORT"])(
    "a port that is taken as %s ends the program with 1 and one line that names the port",
    async (variable) => {
      const other = createServer();
      await new Promise<void>((resolve) => void other.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void other.close());
      const { port } = other.address() as AddressInfo;
      const env = {
        SKYVERN_API_KEY: FIXTURE_KEY,
        HOST: "127.0.0.1",
        PORT: "0",
        DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`,
      };

      const { code, stderr } = await runProgram(["serve"], { ...env, [variable]: String(port) }).ended;

      expect(code).toBe(1);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(stderr).toContain(String(port));
      expect(stderr).toContain(`set ${variable} to another one`);
      // The database was given back.
      expect((await serve(env)).port).toBeGreaterThan(0);
    },
  );
});

it("a relay with a key alone listens", async () => {
  const relay = runProgram(["serve"], { SKYVERN_API_KEY: FIXTURE_KEY, PORT: "0" });
  const port = await until("it listens", () => /"port":(\d+)/.exec(relay.stdout())?.[1]);
  const response = await fetch(`http://127.0.0.1:${port}/readyz`);
  expect((await response.json()) as JsonObject).toEqual({ status: "ok" });
  const lines = relay.stdout().trim().split("\n");
  expect(lines.map((line) => JSON.parse(line) as JsonObject).every(({ level }) => typeof level === "string")).toBe(
    true,
  );
});
