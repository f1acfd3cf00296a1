import { describe, expect, it } from "vitest";
import { loadConfig, parseOrganization } from "../../src/config/config.ts";
import { describeConfig } from "../../src/config/describe.ts";
import { Secret } from "../../src/platform/secret.ts";
import { configOf, faultsOf, load, WHSEC } from "./source.ts";

const offOf = (...source: Parameters<typeof load>) => {
  const loaded = load(...source);
  return loaded.ok ? loaded.off.map(({ what, turn_on }) => `${what} → ${turn_on}`) : [];
};
const warningsOf = (...source: Parameters<typeof load>) => {
  const loaded = load(...source);
  return loaded.ok ? loaded.warnings : [];
};
const refuse = (): string => {
  throw Object.assign(new Error("no"), { code: "EACCES" });
};
const reveal = (secrets: Secret[]) => secrets.map((secret) => secret.reveal());
const jwt = (payload: unknown) => `e30.${Buffer.from(JSON.stringify(payload)).toString("base64url")}.sig`;
const sinkConfig = (config: ReturnType<typeof configOf>, name: string) =>
  config.sinks.find((sink) => sink.name === name)?.config as Record<string, unknown>;

describe("without anything but a key", () => {
  it("every setting has its documented default where nothing but a key is given", () => {
    const { keys, ...rest } = configOf({});
    expect(keys).toEqual([{ name: "SKYVERN_API_KEY[1]", key: expect.any(Secret), organization: null }]);
    expect(rest).toEqual({
      baseUrl: "https://api.skyvern.com",
      database: { kind: "sqlite", path: "./data/relay.db" },
      host: "0.0.0.0",
      port: 8080,
      metricsPort: null,
      publicUrl: "http://localhost:8080",
      hasAddress: false,
      tokens: [],
      tokenFile: null,
      sinks: [],
      routes: [],
      delivery: {
        scheduleMs: [5e3, 30e3, 120e3, 600e3, 1800e3, 3600e3, 7200e3, 14400e3, 28800e3, 43200e3],
        timeoutMs: 15_000,
        artifactsWaitMs: 20_000,
      },
      attachments: { screenshots: true, files: true, maxBytes: 8_000_000, maxTotal: 20_000_000 },
      linkLifeMs: 90 * 86_400_000,
      archive: null,
      retention: { runsMs: 365 * 86_400_000, rawMs: 90 * 86_400_000, hold: [] },
      reconcile: {
        everyMs: 10_000,
        lookbackMs: 86_400_000,
        scope: "all",
        historyMs: 7 * 86_400_000,
        requestsPerHour: 3_600,
        hasWebhooks: false,
      },
      confirm: false,
      bodyLimit: 10_000_000,
      redactKeys: [],
      labels: [],
      allowPrivateNetworks: [],
      proxy: null,
      heartbeat: null,
      tracing: null,
      alerts: { onDead: [], onCoverageGap: [], onDiskLow: [], onSinkDown: [], downAfterMs: 900_000, everyMs: 900_000 },
      trustedOrigins: ["https://api.skyvern.com", "https://slack.com"],
      logLevel: "info",
      logFormat: null,
      file: null,
    });
  });

  it("an empty file and an empty variable change nothing", () => {
    expect(configOf({ PORT: "", RELAY_CONFIG: "", SLACK_CHANNEL: "" }, "# nothing\n")).toEqual({
      ...configOf({}),
      file: "relay.yaml",
    });
  });
});

