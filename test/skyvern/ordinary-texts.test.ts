/** What people have to read stays readable: in 500 ordinary lines nothing is masked, wherever they stand. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createRedact } from "../../src/skyvern/redact.ts";

const redact = createRedact();
const linesOf = (file: string): string[] =>
  readFileSync(new URL(file, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "");

/** Numbers, addresses, URLs, logs, commands, code: without any name of a secret. */
const PLAIN = linesOf("ordinary-texts.txt");
/** Prose, settings, commands and code that speak of tokens, keys and passwords, and hold none. */
const ABOUT_SECRETS = linesOf("ordinary-texts-about-secrets.txt");

const ANYWHERE: ((line: string) => string)[] = [
  (line) => line,
  (line) => JSON.stringify({ output: { text: line } }),
  (line) => JSON.stringify({ failure_reason: line, outputs: ["first", line] }),
  (line) => JSON.stringify({ output: JSON.stringify({ text: line }) }),
  (line) => JSON.stringify({ output: `Before it.\n${line}\nAfter it.` }),
  (line) => JSON.stringify({ output: line.replace(/[ =:&?{}"]/g, encodeURIComponent) }),
];
/** In parameters a name alone makes what follows it a secret. */
const AMONG_PARAMETERS: ((line: string) => string)[] = [
  (line) => JSON.stringify({ parameters: { note: line, list: [line] } }),
  (line) => JSON.stringify({ output: { [line]: 1 } }),
];

const maskedIn = (lines: readonly string[], places: readonly ((line: string) => string)[]): string[] =>
  lines.flatMap((line) => places.map((place) => place(line))).filter((body) => redact(body).text !== body);

it("the corpus has 500 lines, each of them once", () => {
  const lines = [...PLAIN, ...ABOUT_SECRETS];
  expect(lines.length).toBeGreaterThanOrEqual(500);
  expect(new Set(lines).size).toBe(lines.length);
});

it("nothing is masked in ordinary lines", () => {
  expect(maskedIn(PLAIN, [...ANYWHERE, ...AMONG_PARAMETERS])).toEqual([]);
});

it("nothing is masked in ordinary lines that speak of secrets", () => {
  expect(maskedIn(ABOUT_SECRETS, ANYWHERE)).toEqual([]);
});

it("nothing is masked in all ordinary lines together, as one text that is no JSON", () => {
  const text = [...PLAIN, ...ABOUT_SECRETS].join("\n");
  expect(redact(text).text).toBe(text);
});

it("numbers that count tokens stay readable among parameters", () => {
  const body = JSON.stringify({ parameters: { max_tokens: 4096, token_type: "bearer", password_field: "#pw" } });
  expect(redact(body).text).toBe(body);
});

it.each([
  "https://hunter22@h.example/",
  "Basic dXNlcjpwYXNzd29yZA==",
  'headers: {"content-type":"text/html","x-tenant":"acme"}',
  "headers: {'cookie': 'a=b', 'accept': '*/*'}",
  'request_headers: {"content-type":{"x-tenant":"acme"}}',
  "--password hunter",
  "curl -u bob:hunter22 https://h.example/",
  "password=hunter&user=bob",
  "xoxb-12345678-abc",
])("a secret that looks like an ordinary text is masked: %s", (text) => {
  for (const body of [text, JSON.stringify({ output: text })]) expect(redact(body).text).toContain("[redacted]");
});
