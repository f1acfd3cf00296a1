/** Mistakes that are no fault of the schema, and would have no word without a look at them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readTrustedFile } from "../../src/app/trusted-file.ts";
import { aFolder } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { configOf, faultsOf, load } from "./source.ts";

const warningsOf = (...source: Parameters<typeof load>): string[] => {
  const loaded = load(...source);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults));
  return loaded.warnings;
};

const utf32 = (text: string): Buffer =>
  Buffer.from(Uint32Array.from(text, (character) => character.codePointAt(0) ?? 0).buffer);

describe("relay.yaml that is not UTF-8", () => {
  const check = async (bytes: Uint8Array) => {
    const file = join(aFolder(), "relay.yaml");
    writeFileSync(file, bytes);
    const { code, stderr } = await runCommand(["check"], { SKYVERN_API_KEY: "k", RELAY_CONFIG: file });
    return { code, stderr: stderr.replaceAll(file, "relay.yaml") };
  };
  const text = "# Rechnungen für Köln\nroutes:\n  - { name: Münster, to: [] }\n";

  it.each([
    ["Windows-1252", Buffer.from(text, "latin1"), "relay.yaml:1:15: it is not UTF-8: save it as UTF-8"],
    [
      "UTF-16",
      Buffer.from(`\uFEFF${text}`, "utf16le"),
      "relay.yaml:1:1: it is not UTF-8, but UTF-16: save it as UTF-8",
    ],
    ["UTF-16 without a mark", Buffer.from("routes: []\n", "utf16le"), "relay.yaml:1:2: it is not UTF-8, but UTF-16"],
    ["UTF-32", utf32(`\uFEFF${text}`), "relay.yaml:1:1: it is not UTF-8, but UTF-32: save it as UTF-8"],
    ["UTF-32, big end first", utf32(`\uFEFF${text}`).swap32(), "relay.yaml:1:3: it is not UTF-8, but UTF-32"],
    ["UTF-32 without a mark", utf32("routes: []\n"), "relay.yaml:1:2: it is not UTF-8, but UTF-32"],
    ["Windows-1252 with an ï", Buffer.from("# naïv\n", "latin1"), "relay.yaml:1:5: it is not UTF-8: save it as UTF-8"],
    [
      "broken in its third line",
      Buffer.concat([Buffer.from("# ä€🎉\n#\n# ü 東 "), Buffer.from([0xc3, 0x28, 0x0a])]),
      "relay.yaml:3:7: it is not UTF-8: save it as UTF-8",
    ],
  ])("relay.yaml is refused with the place where it is %s", async (_what, bytes, message) => {
    const { code, stderr } = await check(bytes);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  it("relay.yaml and a secret's file are read without their byte order mark", async () => {
    expect((await check(Buffer.from(`\uFEFF${text}`))).code).toBe(0);
    const file = join(aFolder(), "key");
    writeFileSync(file, "\uFEFFsecret\n");
    expect(readTrustedFile(file)).toBe("secret\n");
  });
});

describe("quotes that a shell would have taken off", () => {
  it.each(["'", '"'])(
    "quotes like %s, which a shell would have taken off, are noticed for every variable that something reads",
    (quote) => {
      const file = 'sinks: { ops: { kind: slack, token: "${OPS_TOKEN}", channel: C0123ABCD } }';
      const env = {
        SKYVERN_API_KEY: "k",
        RELAY_TOKEN: "a-token-of-the-tests",
        OTEL_SERVICE_NAME: "relay",
        SMTP_URL: "smtp://mail.example.com",
        EMAIL_FROM: "a@example.com",
        EMAIL_TO: "b@example.com",
        OPS_TOKEN: "xoxb-1",
      };
      const noticed = Object.entries(env).flatMap(([name, value]) => {
        const loaded = load({ ...env, [name]: `${quote}${value}${quote}` }, file);
        const said = loaded.ok ? loaded.warnings : loaded.faults.map(({ where, message }) => `${where} ${message}`);
        return said.some((one) => one.startsWith(name) && one.includes("docker --env-file")) ? [name] : [];
      });
      const onlyInFile = load({ ...env, OPS_TOKEN: `${quote}xoxb-1${quote}` }, file);
      expect(
        noticed.concat(onlyInFile.ok ? [] : ["OPS_TOKEN"]).filter((name, i, all) => all.indexOf(name) === i),
      ).toEqual(Object.keys(env));
    },
  );

  it("a fault names the quotes around a value where they are its cause", () => {
    const { PUBLIC_URL, PORT } = { PUBLIC_URL: '"https://relay.example.com"', PORT: "'8080'" };
    expect(faultsOf({ PUBLIC_URL, PORT })).toEqual([
      { where: "PORT", message: expect.stringMatching(/must be a port.*; the value stands in quotes.*take them out/) },
      { where: "PUBLIC_URL", message: expect.stringContaining("docker --env-file keeps them") },
    ]);
  });

  it("a fault names the quotes around a file's name where they are why it cannot be found", async () => {
    const env = { SKYVERN_API_KEY_FILE: '"/run/secrets/key"', RELAY_CONFIG: "'relay.yaml'" };
    const { code, stderr } = await runCommand(["check"], env);
    expect(code).toBe(2);
    for (const name of Object.keys(env))
      expect(stderr).toMatch(new RegExp(`${name}: names a file that cannot be read.*; the value stands in quotes`));
  });

  it("quotes inside a value are not noticed", () => {
    expect(warningsOf({ OTEL_SERVICE_NAME: 'the "relay"' })).toEqual([]);
  });
});

describe("a route that no run can take", () => {
  const routes = (when: string): string =>
    `sinks: { a: { kind: http, url: "https://a.example", secret: "whsec_${Buffer.alloc(32, 7).toString("base64")}" } }
routes: [{ name: r, when: ${when}, to: [a] }]`;

  it.each([
    ["{ channel: bill/ing }", '"bill/ing": a channel has only letters'],
    ['{ channel: ["ok", "a b"] }', '"a b": a channel has only letters'],
    ['{ status: ["!*"] }', "!* excludes every value"],
    ['{ title: "!*" }', "!* excludes every value"],
    ['{ status: [failed, "!fail*"] }', "its values exclude every final status"],
    ['{ status: ["!completed", "!failed", "!t*", "!canceled"] }', "its values exclude every final status"],
    ['{ run_type: [task_v2, "!task*"] }', '"task_v2": "!task*" excludes it'],
    ['{ workflow: ["Pay*", "!Pay*"] }', '"Pay*": "!Pay*" excludes it'],
    ['{ attempts: "<1" }', "attempts count from 1"],
    ["{ attempts: 0 }", "attempts count from 1"],
    ["{ run_type: workflow }", '"workflow": Skyvern\'s run type of a workflow is workflow_run'],
    ["{ run_type: [task_v2, Task] }", '"Task": Skyvern\'s run types of tasks are task_v1, task_v2, …'],
    ["{ run_type: task-v2 }", '"task-v2": a run type has only letters, digits and _'],
  ])("a route that no run can match is noted: %s", (when, why) => {
    const noted = warningsOf({}, routes(when));
    expect(noted).toHaveLength(1);
    expect(noted[0]).toContain('the route "r" can never match by ');
    expect(noted[0]).toContain(why);
  });

  it("a route by the organization of no key is noted, as long as each key has one", () => {
    const file = (key: string) => `${routes("{ organization: o_2 }")}\nskyvern: { keys: [${key}] }`;
    const one = "{ name: a, key: x, organization: o_1 }";
    expect(warningsOf({ SKYVERN_API_KEY: undefined }, file(one))[0]).toContain("no key is of such an organization");
    expect(warningsOf({ SKYVERN_API_KEY: undefined }, file(`${one}, { name: b, key: y }`))).toEqual([]);
  });

  it("a route behind one that stops every run is noted", () => {
    const file = routes("{}").replace("to: [a] }]", "to: [a], stop: true }, { name: late, to: [a] }]");
    expect(warningsOf({}, file)).toEqual(['the route "late" is never reached: "r" stops every run before']);
  });

  it.each([
    '{ channel: "bill*" }',
    '{ run_type: ["workflow*", task_v9, "!task"] }',
    "{ status: failed }",
    '{ title: ["a", "!b"] }',
    '{ parent: "!*", tags: "!*" }',
    '{ attempts: ">1" }',
    "{ organization: o_9 }",
  ])("a route that a run can match is not noted: %s", (when) => {
    expect(configOf({}, routes(when)).routes).toHaveLength(1);
    expect(warningsOf({}, routes(when))).toEqual([]);
  });
});

describe("an address that the guard will refuse", () => {
  const yaml = (sink: string) => `sinks:\n  mine: { kind: ${sink} }\n`;

  it.each([
    [
      "http, url: http://127.0.0.1:18390/hook",
      "relay.yaml:2:28: sinks.mine.url: 127.0.0.1 is not a public address (loopback)",
      "127.0.0.1/32",
    ],
    [
      "http, url: 'http://10.1.2.3/hook'",
      "relay.yaml:2:28: sinks.mine.url: 10.1.2.3 is not a public address (private)",
      "10.1.2.3/32",
    ],
    ["http, url: 'http://[fd00::1]/hook'", "relay.yaml:2:28: sinks.mine.url: fd00::1 is not", "fd00::1/128"],
    ["http, url: 'http://2130706433/'", "relay.yaml:2:28: sinks.mine.url: 127.0.0.1 is not", "127.0.0.1/32"],
    [
      "http, url: 'http://crm/hook'",
      "relay.yaml:2:28: sinks.mine.url: crm is not a public name",
      "the network it is in",
    ],
    [
      "slack, token: xoxb-1, channel: C1, api_url: 'http://127.0.0.1:1/api/'",
      "sinks.mine.api_url: 127.0.0.1",
      "127.0.0.1/32",
    ],
    ["slack, webhook_url: 'http://192.168.1.2/x'", "sinks.mine.webhook_url: 192.168.1.2", "192.168.1.2/32"],
  ])("a sink's address that the guard will refuse is noted with its place: %s", (sink, note, mend) => {
    const notes = warningsOf({}, yaml(sink));
    expect(notes).toEqual([expect.stringContaining(note)]);
    expect(notes[0]).toContain(mend);
  });

  it("an address that the guard will refuse is noted by its variable", () => {
    expect(warningsOf({ SINK_URL: "http://127.0.0.1/x" })).toEqual([expect.stringMatching(/^SINK_URL: 127\.0\.0\.1 /)]);
    expect(warningsOf({ SINK_URL_FILE: "url" }, undefined, { url: "http://127.0.0.1/x" })).toEqual([
      expect.stringMatching(/^SINK_URL_FILE: 127\.0\.0\.1 /),
    ]);
  });

  it.each([
    [{ ALLOW_PRIVATE_NETWORKS: "127.0.0.1" }, "http, url: http://127.0.0.1/x"],
    [{ ALLOW_PRIVATE_NETWORKS: "10.0.0.0/8" }, "http, url: http://crm/x"],
    [{ SLACK_API_URL: "http://127.0.0.1:1/api/" }, "slack, token: xoxb-1, channel: C1"],
    [{}, "http, url: https://crm.example.com/x"],
    [{}, "http, url: http://93.184.216.34/x"],
  ])("an address that the guard allows is not noted: %j %s", (env, sink) => {
    expect(warningsOf(env, yaml(sink))).toEqual([]);
  });
});

it("bytes that are kept longer than their runs are noted, unless the default does that", () => {
  expect(warningsOf({}, "retention: { runs: 30d, raw: 200d }")).toEqual([
    "retention.raw (200d) is longer than retention.runs (30d): received bytes go with their run",
  ]);
  for (const yaml of [
    "{ runs: 30d }",
    "{ runs: 30d, raw: false }",
    "{ runs: false, raw: 200d }",
    "{ runs: 30d, raw: 30d }",
  ]) {
    expect(warningsOf({}, `retention: ${yaml}`)).toEqual([]);
  }
});

it("two sinks that send to the same place are noted", () => {
  const env = { SLACK_BOT_TOKEN: "xoxb-1", SLACK_CHANNEL: "C0123ABCD" };
  const ops = (channel: string) =>
    `sinks: { ops: { kind: slack, token: "\${SLACK_BOT_TOKEN}", channel: ${channel} }, x: { kind: http, url: "https://x.example/" } }`;
  expect(warningsOf(env, ops("C0123ABCD"))).toEqual([
    "the sinks slack and ops are the same: a run that goes to both arrives twice",
  ]);
  expect(warningsOf(env, ops("C0000000"))).toEqual([]);
});