describe("the environment", () => {
  it("SKYVERN_API_KEY gives several API keys, separated by commas", () => {
    const { keys } = configOf({ SKYVERN_API_KEY: ` one , ,${jwt({ sub: "o_1" })},` });
    expect(keys.map(({ name, organization }) => [name, organization])).toEqual([
      ["SKYVERN_API_KEY[1]", null],
      ["SKYVERN_API_KEY[2]", "o_1"],
    ]);
    expect(keys[0]?.key.reveal()).toBe("one");
  });

  it.each([
    [{ PUBLIC_URL: "https://Relay.example.com/" }, "https://relay.example.com"],
    [{ PUBLIC_URL: "https://x.example/relay/" }, "https://x.example/relay"],
    [{ FLY_APP_NAME: "my-relay" }, "https://my-relay.fly.dev"],
    [{ FLY_APP_NAME: "my-relay", PUBLIC_URL: "https://x.example" }, "https://x.example"],
    [{ PORT: "9999" }, "http://localhost:9999"],
  ])("the environment %j makes links begin with %s", (env, url) => {
    expect(configOf(env).publicUrl).toBe(url);
  });

  it.each([
    ["sqlite:relay.db", "relay.db"],
    ["sqlite:/data/relay.db", "/data/relay.db"],
    ["sqlite:///data/relay.db", "/data/relay.db"],
    ["sqlite::memory:", ":memory:"],
  ])("DATABASE_URL %s is the SQLite file %s", (url, path) => {
    expect(configOf({ DATABASE_URL: url }).database).toEqual({ kind: "sqlite", path });
  });

  it("DATABASE_URL may name a PostgreSQL, and its password shows nowhere", () => {
    for (const scheme of ["postgres", "postgresql"]) {
      const url = `${scheme}://relay:pass-word@db.example:5433/relay?sslmode=verify-full`;
      const config = configOf({ DATABASE_URL: url });
      expect(config.database.kind === "postgres" && config.database.url.reveal()).toBe(url);
      expect(JSON.stringify([config, describeConfig(config)])).not.toContain("pass-word");
      expect(describeConfig(config).database).toBe("postgres://db.example:5433/relay");
    }
  });

  it("the environment gives port 0 for both listeners, and lists of tokens and of networks", () => {
    const tokens = ["a".repeat(16), "b".repeat(16)];
    const networks = { ALLOW_PRIVATE_NETWORKS: "10.0.0.0/8, fd00::/8" };
    const env = { PORT: "0", METRICS_PORT: "0", RELAY_TOKEN: tokens.join(), ...networks };
    const config = configOf(env);
    expect([config.port, config.metricsPort, reveal(config.tokens), config.allowPrivateNetworks]).toEqual([
      0,
      0,
      tokens,
      ["10.0.0.0/8", "fd00::/8"],
    ]);
  });

  it("the environment makes the sinks slack, email and http", () => {
    const config = configOf({
      SLACK_BOT_TOKEN: "xoxb-1",
      SLACK_CHANNEL: "C1",
      SLACK_API_URL: "http://127.0.0.1:9/api",
      SMTP_URL: "smtp://mail.example.com",
      EMAIL_FROM: "relay@example.com",
      EMAIL_TO: "a@example.com, B <b@example.com>",
      SINK_URL: "https://x.example/hook",
      SINK_SECRET: WHSEC,
    });
    expect(config.sinks.map(({ name, kind, concurrency }) => [name, kind, concurrency])).toEqual([
      ["slack", "slack", 1],
      ["email", "email", 4],
      ["http", "http", 16],
    ]);
    expect(sinkConfig(config, "slack")).toMatchObject({ channel: "C1", api_url: "http://127.0.0.1:9/api/" });
    expect(sinkConfig(config, "email")["to"]).toHaveLength(2);
    expect(config.trustedOrigins).toEqual(["https://api.skyvern.com", "http://127.0.0.1:9"]);
  });

  it("the environment makes the Slack sink from a webhook alone, and an unsigned HTTP sink with a warning", () => {
    const env = { SLACK_WEBHOOK_URL: "https://hooks.slack.com/services/x", SINK_URL: "https://x.example" };
    expect(configOf(env).sinks.map(({ name }) => name)).toEqual(["slack", "http"]);
    expect(offOf(env).join()).toContain("SINK_SECRET=whsec_");
  });

  it("the environment takes every secret from a file, without its last newline", () => {
    const files = {
      k: "key-1\n",
      t: "a-token-of-the-tests\r\n",
      d: "sqlite:x.db\n",
      s: "xoxb-1\n",
      u: "https://x.example\n",
      w: WHSEC,
    };
    const config = configOf(
      {
        SKYVERN_API_KEY: "",
        SKYVERN_API_KEY_FILE: "k",
        RELAY_TOKEN_FILE: "t",
        DATABASE_URL_FILE: "d",
        SLACK_BOT_TOKEN_FILE: "s",
        SLACK_CHANNEL: "C1",
        SINK_URL_FILE: "u",
        SINK_SECRET_FILE: "w",
      },
      undefined,
      files,
    );
    expect(reveal(config.keys.map(({ key }) => key))).toEqual(["key-1"]);
    expect(reveal(config.tokens)).toEqual(["a-token-of-the-tests"]);
    expect(config.database).toEqual({ kind: "sqlite", path: "x.db" });
    expect(config.sinks.map(({ name }) => name)).toEqual(["slack", "http"]);
    const [slack] = configOf({ SLACK_WEBHOOK_URL_FILE: "h" }, undefined, { h: "https://hooks.example/x\n" }).sinks;
    expect(slack?.name).toBe("slack");
    const mail = { SMTP_URL_FILE: "m", EMAIL_FROM: "a@example.com", EMAIL_TO: "b@example.com" };
    expect(configOf(mail, undefined, { m: "smtp://mail.example.com" }).sinks[0]?.name).toBe("email");
  });
});

