import { expect, it } from "vitest";
import { compareConfigs } from "../../src/config/changes.ts";
import { loadConfig, type Config } from "../../src/config/config.ts";

function configOf(file: string, env: Record<string, string> = {}): Config {
  const loaded = loadConfig({
    env: { SKYVERN_API_KEY: "k", ...env },
    readFile: (path) => {
      if (path === "relay.yaml") return file;
      throw Object.assign(new Error("no"), { code: "ENOENT" });
    },
  });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

const FILE = "sinks: { crm: { kind: http, url: https://a.example/, headers: { authorization: one } } }\n";

it("the same configuration in the same text, or in other words, is no change", () => {
  expect(compareConfigs(configOf(FILE), configOf(`# a comment\n${FILE}`))).toMatchObject({ changed: [], fixed: [] });
});

it.each([
  [FILE.replace("a.example", "b.example"), ["sinks"]],
  // A secret is part of it, though it is never shown.
  [FILE.replace("one", "two"), ["sinks"]],
  [`${FILE}routes: [{ to: crm }]\n`, ["routes"]],
  [`${FILE}delivery: { schedule: [1s] }\nredact: { keys: [iban] }\n`, ["delivery", "redactKeys"]],
  [`${FILE}skyvern: { reconcile: false, confirm: true }\n`, ["confirm", "reconcile"]],
])("a change to %j names the keys that it changes", (file, names) => {
  const { changed, fixed, config } = compareConfigs(configOf(FILE), configOf(file));
  expect({ changed: changed.toSorted(), fixed }).toEqual({ changed: names, fixed: [] });
  expect(config).toEqual(configOf(file));
});

it("a change of what a process holds for its life is named, and the running value stays", () => {
  const running = configOf(FILE, { PORT: "8080", DATABASE_URL: "sqlite:./a.db", PUBLIC_URL: "https://a.example" });
  const next = configOf(`${FILE}routes: [{ to: crm }]\n`, {
    PORT: "9090",
    DATABASE_URL: "sqlite:./b.db",
    PUBLIC_URL: "https://relay.example.com",
  });
  const { config, changed, fixed } = compareConfigs(running, next);
  expect(changed).toEqual(["routes"]);
  expect(fixed.toSorted()).toEqual(["database", "port", "publicUrl"]);
  expect(config).toMatchObject({ port: 8080, publicUrl: "https://a.example", routes: [{ to: ["crm"] }] });
  expect(config.database).toEqual(running.database);
});
