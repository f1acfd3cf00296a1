/** The configuration of a Worker, and what is deployed. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { bundleEdge } from "../../scripts/edge/bundle.ts";
import { COMPATIBILITY_DATE } from "../../scripts/edge/workerd.ts";
import { readSettings } from "../../src/edge/settings.ts";

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");

const RIGHT = { SKYVERN_API_KEY: "key", PUBLIC_URL: "https://relay.example.com" };

it("a Worker's configuration is its environment, with relay.yaml in a variable; a binding that is no text is no variable", () => {
  const file = "sinks: { crm: { kind: http, url: 'https://crm.example.com/${HOOK}' } }";
  const { config } = readSettings({ ...RIGHT, RELAY: {}, HOOK: "hook", RELAY_YAML: file });
  expect(config.sinks.map(({ name }) => name)).toEqual(["crm"]);
  expect(config.publicUrl).toBe("https://relay.example.com");
});

it("a Worker's configuration reports every fault at once, with those of variables that mean nothing there", () => {
  const wrong = {
    DATABASE_URL: "sqlite:./relay.db",
    PORT: "80",
    RELAY_YAML: "artifacts: { archive: all }\n",
    LOG_LEVEL: "loud",
  };
  expect(() => readSettings(wrong)).toThrow(
    /LOG_LEVEL[^]*SKYVERN_API_KEY[^]*DATABASE_URL.*unset it[^]*PORT.*unset it[^]*PUBLIC_URL.*the address of this Worker/,
  );
  expect(() => readSettings({ ...RIGHT, RELAY_YAML: "artifacts: { archive: all }\n" })).toThrow(
    /an edge host cannot keep copies/,
  );
});

it("the deploy button asks for a Slack channel's five variables, says what each is, and takes empty ones for none", () => {
  const names = [...read(".dev.vars.example").matchAll(/^([A-Z_]+)=$/gm)].map(([, name = ""]) => name);
  expect(names).toEqual(["SKYVERN_API_KEY", "PUBLIC_URL", "RELAY_TOKEN", "SLACK_BOT_TOKEN", "SLACK_CHANNEL"]);
  const { cloudflare } = JSON.parse(read("package.json")) as { cloudflare: { bindings: object } };
  expect(Object.keys(cloudflare.bindings)).toEqual(names);
  expect(readSettings({ ...RIGHT, RELAY_TOKEN: "", SLACK_BOT_TOKEN: "", SLACK_CHANNEL: "" }).config.sinks).toEqual([]);
});

it("wrangler.jsonc deploys what the tests run, and that is below the smallest limit there is", async () => {
  const deployed = parse(read("wrangler.jsonc").replaceAll(/^\s*\/\/.*$/gm, "")) as Record<string, unknown>;
  expect(deployed).toMatchObject({
    compatibility_date: COMPATIBILITY_DATE,
    no_bundle: true,
    durable_objects: { bindings: [{ name: "RELAY", class_name: "Relay" }] },
    migrations: [{ new_sqlite_classes: ["Relay"] }],
  });
  // 3 MB compressed on a free plan.
  expect(gzipSync(await bundleEdge()).length).toBeLessThan(1_000_000);
});