describe("the file", () => {
  const FULL = `
skyvern:
  base_url: "\${BASE:-http://skyvern.internal:8000/}"
  keys: [{ name: acme, key: "\${ACME}" }]
sinks:
  ops: { kind: slack, token: "\${SLACK_BOT_TOKEN}", channel: C1 }
  crm: { kind: http, url: "https://crm.example/\${HOOK_PATH:-a}?x=$$", secret: "\${W}", concurrency: "\${N}" }
routes:
  - { when: { status: [failed] }, to: [ops, crm], stop: true }
  - { name: rest, to: ops }
delivery: { schedule: [1s], timeout: 2s, artifacts_wait: 0s }
receive: { body_limit: 1.5MB }
redact: { keys: [iban] }
`;
  const ENV = { ACME: jwt({ sub: "o_acme" }), SLACK_BOT_TOKEN: "xoxb-1", W: WHSEC, N: "7" };

  it("relay.yaml sets what it names", () => {
    const config = configOf({ SKYVERN_API_KEY: "", ...ENV }, FULL);
    expect(config).toMatchObject({
      baseUrl: "http://skyvern.internal:8000",
      keys: [{ name: "acme", organization: "o_acme" }],
      delivery: { scheduleMs: [1000], timeoutMs: 2000, artifactsWaitMs: 0 },
      bodyLimit: 1_500_000,
      redactKeys: ["iban"],
      file: "relay.yaml",
      routes: [
        { name: "route 1", when: { status: ["failed"] }, to: ["ops", "crm"], stop: true },
        { name: "rest", when: {}, to: ["ops"], stop: false },
      ],
    });
    expect(config.sinks.map(({ name, kind, concurrency }) => [name, kind, concurrency])).toEqual([
      ["ops", "slack", 1],
      ["crm", "http", 7],
    ]);
  });

  const urlOf = (env: Record<string, string>) =>
    (sinkConfig(configOf({ ...ENV, ...env }, FULL), "crm")["url"] as Secret).reveal();

  it("relay.yaml has its variables and their defaults filled in once, and $$ stays as it is", () => {
    expect(urlOf({})).toBe("https://crm.example/a?x=$$");
    expect(urlOf({ HOOK_PATH: "${ACME}" })).toBe("https://crm.example/${ACME}?x=$$");
    expect(urlOf({ HOOK_PATH: "$&" })).toBe("https://crm.example/$&?x=$$");
  });

  it("relay.yaml gets a secret filled in from a file", () => {
    const { SLACK_BOT_TOKEN: _, ...env } = ENV;
    const config = configOf({ ...env, SLACK_BOT_TOKEN_FILE: "s" }, FULL, { s: "xoxb-2\n" });
    expect((sinkConfig(config, "ops")["token"] as Secret).reveal()).toBe("xoxb-2");
  });

  it("variables in keys and comments of relay.yaml are not read", () => {
    expect(faultsOf({}, "# ${NONE}\n${NONE}: 1\n").map(({ message }) => message)).toEqual([
      expect.stringContaining("is an unknown key"),
    ]);
  });

  it("the sinks and keys of relay.yaml are added to the environment's", () => {
    const config = configOf({ ...ENV, SKYVERN_API_KEY: `extra,${ENV.ACME}`, SINK_URL: "https://x.example" }, FULL);
    expect(config.sinks.map(({ name }) => name)).toEqual(["http", "ops", "crm"]);
    expect(config.keys.map(({ name }) => name)).toEqual(["acme", "SKYVERN_API_KEY[1]"]);
  });

  it("routes in relay.yaml may name the environment's sinks", () => {
    expect(configOf({ SINK_URL: "https://x.example" }, "routes: [{ to: http }]").routes[0]?.to).toEqual(["http"]);
  });

  it("a variable that relay.yaml fills in does not begin a sink of its own", () => {
    const yaml = 'sinks: { ops: { kind: slack, webhook_url: "${SLACK_WEBHOOK_URL}" } }';
    expect(configOf({ SLACK_WEBHOOK_URL: "https://h.example" }, yaml).sinks.map(({ name }) => name)).toEqual(["ops"]);
    const mail = 'sinks: { m: { kind: email, smtp: "${SMTP_URL}", from: a@example.com, to: b@example.com } }';
    const half = { SMTP_URL: "smtp://mail.example.com", EMAIL_FROM: "a@example.com" };
    expect(faultsOf(half, mail).map(({ where }) => where)).toEqual(["EMAIL_TO"]);
    const env = { ...ENV, SLACK_CHANNEL: "C2" };
    expect(configOf(env, FULL).sinks.map(({ name }) => name)).toEqual(["slack", "ops", "crm"]);
  });

  it("Slack sinks in relay.yaml use SLACK_API_URL unless they name another", () => {
    const yaml = `
sinks:
  a: { kind: slack, token: t, channel: C1 }
  b: { kind: slack, token: t, channel: C1, api_url: "https://slack-gov.com/api/" }
`;
    const config = configOf({ SLACK_API_URL: "http://127.0.0.1:9/api/" }, yaml);
    expect(["a", "b"].map((name) => sinkConfig(config, name)["api_url"])).toEqual([
      "http://127.0.0.1:9/api/",
      "https://slack-gov.com/api/",
    ]);
  });

  it("relay.yaml may repeat SKYVERN_BASE_URL but not contradict it", () => {
    const yaml = "skyvern: { base_url: http://a.example }\n";
    expect(configOf({ SKYVERN_BASE_URL: "http://a.example/" }, yaml).baseUrl).toBe("http://a.example");
    expect(faultsOf({ SKYVERN_BASE_URL: "http://b.example" }, yaml)).toEqual([
      { where: "relay.yaml:1:22", message: expect.stringContaining("SKYVERN_BASE_URL") },
    ]);
  });

  it("relay.yaml may share parts by anchors, but not without bound", () => {
    const yaml = "delivery: { schedule: &s [1s, 2s] }\nredact: { keys: *s }\n";
    expect(configOf({}, yaml).redactKeys).toEqual(["1s", "2s"]);
    const bomb = [
      "a: &a [x, x]",
      ..."bcdefghij".split("").map((c, i) => `${c}: &${c} [${`*${"abcdefghi"[i]},`.repeat(9)}]`),
    ];
    expect(faultsOf({}, bomb.join("\n"))).toEqual([
      { where: "relay.yaml:1:1", message: expect.stringMatching(/alias/) },
    ]);
    expect(faultsOf({}, "redact: &r { keys: *r }\n")).not.toEqual([]);
  });

  it("relay.yaml is looked for in the working directory", () => {
    const seen: string[] = [];
    const readFile = (path: string) => {
      seen.push(path);
      return "";
    };
    loadConfig({ env: { SKYVERN_API_KEY: "k", RELAY_TOKEN_FILE: "t" }, readFile, cwd: "/srv" });
    loadConfig({ env: { SKYVERN_API_KEY: "k", RELAY_CONFIG: "/etc/r.yaml" }, readFile, cwd: "/srv" });
    expect(seen).toEqual(["/srv/t", "/srv/relay.yaml", "/etc/r.yaml"]);
  });

  it("a relay.yaml that cannot be read is a fault, also when it was not named", () => {
    expect(loadConfig({ env: { SKYVERN_API_KEY: "k" }, readFile: refuse })).toEqual({
      ok: false,
      faults: [{ where: "relay.yaml", message: "cannot be read (EACCES)" }],
    });
  });
});

