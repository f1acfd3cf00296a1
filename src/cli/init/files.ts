/** The files that `init` writes: `.env`, readable only by its owner, and `relay.yaml`. Each is complete or absent. */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { writeRemedy } from "../write-remedy.ts";

export const ENV_FILE = ".env";
export const YAML_FILE = "relay.yaml";

export interface NewFile {
  path: string;
  text: string;
  mode: number;
}

/** Formats `KEY=value` lines that reading `.env` returns unchanged. Throws for a value that cannot be written there. */
export function formatEnv(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${quoteValue(value)}`);
  const text = `# Written by skyvern-relay init. It holds secrets: keep it out of version control.\n${lines.join("\n")}\n`;
  const read = parseEnv(text);
  const wrong = Object.keys(values).find((name) => read[name] !== values[name]);
  if (wrong !== undefined) throw new Error(`${wrong} holds characters that cannot stand in ${ENV_FILE}`);
  return text;
}

function quoteValue(value: string): string {
  if (/^[\w@%+:,./~=?&;-]*$/.test(value)) return value;
  const quote = ["'", '"', "`"].find((one) => !value.includes(one)) ?? "";
  return `${quote}${value}${quote}`;
}

export const RELAY_YAML = `# Routes choose the sinks of a run. Without routes every final run goes to every sink.
# docs/configuration.md lists every key.
# routes:
#   - name: failures
#     when: { status: [failed, terminated, timed_out] }
#     to: [ops]

# What is removed when it is old; false: never.
retention: { runs: 365d, raw: 90d }
`;

/** The variables of the folder's `.env`; none where there is no such file. */
export function readEnv(folder: string): NodeJS.Dict<string> {
  const path = join(folder, ENV_FILE);
  return existsSync(path) ? parseEnv(readFileSync(path, "utf8")) : {};
}

/** Those of the files that exist already. */
export const existing = (folder: string): string[] =>
  [ENV_FILE, YAML_FILE].filter((name) => existsSync(join(folder, name)));

/** Writes all files under temporary names first, so that a full disk leaves nothing half-written. Throws what to do. */
export function writeFiles(files: readonly NewFile[]): void {
  const ready: { from: string; to: string }[] = [];
  try {
    for (const { path, text, mode } of files) {
      const from = `${path}.${randomUUID()}`;
      ready.push({ from, to: path });
      writeFileSync(from, text, { flag: "wx", mode, flush: true });
    }
    for (const { from, to } of ready) renameSync(from, to);
  } catch (error) {
    const remedy = writeRemedy(error);
    if (remedy === null) throw error;
    const [first] = files;
    throw new Error(`${dirname(first?.path ?? ".")} cannot be written to: ${remedy}`, { cause: error });
  } finally {
    for (const { from } of ready) rmSync(from, { force: true });
  }
}
