/** What is shipped for container hosts is about files and variables that are there. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { EnvironmentSchema } from "../../src/config/environment.ts";
import { KINDS } from "../../src/sinks/kinds.ts";

const root = join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const KNOWN = new Set([
  "RELAY_CONFIG",
  ...Object.keys(EnvironmentSchema.shape),
  ...KINDS.flatMap(({ shortcut }) => Object.keys(shortcut?.variables ?? {})),
]);

interface Compose {
  services: { relay: { image?: string; environment: Record<string, string>; volumes?: string[] } };
}

it.each(["ops/compose.yaml", "ops/compose.skyvern.yaml"])("%s sets variables that the relay knows", (file) => {
  const { relay } = (parse(read(file), { logLevel: "silent" }) as Compose).services;
  expect(Object.keys(relay.environment).filter((name) => !KNOWN.has(name))).toEqual([]);
});

it("ops/compose.yaml keeps the database of the image on a volume, and passes every sink's variables", () => {
  const { relay } = (parse(read("ops/compose.yaml")) as Compose).services;
  expect(relay.volumes).toEqual(["relay_data:/data"]);
  const sinks = KINDS.flatMap(({ shortcut }) => Object.keys(shortcut?.variables ?? {}));
  expect(sinks.filter((name) => !(name in relay.environment))).toEqual([]);
});

it("the Dockerfile copies and starts what is there", () => {
  const lines = read("Dockerfile").split("\n");
  const copied = lines.flatMap((text) => (/^COPY (?!--)(.+) \S+$/.exec(text)?.[1] ?? "").split(" ")).filter(Boolean);
  expect(copied.filter((name) => !existsSync(join(root, name)))).toEqual([]);
  const program = /^ENTRYPOINT \["\/app\/(.+)"\]$/m.exec(read("Dockerfile"))?.[1] ?? "";
  expect(statSync(join(root, program)).mode & 0o111).toBeGreaterThan(0);
});
