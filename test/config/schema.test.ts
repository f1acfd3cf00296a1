import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadConfig, relaySchema } from "../../src/config/config.ts";
import { KINDS } from "../../src/sinks/kinds.ts";
import { WHSEC } from "./source.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

describe("relay.schema.json", () => {
  it("relay.schema.json is what the configuration's schema gives", () => {
    expect(
      JSON.parse(read("relay.schema.json")),
      "relay.schema.json is stale: run scripts/schema and commit it",
    ).toEqual(JSON.parse(JSON.stringify(relaySchema())));
  });

  it("relay.schema.json has every kind of sink, and no key beyond those it lists", () => {
    const text = JSON.stringify(relaySchema());
    const consts = new Set([...text.matchAll(/"const":"(\w+)"/g)].map(([, kind]) => kind));
    expect(consts).toEqual(new Set(KINDS.map(({ kind }) => kind)));
    expect(text).not.toContain('"additionalProperties":{}');
    expect(text.match(/"additionalProperties":false/g)?.length).toBeGreaterThan(8);
  });

  it("relay.schema.json asks for something wherever it offers a choice", () => {
    expect(JSON.stringify(relaySchema())).not.toMatch(/"anyOf":\[\]|[[,]\{\}[\],]/);
  });
});

describe("relay.example.yaml", () => {
  it("relay.example.yaml loads without a fault and points editors at the schema", () => {
    const env = {
      RELAY_CONFIG: "relay.example.yaml",
      ACME_SKYVERN_KEY: "k1",
      UMBRELLA_SKYVERN_KEY: "k2",
      SLACK_BOT_TOKEN: "xoxb-1",
      SMTP_URL: "smtp://mail.example.com",
      CRM_SECRET: WHSEC,
    };
    const loaded = loadConfig({ env, readFile: read });
    expect(loaded).toMatchObject({
      ok: true,
      config: { sinks: [{ name: "ops" }, { name: "finance" }, { name: "crm" }] },
    });
    expect(read("relay.example.yaml").split("\n")[0]).toBe("# yaml-language-server: $schema=./relay.schema.json");
  });
});
