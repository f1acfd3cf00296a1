/** `skyvern-relay doctor`: a relay that is well, and one thing wrong with it at a time. */
import { chmodSync, closeSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import Sqlite from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { doctorCommand, type DoctorOptions } from "../../src/cli/doctor/doctor.ts";
import { systemHost, type DoctorHost } from "../../src/cli/doctor/host.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { type SlackChannel } from "../../src/stand-ins/slack.ts";
import { startSlack } from "../support/slack.ts";
import { startSmtp, type SmtpStandInOptions } from "../support/smtp.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { aFolder, anApp } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes } from "../support/fixtures.ts";
import { aFreePort } from "../support/free-port.ts";

const SINK_SECRET = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;
const PASSWORD = "hunter2-hunter2";
const TOKEN = "a-token-of-the-tests-that-is-long";

interface Finding {
  check: string;
  state: "ok" | "warning" | "fault";
  found: string;
  fix: string | null;
}

/** What stands around the relay, and what is set; a case changes what it wants to be wrong. */
interface World {
  folder: string;
  env: Record<string, string | undefined>;
  file: string | null;
  host: DoctorHost;
  skyvernOptions: { keys: string[] };
  slack: { scopes?: string[]; channels?: SlackChannel[] };
  smtp: SmtpStandInOptions;
  /** The stand-in's address as it is configured. */
  smtpUrl: (url: string) => string;
}

const GB = 1_000_000_000;
const aWorld = (): World => {
  const folder = aFolder();
  return {
    folder,
    env: {},
    file: null,
    host: {
      ...systemHost,
      nodeVersion: "v24.9.0",
      timeZone: () => "UTC",
      space: () => Promise.resolve({ free: 40 * GB, total: 50 * GB }),
      device: (path) => Promise.resolve(path === "/" ? 1 : 2),
      isContainer: () => false,
    },
    skyvernOptions: { keys: [FIXTURE_KEY] },
    slack: {},
    smtp: { auth: { user: "relay", pass: PASSWORD } },
    smtpUrl: (url) => url,
  };
};

async function doctor(world: World, options: DoctorOptions = { json: true }) {
  const skyvern = await startSkyvern(world.skyvernOptions);
  const slack = await startSlack(world.slack);
  const smtp = await startSmtp(world.smtp);
  const http = await startHttpSink({ secret: SINK_SECRET });
  for (const standIn of [skyvern, slack, smtp, http]) onTestFinished(() => standIn.close());
  const port = await aFreePort();
  const env: Record<string, string | undefined> = {
    RELAY_CONFIG: "",
    SKYVERN_API_KEY: FIXTURE_KEY,
    SKYVERN_BASE_URL: skyvern.url,
    DATABASE_URL: `sqlite:${join(world.folder, "data", "relay.db")}`,
    HOST: "127.0.0.1",
    PORT: String(port),
    PUBLIC_URL: `http://127.0.0.1:${port}`,
    RELAY_TOKEN: TOKEN,
    SLACK_BOT_TOKEN: slack.token,
    SLACK_CHANNEL: "C0123ABCD",
    SLACK_API_URL: slack.url,
    SMTP_URL: world.smtpUrl(smtp.url),
    EMAIL_FROM: "relay@example.com",
    EMAIL_TO: "ops@example.com",
    SINK_URL: http.url,
    SINK_SECRET,
    ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    ...world.env,
  };
  if (world.file !== null) {
    env["RELAY_CONFIG"] = join(world.folder, "relay.yaml");
    writeFileSync(env["RELAY_CONFIG"], world.file);
  }
  let stdout = "";
  let stderr = "";
  const shell = {
    env,
    stdout: (text: string) => void (stdout += text),
    stderr: (text: string) => void (stderr += text),
    stopped: new AbortController().signal,
  };
  const code = await doctorCommand(options, { shell, runtime: systemRuntime(), host: world.host });
  for (const secret of [FIXTURE_KEY, PASSWORD, slack.token, SINK_SECRET, TOKEN]) {
    expect(stdout + stderr).not.toContain(secret);
  }
  const sent = slack.messages().length + smtp.messages.length + http.requests.length;
  const read = () => JSON.parse(stdout) as { ok: boolean; faults: number; warnings: number; checks: Finding[] };
  return { code, stdout, stderr, read, sent, slack, smtp, http, port };
}

/** A server on loopback that answers so; closed when the test ends. */
async function anAnswer(listener: RequestListener): Promise<string> {
  const server = createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A database that a relay has made and left. */
async function aDatabase({ folder }: World): Promise<string> {
  const path = join(folder, "data", "relay.db");
  const relay = await anApp({ DATABASE_URL: `sqlite:${path}` });
  await relay.webhook(fixtureBytes("task_v2.completed"));
  await relay.stop();
  return path;
}

const jwt = (claims: object): string =>
  `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2lnbmF0dXJl`;

describe("a relay that is well", () => {
  it("doctor finds no fault in a relay that is well and sends nothing; it only warns that loopback is not public", async () => {
    const { code, read, sent, slack } = await doctor(aWorld());
    const { checks, ok, faults } = read();
    expect(checks.filter(({ state }) => state === "fault")).toEqual([]);
    expect({ code, ok, faults, sent }).toEqual({ code: 0, ok: true, faults: 0, sent: 0 });
    expect(checks.filter(({ state }) => state === "warning").map(({ check }) => check)).toEqual(["PUBLIC_URL"]);
    expect(slack.calls.map(({ method }) => method)).toEqual(["auth.test", "conversations.info"]);
    expect([...new Set(checks.map(({ check }) => check))]).toEqual([
      "node",
      "time zone",
      "configuration",
      "token",
      "database",
      "key SKYVERN_API_KEY[1]",
      "clock",
      "PUBLIC_URL",
      "PUBLIC_URL reached",
      "disk",
      "volume",
      "sink slack",
      "sink email",
      "sink http",
      "sample",
      "sample to slack",
      "sample to email",
      "sample to http",
    ]);
  });

  it("doctor shows a person a healthy relay as a table", async () => {
    const { code, stdout, stderr } = await doctor(aWorld(), {});
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ok {7}node {2,}Node v24\.9\.0$/m);
    expect(stdout).toMatch(/^ok {7}key SKYVERN_API_KEY\[1\] {2,}http\S+ accepts it: o_512846093377601280$/m);
    expect(stdout).toMatch(/^ok {7}sink slack {2,}skyvern-relay is in the channel #ops$/m);
    expect(stdout).toMatch(/^warning {2}PUBLIC_URL .*\n {10,}→ set ALLOWED_HOSTS=\["127\.0\.0\.1"\]/m);
    expect(stdout).toContain("\n\n0 faults, 1 warning.\n");
  });

  it("the sample of doctor takes routes that test where a run comes from", async () => {
    const world = aWorld();
    world.file = 'routes: [{ when: { parent: "!*" }, to: [http] }]';
    const { read } = await doctor(world);
    const { found } = read().checks.find(({ check }) => check === "sample") ?? {};
    expect(found).toMatch(/routed to http$/);
  });

  it("doctor --live sends one marked message through each sink, and uses nothing of the relay's database", async () => {
    const world = aWorld();
    const { code, read, slack, smtp, http } = await doctor(world, { json: true, live: true });
    expect(code).toBe(0);
    const live = read().checks.filter(({ check }) => check.startsWith("live "));
    expect(live.map(({ check, state }) => `${check} ${state}`)).toEqual([
      "live slack ok",
      "live email ok",
      "live http ok",
    ]);
    expect(slack.messages()).toHaveLength(1);
    expect(slack.messages()[0]?.text).toContain("This sink works");
    expect(smtp.messages).toHaveLength(1);
    expect(http.requests.map(({ body }) => (JSON.parse(body) as { type: string }).type)).toEqual(["run.test"]);
  });

  it("doctor looks at a relay that runs, and knows its webhook address by that relay's own answer", async () => {
    const world = aWorld();
    const url = await anAnswer((_request, response) => {
      response.writeHead(401, { "content-type": "application/json" }).end('{"error":"signature missing"}');
    });
    world.env = { PUBLIC_URL: url, PORT: new URL(url).port };
    const { code, read } = await doctor(world);
    expect(code).toBe(0);
    expect(read().checks.find(({ check }) => check === "PUBLIC_URL reached")).toMatchObject({
      state: "ok",
      found: `${url}/webhook leads to a relay, without a redirect`,
    });
  });
});

interface Case {
  name: string;
  wrong: (world: World) => unknown;
  check: string;
  state?: "warning";
  found: RegExp;
  fix: RegExp;
  /** What else must then be at fault. */
  also?: string[];
  code?: number;
}

const faults: Case[] = [
  {
    name: "an old Node",
    wrong: (world) => (world.host.nodeVersion = "v22.4.1"),
    check: "node",
    found: /v22\.4\.1 is too old/,
    fix: /install Node 24/,
  },
  {
    name: "a time zone that does not exist",
    wrong: (world) => (world.env["TZ"] = "Europe/Berlim"),
    check: "time zone",
    state: "warning",
    found: /"Europe\/Berlim"/,
    fix: /such as Europe\/Berlin/,
  },
  {
    name: "a misspelt key in relay.yaml",
    wrong: (world) => (world.file = "sinks:\n  ops: { kind: http, url: https://a.example, secrte: x }\n"),
    check: "configuration",
    found: /relay\.yaml:2:\d+: .*secrte/,
    fix: /in the file/,
    code: 2,
  },
  {
    name: "no key at all",
    wrong: (world) => (world.env["SKYVERN_API_KEY"] = undefined),
    check: "configuration",
    found: /SKYVERN_API_KEY: is missing/,
    fix: /in the environment/,
    code: 2,
  },
  {
    name: "a key that Skyvern refuses",
    wrong: (world) => (world.skyvernOptions.keys = ["another"]),
    check: "key SKYVERN_API_KEY[1]",
    found: /refused.*403/,
    fix: /copy the key again/,
  },
  {
    name: "a key in quotes",
    wrong: (world) => (world.env["SKYVERN_API_KEY"] = `"${FIXTURE_KEY}"`),
    check: "key SKYVERN_API_KEY[1]",
    found: /a space or a quote/,
    fix: /without quotes/,
  },
  {
    name: "a key cut off while copying",
    wrong: (world) => {
      world.env["SKYVERN_API_KEY"] = "eyJhbGciOi";
      world.skyvernOptions.keys = ["eyJhbGciOi"];
    },
    check: "key SKYVERN_API_KEY[1]",
    state: "warning",
    found: /does not look like a key/,
    fix: /begins with eyJ and has two dots/,
  },
  {
    name: "a key that has expired",
    wrong: (world) => {
      const key = jwt({ sub: "o_1", exp: 1_700_000_000 });
      world.env["SKYVERN_API_KEY"] = key;
      world.skyvernOptions.keys = [key];
    },
    check: "key SKYVERN_API_KEY[1]",
    found: /expired at 2023-11-14T22:13:20\.000Z/,
    fix: /make a new key/,
  },
  {
    name: "the web page's address as base URL",
    wrong: async (world) => (world.env["SKYVERN_BASE_URL"] = await anAnswer((_q, r) => r.end("<html>Skyvern</html>"))),
    check: "base URL",
    found: /is not Skyvern's API/,
    fix: /not the web page's address/,
  },
  {
    name: "a base URL with a path that is not there",
    wrong: async (world) =>
      (world.env["SKYVERN_BASE_URL"] = `${await anAnswer((_q, r) => r.writeHead(404).end("no"))}/api`),
    check: "base URL",
    found: /is not Skyvern's API/,
    fix: /without a path/,
  },
  {
    name: "a base URL that redirects",
    wrong: async (world) =>
      (world.env["SKYVERN_BASE_URL"] = await anAnswer((_q, r) =>
        r.writeHead(308, { location: "https://api.example.com/v1/runs" }).end(),
      )),
    check: "base URL",
    found: /redirects to https:\/\/api\.example\.com/,
    fix: /set SKYVERN_BASE_URL to https:\/\/api\.example\.com/,
  },
  {
    name: "a base URL where nobody answers",
    wrong: async (world) => (world.env["SKYVERN_BASE_URL"] = `http://127.0.0.1:${await aFreePort()}`),
    check: "base URL",
    found: /did not answer.*ECONNREFUSED/,
    fix: /correct SKYVERN_BASE_URL/,
  },
  {
    name: "a Skyvern that is down",
    wrong: async (world) => (world.env["SKYVERN_BASE_URL"] = await anAnswer((_q, r) => r.writeHead(502).end())),
    check: "base URL",
    found: /cannot answer right now.*502/,
    fix: /try again in a minute/,
  },
  {
    name: "a clock that is ten minutes fast",
    wrong: async (world) =>
      (world.env["SKYVERN_BASE_URL"] = await anAnswer((_q, r) => {
        r.setHeader("date", new Date(Date.now() - 600_000).toUTCString());
        r.setHeader("content-type", "application/json");
        r.end("[]");
      })),
    check: "clock",
    found: /(59\d|60\d) s ahead of Skyvern's/,
    fix: /timedatectl/,
  },
  {
    name: "a clock that is a minute slow",
    wrong: async (world) =>
      (world.env["SKYVERN_BASE_URL"] = await anAnswer((_q, r) => {
        r.setHeader("date", new Date(Date.now() + 60_000).toUTCString());
        r.end("[]");
      })),
    check: "clock",
    state: "warning",
    found: /(59|60|61) s behind Skyvern's/,
    fix: /set it by the network/,
  },
  {
    name: "no RELAY_TOKEN where the relay keeps none of its own",
    wrong: (world) => Object.assign(world.env, { RELAY_TOKEN: undefined, DATABASE_URL: "sqlite::memory:" }),
    check: "token",
    state: "warning",
    found: /answer 403/,
    fix: /openssl rand -hex 32/,
  },
  {
    name: "a RELAY_TOKEN that can be guessed",
    wrong: (world) => (world.env["RELAY_TOKEN"] = "secret"),
    check: "configuration",
    found: /RELAY_TOKEN: must have at least 16 characters/,
    fix: /in the environment/,
    code: 2,
  },
  {
    name: "a PUBLIC_URL that redirects",
    wrong: async (world) =>
      (world.env["PUBLIC_URL"] = await anAnswer((q, r) =>
        r.writeHead(301, { location: `https://relay.example.com${q.url}` }).end(),
      )),
    check: "PUBLIC_URL reached",
    found: /redirects to https:\/\/relay\.example\.com\/webhook/,
    fix: /set PUBLIC_URL to the final address, https:\/\/relay\.example\.com, /,
  },
  {
    name: "a PUBLIC_URL that adds a slash",
    wrong: async (world) =>
      (world.env["PUBLIC_URL"] = await anAnswer((q, r) => r.writeHead(308, { location: `${q.url}/` }).end())),
    check: "PUBLIC_URL reached",
    found: /redirects to http:\/\/127\.0\.0\.1:\d+\/webhook\//,
    fix: /final address/,
  },
  {
    name: "somebody else at PUBLIC_URL",
    wrong: async (world) => (world.env["PUBLIC_URL"] = await anAnswer((_q, r) => r.end("<h1>It works!</h1>"))),
    check: "PUBLIC_URL reached",
    found: /answers 200, and not as a relay does: <h1>It works!/,
    fix: /lead to port \d+ of this machine/,
  },
  {
    name: "a login before PUBLIC_URL",
    wrong: async (world) => {
      const url = await anAnswer((_q, r) => r.writeHead(403).end("Sign in"));
      world.env["PUBLIC_URL"] = url;
      world.env["PORT"] = new URL(url).port;
    },
    check: "PUBLIC_URL reached",
    found: /answers 403/,
    fix: /without a login/,
  },
  {
    name: "nobody at PUBLIC_URL",
    wrong: async (world) => (world.env["PUBLIC_URL"] = `http://127.0.0.1:${await aFreePort()}`),
    check: "PUBLIC_URL reached",
    found: /connection was refused/,
    fix: /skyvern-relay send-test --url/,
  },
  {
    name: "a database folder that cannot be written",
    wrong: (world) => (world.host.canWrite = () => false),
    check: "database",
    found: /cannot be written/,
    fix: /the user that the relay runs as/,
  },
  {
    name: "a database file that cannot be written",
    wrong: async (world) => {
      const file = await aDatabase(world);
      world.host.canWrite = (path) => path !== file;
    },
    check: "database",
    found: /relay\.db cannot be written/,
    fix: /the user that the relay runs as/,
  },
  {
    name: "a database that others could replace",
    wrong: async (world) => chmodSync(dirname(await aDatabase(world)), 0o777),
    check: "database",
    state: "warning",
    found: /other users of the machine can write to /,
    fix: /chmod o-w/,
  },
  {
    name: "a database that another program holds",
    wrong: async (world) => {
      const other = new Sqlite(await aDatabase(world));
      other.exec("BEGIN IMMEDIATE");
      onTestFinished(() => void other.close());
    },
    check: "database",
    found: /locked by another process/,
    fix: /end the program that holds it/,
  },
  {
    name: "a file that is no database",
    wrong: async (world) => {
      const path = await aDatabase(world);
      for (const ending of ["-wal", "-shm"]) rmSync(path + ending, { force: true });
      writeFileSync(path, "not a database at all, ".repeat(1_000));
    },
    check: "database",
    found: /damaged or no database/,
    fix: /-wal and its -shm away together, and put the last backup/,
  },
  {
    name: "a database with a damaged page",
    wrong: async (world) => {
      const path = await aDatabase(world);
      const sqlite = new Sqlite(path);
      sqlite.pragma("journal_mode = DELETE");
      // The root page of a table is made to say what it is not.
      const { rootpage } = sqlite.prepare("select rootpage from sqlite_master where name = 'receipts'").get() as {
        rootpage: number;
      };
      const size = Number(sqlite.pragma("page_size", { simple: true }));
      sqlite.close();
      const file = openSync(path, "r+");
      writeSync(file, Buffer.alloc(size, 0x55), 0, size, (rootpage - 1) * size);
      closeSync(file);
    },
    check: "database",
    found: /is damaged: (?!\*\*\*)/,
    fix: /-wal and its -shm away together, and put the last backup/,
  },
  {
    name: "a database of a later release",
    wrong: async (world) => {
      const sqlite = new Sqlite(await aDatabase(world));
      sqlite.exec("update settings set value = '99' where name = 'schema_version'");
      sqlite.close();
    },
    check: "database",
    found: /schema version 99/,
    fix: /use the release that wrote it/,
  },
  {
    name: "a database in memory",
    wrong: (world) => (world.env["DATABASE_URL"] = "sqlite::memory:"),
    check: "database",
    state: "warning",
    found: /everything is lost/,
    fix: /sqlite:PATH/,
  },
  {
    name: "a full disk",
    wrong: (world) => (world.host.space = () => Promise.resolve({ free: 20_000_000, total: GB })),
    check: "disk",
    found: /20 MB of 1\.0 GB free/,
    fix: /free space/,
  },
  {
    name: "a disk that is nearly full",
    wrong: (world) => (world.host.space = () => Promise.resolve({ free: 0.9 * GB, total: 10 * GB })),
    check: "disk",
    state: "warning",
    found: /900 MB of 10 GB free/,
    fix: /free space/,
  },
  {
    name: "a Fly machine without its volume",
    wrong: (world) => {
      world.env["FLY_MACHINE_ID"] = "d891";
      world.host.device = () => Promise.resolve(1);
    },
    check: "volume",
    found: /no volume is mounted/,
    fix: /\[mounts\]/,
  },
  {
    name: "a container without a volume",
    wrong: (world) => {
      world.host.isContainer = () => true;
      world.host.device = () => Promise.resolve(1);
    },
    check: "volume",
    state: "warning",
    found: /gone with the next deploy/,
    fix: /-v relay-data:\/data/,
  },
  {
    name: "no sink",
    wrong: (world) => {
      for (const name of [
        "SLACK_BOT_TOKEN",
        "SLACK_CHANNEL",
        "SMTP_URL",
        "EMAIL_FROM",
        "EMAIL_TO",
        "SINK_URL",
        "SINK_SECRET",
      ]) {
        world.env[name] = undefined;
      }
    },
    check: "sinks",
    state: "warning",
    found: /nothing is delivered/,
    fix: /SLACK_BOT_TOKEN/,
  },
  {
    name: "a Slack token that was revoked",
    wrong: (world) => (world.env["SLACK_BOT_TOKEN"] = "xoxb-revoked"),
    check: "sink slack",
    found: /auth\.test\) answered invalid_auth/,
    fix: /install the app again/,
  },
  {
    name: "a Slack app that may not post",
    wrong: (world) => (world.slack.scopes = ["channels:read", "files:write", "channels:history"]),
    check: "sink slack",
    found: /lacks the scope chat:write/,
    fix: /grant chat:write/,
  },
  {
    name: "a Slack app that may not upload",
    wrong: (world) => (world.slack.scopes = ["chat:write", "channels:read", "channels:history"]),
    check: "sink slack",
    state: "warning",
    found: /lacks the scope files:write: .*no screenshots/,
    fix: /grant files:write/,
  },
  {
    name: "a Slack app that may not look at channels",
    wrong: (world) => (world.slack.scopes = ["chat:write", "files:write", "channels:history"]),
    check: "sink slack",
    state: "warning",
    found: /cannot be seen without the scope channels:read/,
    fix: /grant channels:read/,
  },
  {
    name: "a Slack channel that is not there",
    wrong: (world) => (world.env["SLACK_CHANNEL"] = "C0WRONGID"),
    check: "sink slack",
    found: /channel_not_found/,
    fix: /check the channel's id/,
  },
  {
    name: "a Slack channel name that is not there",
    wrong: (world) => (world.env["SLACK_CHANNEL"] = "#opps"),
    check: "sink slack",
    found: /no channel #opps that the app can see/,
    fix: /invite the app/,
  },
  {
    name: "a Slack app that nobody invited",
    wrong: (world) => (world.slack.channels = [{ id: "C0123ABCD", name: "ops", member: false }]),
    check: "sink slack",
    found: /is not in the channel #ops/,
    fix: /\/invite @skyvern-relay/,
  },
  {
    name: "a Slack channel in the archive",
    wrong: (world) => (world.slack.channels = [{ id: "C0123ABCD", name: "ops", archived: true }]),
    check: "sink slack",
    found: /#ops is archived/,
    fix: /unarchive/,
  },
  {
    name: "half a Slack webhook address",
    wrong: (world) => {
      Object.assign(world.env, { SLACK_BOT_TOKEN: undefined, SLACK_CHANNEL: undefined });
      world.env["SLACK_WEBHOOK_URL"] = "https://hooks.slack.com/services/T0000000";
      world.host.lookup = () => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }));
    },
    check: "sink slack",
    found: /not that of an incoming webhook/,
    fix: /copy the whole address/,
  },
  {
    name: "a mail server that is not there",
    wrong: async (world) => (world.env["SMTP_URL"] = `smtp://127.0.0.1:${await aFreePort()}`),
    check: "sink email",
    found: /could not be reached/,
    fix: /many hosts block ports 25 and 465/,
  },
  {
    name: "a mail server's name that is not there",
    wrong: (world) => (world.env["SMTP_URL"] = "smtp://mail.invalid:587"),
    check: "sink email",
    found: /its name has no address/,
    fix: /host name in the SMTP URL/,
  },
  {
    name: "a mail password that is wrong",
    wrong: (world) => (world.smtpUrl = (url) => url.replace(PASSWORD, "hunter3-hunter3")),
    check: "sink email",
    found: /535/,
    fix: /password made for apps/,
  },
  {
    name: "a mail server without TLS that is told to insist on it",
    wrong: (world) => (world.smtpUrl = (url) => `${url}/?requireTLS=true`),
    check: "sink email",
    found: /TLS/,
    fix: /write smtps:\/\/ for a port with TLS from the start|look at what the server says/,
  },
  {
    name: "an HTTP sink whose name is not there",
    wrong: (world) => (world.env["SINK_URL"] = "https://crm.invalid/hook"),
    check: "sink http",
    found: /its name has no address/,
    fix: /correct the host name/,
  },
  {
    name: "an HTTP sink that does not run",
    wrong: async (world) => (world.env["SINK_URL"] = `http://127.0.0.1:${await aFreePort()}/hook`),
    check: "sink http",
    found: /connection was refused/,
    fix: /start the receiver/,
  },
  {
    name: "an HTTP sink in a network that is not allowed",
    wrong: (world) => (world.env["ALLOW_PRIVATE_NETWORKS"] = undefined),
    check: "sink http",
    found:
      /was not contacted: 127\.0\.0\.1 is not a public address \(loopback\).*127\.0\.0\.1\/32 to ALLOW_PRIVATE_NETWORKS/,
    fix: /if it is yours, else correct the address/,
  },
  {
    name: "an HTTP sink with a certificate that is not valid: plain HTTP behind https",
    wrong: async (world) => (world.env["SINK_URL"] = `https://127.0.0.1:${new URL(await anAnswer(() => {})).port}/`),
    check: "sink http",
    found: /TLS connection was not accepted/,
    fix: /certificate/,
  },
  {
    name: "an HTTP sink whose requests are not signed",
    wrong: (world) => (world.env["SINK_SECRET"] = undefined),
    check: "sink http",
    state: "warning",
    found: /not signed/,
    fix: /whsec_/,
  },
];

describe("one thing wrong", () => {
  it.each(faults)(
    "doctor names what is wrong and what to do: $name",
    async ({ wrong, check, state = "fault", found, fix, also = [], code }) => {
      const world = aWorld();
      await wrong(world);
      const result = await doctor(world);
      const { checks, ok } = result.read();
      const named = checks.filter((finding) => finding.check === check && finding.state === state);
      expect(named, result.stdout).not.toEqual([]);
      const one = named.find((finding) => found.test(finding.found));
      expect(one?.found, JSON.stringify(named)).toMatch(found);
      expect(one?.fix).toMatch(fix);
      // Nothing else is blamed for it.
      const blamed = checks.filter((finding) => finding.state === "fault").map((finding) => finding.check);
      expect([...new Set(blamed)]).toEqual(state === "fault" ? [check, ...also] : also);
      expect({ code: result.code, ok }).toEqual({ code: code ?? (state === "fault" ? 1 : 0), ok: state !== "fault" });
      expect(result.sent).toBe(0);
    },
  );
});
