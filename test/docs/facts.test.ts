/** What documents name is there: log events, metrics, calls of the API, commands and their options. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { parseJson, type JsonObject } from "../../src/platform/json.ts";
import { DOCUMENTS, MORE_DOCUMENTS, read, ROOT } from "./documents.ts";

const source = globSync("src/**/*.ts", { cwd: ROOT })
  .map((file) => readFileSync(join(ROOT, file), "utf8"))
  .join("\n");
const keys = read("relay.schema.json");

/** Each match of the pattern's first group in the documents, as `document: match`. */
const named = (pattern: RegExp): { where: string; name: string }[] =>
  DOCUMENTS.flatMap((document) =>
    [...new Set([...read(document).matchAll(pattern)].map(([, name = ""]) => name))].map((name) => ({
      where: `${document}: ${name}`,
      name,
    })),
  );

async function output(...args: string[]): Promise<string> {
  let text = "";
  const stdout = (more: string) => void (text += more);
  const shell = { env: {}, stdout, stderr: stdout, stopped: new AbortController().signal, terminal: null };
  await runCli(args, shell as unknown as Parameters<typeof runCli>[1]);
  return text;
}

describe("names in the documents", () => {
  it("the documents name only log events that the relay writes", () => {
    const isKeyOrFile = (name: string) =>
      existsSync(join(ROOT, name)) ||
      name.endsWith(".json") ||
      name.split(".").every((part) => keys.includes(`"${part}"`));
    const isLogged = (name: string): boolean => {
      const [subject = "", verb = ""] = name.split(".");
      return source.includes(`"${name}"`) || (source.includes(`\`${subject}.\${`) && source.includes(`"${verb}"`));
    };
    const events = named(/`([a-z_]+\.[a-z_]+)`/g).filter(({ name }) => !isKeyOrFile(name));
    expect(events.length).toBeGreaterThan(10);
    expect(events.filter(({ name }) => !isLogged(name)).map(({ where }) => where)).toEqual([]);
  });

  it("the documents name only metrics that the relay has", () => {
    const metrics = named(/\b(skyvern_relay_[a-z_]+)/g);
    expect(metrics.length).toBeGreaterThan(2);
    expect(metrics.filter(({ name }) => !source.includes(`"${name}"`)).map(({ where }) => where)).toEqual([]);
  });

  it("the documents name only calls that the API has", async () => {
    const { paths } = parseJson(await output("openapi")) as { paths: JsonObject };
    const calls = named(/(?:GET|POST) (\/[\w./{}]+)/g);
    expect(calls.length).toBeGreaterThan(10);
    expect(calls.filter(({ name }) => !(name in paths)).map(({ where }) => where)).toEqual([]);
  });

  it("the documents name only commands and options that there are", async () => {
    const calls = named(/skyvern-relay ((?!is\b)[a-z-]+(?: [^`\n#|]*)?)/g);
    expect(calls.length).toBeGreaterThan(20);
    const missing: string[] = [];
    const commands = await output("--help");
    for (const { where, name } of calls) {
      const [command = "", ...rest] = name.trim().split(/\s+/);
      if (!commands.includes(`\n  ${command} `)) missing.push(where);
      const help = await output(command, "--help");
      for (const [option] of rest.join(" ").matchAll(/--[a-z][a-z-]*/g))
        if (!help.includes(option)) missing.push(where);
    }
    expect(missing).toEqual([]);
  });
});

it("the sections of the contract that comments name are in docs/skyvern.md", () => {
  const sections = new Set([...read("docs/skyvern.md").matchAll(/^## (\d+) /gm)].map(([, number]) => number));
  const cited = globSync("{src,test}/**/*.ts", { cwd: ROOT }).flatMap((file) =>
    [...read(file).matchAll(/contract[\s*]+§(\d+)/gi)].map(([, number = ""]) => ({ file, number })),
  );
  expect(cited.length).toBeGreaterThan(30);
  expect(cited.filter(({ number }) => !sections.has(number))).toEqual([]);
});

it.each([...DOCUMENTS, ...MORE_DOCUMENTS])("%s wraps at 120 characters, but for tables and pictures", (document) => {
  const long = read(document)
    .split("\n")
    .flatMap((line, at) => (line.length > 120 && !/^(\||!\[)/.test(line) ? [`${document}:${at + 1}`] : []));
  expect(long).toEqual([]);
});