describe("warnings", () => {
  const QUIET = {
    RELAY_TOKEN: "0123456789abcdef",
    PUBLIC_URL: "https://x.example",
    SLACK_WEBHOOK_URL: "https://h.example",
  };

  it("a complete configuration has no warnings", () => {
    expect([...warningsOf(QUIET), ...offOf(QUIET)]).toEqual([]);
  });

  it.each([
    [{ DATABASE_URL: "sqlite::memory:" }, "", /in memory/],
    [{ SKYVERN_API_KEY: 'half"quoted' }, "", /SKYVERN_API_KEY\[1\] holds a space or a quote/],
  ])("the environment %j has one warning", (env, yaml, message) => {
    expect(warningsOf({ ...QUIET, ...env }, yaml)).toEqual([expect.stringMatching(message)]);
  });

  it.each([
    [{ SLACK_WEBHOOK_URL: "" }, /^messages: no sink .* → SLACK_WEBHOOK_URL=.* SMTP_URL=.* SINK_URL=/],
    [{ RELAY_TOKEN: "" }, /^web page, .* → RELAY_TOKEN=/],
    [
      { PUBLIC_URL: "" },
      /^webhooks from Skyvern, because PUBLIC_URL is not set; .*http:\/\/localhost:8080 → PUBLIC_URL=/,
    ],
    [{ SINK_URL: "https://x.example" }, /^the signature .* → SINK_SECRET=/],
  ])("the environment %j turns something off, and one line says what turns it on", (env, line) => {
    expect(offOf({ ...QUIET, ...env })).toEqual([expect.stringMatching(line)]);
  });

  it("a setting that relay.yaml gives causes no warning", () => {
    expect(warningsOf(QUIET, "skyvern: { reconcile: { every: 5m, lookback: 24h } }")).toEqual([]);
    expect(warningsOf(QUIET, "retention: { runs: 90d, raw: 30d, hold: [tsk_1] }")).toEqual([]);
  });
});

