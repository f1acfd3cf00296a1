import { readFileSync } from "node:fs";
import { isMap, isSeq, parseDocument } from "yaml";
import { describe, expect, it } from "vitest";
import { formatFaults } from "../../src/config/config.ts";
import { faultsOf, load, WHSEC } from "./source.ts";

/** Stands in every secret of these tables. No fault may show it. */
const SECRET = "hunter2secret-of-the-tests";

type Env = Record<string, string>;
const EMAIL = { SMTP_URL: "smtp://mail.example.com", EMAIL_FROM: "a@example.com", EMAIL_TO: "b@example.com" };

const variables: [name: string, env: Env, where: string, message: RegExp][] = [
  ["no API key", { SKYVERN_API_KEY: "" }, "SKYVERN_API_KEY", /^is missing/],
  ["an API key of commas only", { SKYVERN_API_KEY: " , ," }, "SKYVERN_API_KEY", /between its commas/],
  ["a base URL without scheme", { SKYVERN_BASE_URL: "api.skyvern.com" }, "SKYVERN_BASE_URL", /https?:/],
  [
    "a base URL that has the version",
    { SKYVERN_BASE_URL: "https://x.example/v1/" },
    "SKYVERN_BASE_URL",
    /without \/v1/,
  ],
  [
    "a base URL with a password",
    { SKYVERN_BASE_URL: `https://u:${SECRET}@x.example` },
    "SKYVERN_BASE_URL",
    /user name/,
  ],
  ["a database of another kind", { DATABASE_URL: `mysql://u:${SECRET}@h/d` }, "DATABASE_URL", /sqlite:PATH/],
  ["a PostgreSQL without database", { DATABASE_URL: `postgres://u:${SECRET}@h` }, "DATABASE_URL", /postgres:\/\/user:/],
  ["a PostgreSQL URL that is none", { DATABASE_URL: `postgres://u:${SECRET}@h:x/d` }, "DATABASE_URL", /postgres:\/\//],
  ["an SQLite URL without path", { DATABASE_URL: "sqlite:" }, "DATABASE_URL", /sqlite:PATH/],
  ["an SQLite URL that looks relative", { DATABASE_URL: "sqlite://data/x.db" }, "DATABASE_URL", /sqlite:PATH/],
  ["an SQLite path that is a folder", { DATABASE_URL: "sqlite:/data/" }, "DATABASE_URL", /sqlite:PATH/],
  ["a host with a port", { HOST: "http://0.0.0.0:80" }, "HOST", /IP address or a host name/],
  ["a port that is a word", { PORT: "http" }, "PORT", /0 to 65535/],
  ["a port beyond the last", { PORT: "65536" }, "PORT", /0 to 65535/],
  ["a negative port", { PORT: "-1" }, "PORT", /0 to 65535/],
  ["a fractional port", { PORT: "80.5" }, "PORT", /0 to 65535/],
  ["a metrics port that is a word", { METRICS_PORT: "x" }, "METRICS_PORT", /0 to 65535/],
  ["one port for two listeners", { PORT: "9000", METRICS_PORT: "9000" }, "METRICS_PORT", /another port than PORT/],
  ["a public URL of another scheme", { PUBLIC_URL: "ftp://x.example" }, "PUBLIC_URL", /https?:/],
  ["a public URL with a query", { PUBLIC_URL: "https://x.example/?a=1" }, "PUBLIC_URL", /query/],
  ["a public URL with a fragment", { PUBLIC_URL: "https://x.example/#a" }, "PUBLIC_URL", /fragment/],
  ["a token of commas only", { RELAY_TOKEN: "," }, "RELAY_TOKEN", /between its commas/],
  [
    "a token that can be guessed",
    { RELAY_TOKEN: `${SECRET},0123456789abcde` },
    "RELAY_TOKEN",
    /at least 16 characters/,
  ],
  [
    "a token that can be guessed beside its name",
    { RELAY_TOKEN: "operations:0123456789abcde" },
    "RELAY_TOKEN",
    /at least 16 characters, each token without its name/,
  ],
  ["a token with a space", { RELAY_TOKEN: `${SECRET} ${SECRET}` }, "RELAY_TOKEN", /without spaces/],
  ["an unknown log level", { LOG_LEVEL: "loud" }, "LOG_LEVEL", /must be fatal, error, .* or silent/],
  ["a network that is none", { ALLOW_PRIVATE_NETWORKS: "10.0.0.0/8,10.0.0.0/99" }, "ALLOW_PRIVATE_NETWORKS", /CIDR/],
  ["a Slack API that is no URL", { SLACK_API_URL: "slack" }, "SLACK_API_URL", /https?:/],
  ["a Slack token without channel", { SLACK_BOT_TOKEN: SECRET }, "SLACK_CHANNEL", /missing: SLACK_BOT_TOKEN alone/],
  ["a Slack channel without token", { SLACK_CHANNEL: "C1" }, "SLACK_BOT_TOKEN", /missing: SLACK_CHANNEL alone/],
  [
    "two ways into Slack",
    { SLACK_BOT_TOKEN: SECRET, SLACK_CHANNEL: "C1", SLACK_WEBHOOK_URL: `https://hooks.slack.com/${SECRET}` },
    "SLACK_WEBHOOK_URL",
    /together with SLACK_BOT_TOKEN and SLACK_CHANNEL/,
  ],
  ["a Slack webhook that is no URL", { SLACK_WEBHOOK_URL: SECRET }, "SLACK_WEBHOOK_URL", /address of an incoming/],
  ["mail without recipients", { ...EMAIL, EMAIL_TO: "" }, "EMAIL_TO", /missing: SMTP_URL and EMAIL_FROM alone/],
  ["mail without sender", { ...EMAIL, EMAIL_FROM: "" }, "EMAIL_FROM", /missing/],
  ["mail without server", { ...EMAIL, SMTP_URL: "" }, "SMTP_URL", /missing/],
  ["an SMTP URL of another scheme", { ...EMAIL, SMTP_URL: `http://u:${SECRET}@h` }, "SMTP_URL", /smtp:\/\//],
  ["an SMTP URL that is none", { ...EMAIL, SMTP_URL: `:${SECRET}` }, "SMTP_URL", /smtp:\/\//],
  ["a sender that is no address", { ...EMAIL, EMAIL_FROM: "nobody" }, "EMAIL_FROM", /address/],
  ["a recipient that is no address", { ...EMAIL, EMAIL_TO: "b@example.com, nobody" }, "EMAIL_TO", /addresses/],
  ["a signing secret without URL", { SINK_SECRET: WHSEC }, "SINK_URL", /missing: SINK_SECRET alone/],
  ["a signing secret of another form", { SINK_URL: "https://x.example", SINK_SECRET: SECRET }, "SINK_SECRET", /whsec_/],
  ["a sink URL of another scheme", { SINK_URL: `file:///${SECRET}` }, "SINK_URL", /http/],
  ["a named file that is not there", { RELAY_CONFIG: "other.yaml" }, "RELAY_CONFIG", /cannot be read \(ENOENT\)/],
  [
    "a secret in a file that is not there",
    { RELAY_TOKEN_FILE: "/run/none" },
    "RELAY_TOKEN_FILE",
    /cannot be read \(ENOENT\)/,
  ],
  ["a secret twice", { RELAY_TOKEN: SECRET, RELAY_TOKEN_FILE: "t" }, "RELAY_TOKEN_FILE", /together with RELAY_TOKEN/],
];

describe("faults in the environment", () => {
  it.each(variables)("a fault in the environment names the variable: %s", (_name, env, where, message) => {
    const faults = faultsOf(env);
    expect(faults).toEqual([{ where, message: expect.stringMatching(message) }]);
    expect(JSON.stringify(faults)).not.toContain(SECRET);
  });
});

const HTTP = "kind: http, url: https://x.example";

const files: [name: string, yaml: string, place: string, message: RegExp][] = [
  [
    "an unknown key",
    "sink: {}\n",
    "1:1",
    /^sink: is an unknown key: did you mean sinks\? Expected one of skyvern, sinks, routes/,
  ],
  [
    "an unknown key further in",
    "delivery:\n  timeout: 5s\n  timeuot: 5s\n",
    "3:3",
    /^delivery\.timeuot: is an unknown key: did you mean timeout\?/,
  ],
  ["an unknown key of a sink", `sinks:\n  a: { ${HTTP}, uri: x }\n`, "2:44", /^sinks\.a\.uri: .*concurrency, url/],
  [
    "an unknown key in another spelling",
    "alerts: { onDead: [] }\n",
    "1:11",
    /^alerts\.onDead: is an unknown key: did you mean on_dead\?/,
  ],
  ["an unknown key like none", "retention: { bodies: 30d }\n", "1:14", /key; expected one of runs, raw, hold$/],
  ["a key that is there twice", "redact: {}\nredact: {}\n", "2:1", /duplicate key/],
  ["a list for a file", "- a\n", "1:1", /^the file must be a mapping, not a list/],
  ["text for a file", "hello\n", "1:1", /^the file must be a mapping, not text/],
  ["an open quote", "redact: 'x\n", "2:1", /missing/],
  ["a tab", "delivery:\n\ttimeout: 5s\n", "2:1", /tab/],
  ["a wrong indentation", "delivery:\n    timeout: 5s\n  schedule: []\n", "3:1", /indentation of this line/],
  ["an indented first key", " sinks:\n   a: {}\nroutes: []\n", "3:1", /indentation of this line/],
  ["a list item that is indented deeper", "routes:\n  - to: []\n   - to: []\n     stop: true\n", "3:4", /indentation/],
  ["a key of an item between two columns", "routes:\n  - name: a\n    stop: true\n   to: []\n", "4:1", /indentation/],
  ["a key that is indented deeper", `sinks:\n  a:\n    kind: http\n     url: x\n    secret: y\n`, "3:11", /next line/],
  ["a second document", "redact: {}\n---\nredact: {}\n", "2:1", /one document/],
  ["an unquoted *", `routes:\n  - when: { title: *${SECRET} }\n    to: []\n`, "2:20", /in quotes/],
  ["a bare *", "routes:\n  - when: { title: * }\n    to: []\n", "2:20", /in quotes/],
  ["an unquoted !", `routes:\n  - when: { status: !${SECRET} }\n    to: []\n`, "2:21", /in quotes/],
  ["an unquoted @", `redact:\n  keys: [@${SECRET}]\n`, "2:10", /in quotes/],
  ["a bare variable in braces", "skyvern: { base_url: ${BASE} }\n", "1:23", /quotes/],
  ["a variable that is not set", "skyvern:\n  base_url: ${NO_SUCH}\n", "2:13", /variable NO_SUCH is not set/],
  ["a variable that is empty", "skyvern:\n  base_url: ${EMPTY}\n", "2:13", /variable EMPTY is not set/],
  ["a variable with an odd name", 'skyvern:\n  base_url: "${NO-SUCH}"\n', "2:13", /name of a variable/],
  ["an unclosed variable", 'skyvern:\n  base_url: "x${NO_SUCH"\n', "2:13", /name of a variable/],
  ["a sink without kind", "sinks:\n  a: { url: https://x.example }\n", "2:6", /^sinks\.a\.kind: is missing/],
  ["a sink of no known kind", "sinks:\n  a: { kind: pager }\n", "2:14", /^sinks\.a\.kind: must be .*slack/],
  ["a sink that is text", "sinks:\n  a: ops\n", "2:6", /^sinks\.a: must be a mapping, not text/],
  ["a sink without value", "sinks:\n  a:\n", "2:3", /^sinks\.a: has no value/],
  ["an impossible name of a sink", `sinks:\n  a b: { ${HTTP} }\n`, "2:3", /^sinks\.a b: must be a sink name/],
  ["a name that is not a name at all", `sinks:\n  __proto__: { ${HTTP} }\n`, "2:3", /__proto__/],
  ["a sink without its key", "sinks:\n  a:\n    kind: http\n", "3:5", /^sinks\.a\.url: is missing/],
  [
    "half of Slack",
    `sinks:\n  a:\n    kind: slack\n    token: ${SECRET}\n`,
    "3:5",
    /channel: is missing: a bot token needs a channel/,
  ],
  ["the other half of Slack", "sinks:\n  a: { kind: slack, channel: C1 }\n", "2:6", /token: is missing: the channel/],
  ["a bad URL", `sinks:\n  a:\n    kind: http\n    url: ftp://${SECRET}\n`, "4:10", /^sinks\.a\.url: .*http/],
  ["a bad secret", `sinks:\n  a: { ${HTTP}, secret: ${SECRET} }\n`, "2:52", /^sinks\.a\.secret: .*whsec_/],
  ["no concurrency", `sinks:\n  a: { ${HTTP}, concurrency: 0 }\n`, "2:57", /^sinks\.a\.concurrency: .*at least 1/],
  [
    "more than one at once where order counts",
    `sinks:\n  a: { kind: slack, webhook_url: https://hooks.slack.com/x, concurrency: 2 }\n`,
    "2:74",
    /^sinks\.a\.concurrency: .*1/,
  ],
  ["too much of it", `sinks:\n  a: { ${HTTP}, concurrency: "65" }\n`, "2:57", /^sinks\.a\.concurrency: .*to 64/],
  [
    "a route to nobody known",
    "routes:\n  - to: [ops]\n",
    "2:10",
    /^routes\[0\]\.to\[0\]: names no sink; no sink is configured/,
  ],
  [
    "a route to a misspelt sink",
    `sinks:\n  ops: { ${HTTP} }\nroutes:\n  - to: osp\n`,
    "4:9",
    /^routes\[0\]\.to: names no sink; expected one of ops$/,
  ],
  ["a heartbeat without address", "heartbeat: { every: 1m }\n", "1:12", /^heartbeat\.url: is missing/],
  ["a heartbeat to a file", `heartbeat: { url: "file:///${SECRET}" }\n`, "1:19", /^heartbeat\.url: .*http/],
  ["a heartbeat each second", 'heartbeat: { url: "https://x.example", every: 1s }\n', "1:47", /between 10s and 1d/],
  [
    "alerts to nobody known",
    `sinks:\n  ops: { ${HTTP} }\nalerts:\n  on_dead: osp\n`,
    "4:12",
    /^alerts\.on_dead: names no sink; expected one of ops$/,
  ],
  [
    "alerts to one unknown of two",
    `sinks:\n  ops: { ${HTTP} }\nalerts:\n  on_sink_down: [ops, x]\n`,
    "4:23",
    /^alerts\.on_sink_down\[1\]: names no sink/,
  ],
  [
    "a gap that nobody looks for",
    `sinks:\n  ops: { ${HTTP} }\nskyvern: { reconcile: false }\nalerts:\n  on_coverage_gap: ops\n`,
    "5:3",
    /^alerts\.on_coverage_gap: needs skyvern\.reconcile/,
  ],
  ["a misspelt alert", `sinks:\n  ops: { ${HTTP} }\nalerts: { on_death: ops }\n`, "3:11", /^alerts\.on_death: /],
  ["a route without sinks", "routes:\n  - name: a\n", "2:5", /^routes\[0\]\.to: is missing/],
  [
    "two routes of one name",
    "routes:\n  - { name: a, to: [] }\n  - { name: a, to: [] }\n",
    "3:13",
    /name: is a duplicate/,
  ],
  [
    "an unknown condition",
    "routes:\n  - { when: { state: x }, to: [] }\n",
    "2:15",
    /when\.state: is an unknown key.*status/,
  ],
  ["a status no run ends with", "routes:\n  - { when: { status: sucess }, to: [] }\n", "2:23", /no outcome.*completed/],
  ["one of many", "routes:\n  - { when: { status: [failed, runing] }, to: [] }\n", "2:32", /status\[1\]: .*no outcome/],
  ["a bare number as text", "routes:\n  - { when: { error_code: 404 }, to: [] }\n", "2:27", /error_code: .*in quotes/],
  ["an empty list", "routes:\n  - { when: { title: [] }, to: [] }\n", "2:22", /title: must not be empty/],
  ["an empty text", 'routes:\n  - { when: { title: "" }, to: [] }\n', "2:22", /title: must not be empty/],
  ["a lone !", 'routes:\n  - { when: { title: "!" }, to: [] }\n', "2:22", /title: .*after the !/],
  ["stop that is text", "routes:\n  - { stop: ja, to: [] }\n", "2:13", /stop: must be true or false, not text/],
  ["a duration without unit", "delivery:\n  timeout: 15\n", "2:12", /^delivery\.timeout: has no unit: write 15s$/],
  [
    "a duration without unit, as text",
    'delivery:\n  timeout: "15"\n',
    "2:12",
    /^delivery\.timeout: has no unit: write s behind the number$/,
  ],
  [
    "a duration without unit that no unit mends",
    "delivery:\n  timeout: 9999\n",
    "2:12",
    /^delivery\.timeout: has no unit, and must lie between 100ms and 10m$/,
  ],
  ["days without unit", "retention: { runs: 200 }\n", "1:20", /^retention\.runs: has no unit: write 200d$/],
  ["days without unit, as text", 'retention: { runs: "200" }\n', "1:20", /runs: has no unit: write d behind/],
  [
    "a duration of any length without unit",
    "retention: { raw: 30 }\n",
    "1:19",
    /^retention\.raw: has no unit: write 30s, 30m, 30h or 30d$/,
  ],
  ["a duration of another unit", "delivery:\n  timeout: 15 sec\n", "2:12", /^delivery\.timeout: must be a duration/],
  [
    "a duration out of bounds",
    "delivery:\n  timeout: 2h\n",
    "2:12",
    /^delivery\.timeout: must lie between 100ms and 10m/,
  ],
  ["one of a list", "delivery:\n  schedule: [5s, soon]\n", "2:18", /^delivery\.schedule\[1\]: must be a duration/],
  ["a schedule that is text", "delivery:\n  schedule: 5s\n", "2:13", /^delivery\.schedule: must be a list, not text/],
  ["a size that is none", "receive:\n  body_limit: lots\n", "2:15", /^receive\.body_limit: .*10MB/],
  ["a size out of bounds", "receive:\n  body_limit: 3\n", "2:15", /^receive\.body_limit: .*1kB to 1GB/],
  ["keys that are text", "redact:\n  keys: iban\n", "2:9", /^redact\.keys: must be a list/],
  ["no keys", "skyvern:\n  keys: []\n", "2:9", /^skyvern\.keys: must not be empty/],
  ["a key without name", "skyvern:\n  keys:\n    - key: k\n", "3:7", /^skyvern\.keys\[0\]\.name: is missing/],
  [
    "two keys of one name",
    "skyvern:\n  keys: [{ name: a, key: k }, { name: a, key: l }]\n",
    "2:39",
    /^skyvern\.keys\[1\]\.name: is a duplicate/,
  ],
  ["a bad base URL", "skyvern:\n  base_url: here\n", "2:13", /^skyvern\.base_url: /],
  [
    "reconcile that is true",
    "skyvern:\n  reconcile: true\n",
    "2:14",
    /reconcile: must be a mapping or false, not true or false$/,
  ],
  ["retention that is text", "retention:\n  runs: forever\n", "2:9", /^retention\.runs: must be a duration/],
  ["retention of hours", "retention:\n  runs: 3h\n", "2:9", /^retention\.runs: must lie between 1d and 3650d$/],
  [
    "retention shorter than what is reconciled",
    "skyvern: { reconcile: { lookback: 30d } }\nretention:\n  runs: 29d\n",
    "3:9",
    /^retention\.runs: must not be shorter than skyvern\.reconcile\.lookback \(30d\)$/,
  ],
  ["a hold that is one id", "retention:\n  hold: tsk_1\n", "2:9", /^retention\.hold: must be a list/],
];

describe("faults in relay.yaml", () => {
  it.each(files)(
    "a fault in relay.yaml has its line and column and names the key: %s",
    (_name, yaml, place, message) => {
      const faults = faultsOf({ EMPTY: "" }, yaml);
      expect(faults[0]).toEqual({ where: `relay.yaml:${place}`, message: expect.stringMatching(message) });
      expect(JSON.stringify(faults)).not.toContain(SECRET);
    },
  );

  it("every mistake in relay.yaml is reported once", () => {
    const counts = files.map(([name, yaml]) => [name, faultsOf({ EMPTY: "" }, yaml).length]);
    expect(counts.filter(([, count]) => count !== 1)).toEqual([]);
  });
});

describe("faults", () => {
  it("faults come all at once, from environment and file", () => {
    const yaml = [
      "sinks:",
      "  slack: { kind: slack, token: t, channel: C1 }",
      "  a: { kind: http }",
      "routes:",
      "  - { to: [nobody], when: { status: nope } }",
      "delivery: { timeout: 1, tries: 2 }",
    ];
    const env = { SKYVERN_API_KEY: "", PORT: "x", SMTP_URL: "smtp://h", SLACK_WEBHOOK_URL: "https://hooks.example/x" };
    expect(faultsOf(env, yaml.join("\n")).map(({ where, message }) => `${where} ${message.slice(0, 24)}`)).toEqual([
      "PORT must be a port: a whole ",
      "EMAIL_FROM is missing: SMTP_URL alo",
      "EMAIL_TO is missing: SMTP_URL alo",
      "relay.yaml:2:3 sinks.slack: has the sam",
      "relay.yaml:3:6 sinks.a.url: is missing",
      "relay.yaml:5:12 routes[0].to[0]: names n",
      "relay.yaml:5:37 routes[0].when.status: i",
      "relay.yaml:6:22 delivery.timeout: has no",
      "relay.yaml:6:25 delivery.tries: is an un",
      "SKYVERN_API_KEY is missing: Skyvern sign",
    ]);
  });

  it("faults come as a list, never as a crash, when any value of the example file is missing or of another type", () => {
    const example = readFileSync("relay.example.yaml", "utf8");
    expect(faultsOf({}, example).map(({ where, message }) => `${where} ${message}`)).toContainEqual(
      expect.stringMatching(/^relay\.yaml:11:\d+ .*the variable ACME_SKYVERN_KEY is not set/),
    );
    const document = parseDocument(example);
    const places: (string | number)[][] = [];
    const walk = (node: unknown, path: (string | number)[]): void => {
      if (path.length > 0) places.push(path);
      if (isMap(node)) for (const { key, value } of node.items) walk(value, [...path, String(key)]);
      if (isSeq(node)) for (const [index, item] of node.items.entries()) walk(item, [...path, index]);
    };
    walk(document.contents, []);
    type Tree = { [key: string | number]: unknown };
    const plain = document.toJS() as Tree;
    for (const path of places) {
      for (const value of ["", "${UNSET}", 0, null, [], [null], {}]) {
        const changed = structuredClone(plain);
        const last = path.at(-1) ?? expect.unreachable();
        const parent = path.slice(0, -1).reduce<Tree>((at, key) => at[key] as Tree, changed);
        parent[last] = value;
        // JSON is YAML, and quicker to read.
        const text = JSON.stringify(changed);
        expect(() => load({}, text), `${path.join(".")}: ${JSON.stringify(value)}`).not.toThrow();
      }
    }
  });

  it("faults name every unknown key, not only the first", () => {
    expect(faultsOf({}, "a: 1\nb: 2\n").map(({ where }) => where)).toEqual(["relay.yaml:1:1", "relay.yaml:2:1"]);
  });

  it("a fault of a secret that came from a file names the variable of the file", () => {
    const env = { SINK_URL: "https://x.example", SINK_SECRET_FILE: "s" };
    expect(faultsOf(env, undefined, { s: SECRET })).toEqual([
      { where: "SINK_SECRET_FILE", message: expect.stringContaining("whsec_") },
    ]);
    expect(faultsOf({ SKYVERN_API_KEY: "", SKYVERN_API_KEY_FILE: "k" }, undefined, { k: "\n" })).toEqual([
      { where: "SKYVERN_API_KEY_FILE", message: "names an empty file" },
    ]);
  });

  it("faults name the file as RELAY_CONFIG does", () => {
    const faults = faultsOf({ RELAY_CONFIG: "/etc/relay/prod.yaml" }, undefined, { "/etc/relay/prod.yaml": "a: 1\n" });
    expect(faults.map(({ where }) => where)).toEqual(["/etc/relay/prod.yaml:1:1"]);
  });

  it("faults never show a value that a variable filled in", () => {
    const yaml = [
      "skyvern: { keys: [{ name: a, key: k, kye: '${S}' }], base_url: '${S}' }",
      "sinks: { a: { kind: email, smtp: '${S}', from: '${S}', to: '${S}' }, b: { kind: '${S}' } }",
      "delivery: { timeout: '${S}' }",
      "receive: { body_limit: '${S}' }",
      "routes: [{ to: ['${S}'], when: { status: '${S}' } }]",
    ];
    const faults = faultsOf({ S: SECRET }, yaml.join("\n"));
    expect(faults).toHaveLength(10);
    expect(JSON.stringify(faults)).not.toContain(SECRET);
  });

  it("faults are formatted one a line under their number", () => {
    const loaded = load({ PORT: "x", LOG_LEVEL: "y", HOST: "" });
    const text = loaded.ok ? "" : formatFaults(loaded.faults);
    expect(text.split("\n")).toEqual([
      "2 faults in the configuration:",
      expect.stringMatching(/^ {2}PORT: must be/),
      expect.stringMatching(/^ {2}LOG_LEVEL: must be/),
    ]);
    expect(formatFaults([{ where: "A", message: "b" }])).toBe("1 fault in the configuration:\n  A: b");
  });
});