describe("the description", () => {
  it("the description of a configuration names keys, sinks and routes, and holds no secret", () => {
    const env = {
      SKYVERN_API_KEY: jwt({ sub: "o_1" }),
      RELAY_TOKEN: "tok-secret-of-the-tests",
      SLACK_BOT_TOKEN: "xoxb-secret",
      SLACK_CHANNEL: "C1",
    };
    const description = describeConfig(configOf(env, "routes: [{ name: all, to: slack }]"));
    expect(description).toMatchObject({
      keys: [{ name: "SKYVERN_API_KEY[1]", organization: "o_1" }],
      sinks: [{ name: "slack", kind: "slack", concurrency: 1 }],
      routes: [{ name: "all", to: ["slack"] }],
      delivery: { timeout: "15s" },
      tokens: 1,
    });
    expect(JSON.stringify(description)).not.toMatch(/secret|xoxb|e30/);
  });
});

describe("the organization of a key", () => {
  it.each([
    [jwt({ sub: "o_123" }), "o_123"],
    [jwt({ sub: 5 }), null],
    [jwt({}), null],
    [jwt(null), null],
    ["a.b.c", null],
    ["a.b", null],
    ["sk_plain", null],
    ["", null],
  ])("the organization of the key %s is %s", (key, organization) => {
    expect(parseOrganization(key)).toBe(organization);
  });
});

it("retention keeps runs and bytes for ever where it is set to false", () => {
  expect(configOf({}, "retention: { runs: false, raw: false }").retention).toMatchObject({ runsMs: null, rawMs: null });
});

describe("a token of the relay's own", () => {
  const loadKept = (env: Record<string, string>, files: Record<string, string> = {}) => {
    const loaded = loadConfig({
      env: { SKYVERN_API_KEY: "k", ...env },
      keepsFiles: true,
      readFile: (path) => {
        const text = files[path];
        if (text === undefined) throw Object.assign(new Error(path), { code: "ENOENT" });
        return text;
      },
    });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults));
    const { config, off } = loaded;
    return { file: config.tokenFile, tokens: config.tokens.map((token) => token.reveal()), off: off.join() };
  };
  const TOKEN = "0123456789abcdef";

  it("the relay's own token lies in a file beside the SQLite database, and is read from there", () => {
    expect(loadKept({})).toMatchObject({ file: "./data/relay.token", tokens: [] });
    const files = { "/data/x.token": `${TOKEN}\n` };
    expect(loadKept({ DATABASE_URL: "sqlite:/data/x.db" }, files)).toMatchObject({ tokens: [TOKEN] });
  });

  it("the relay makes no token where RELAY_TOKEN is set, on PostgreSQL, in memory, and where a host keeps no files", () => {
    expect(loadKept({ RELAY_TOKEN: TOKEN })).toMatchObject({ file: null, tokens: [TOKEN] });
    expect(loadKept({ DATABASE_URL: "postgres://u:p@h/d" })).toMatchObject({ file: null, tokens: [] });
    expect(loadKept({ DATABASE_URL: "sqlite::memory:" })).toMatchObject({ file: null, tokens: [] });
    expect(configOf({}).tokenFile).toBeNull();
    expect(offOf({ DATABASE_URL: "postgres://u:p@h/d" }).join()).toContain("RELAY_TOKEN is not set");
  });
});
