/** Faults of the configuration, and zod's issues in words for the person who wrote it. */
import { z } from "zod";
import { plural } from "../platform/amounts.ts";

/** One fault. `where` is a variable (`PORT`) or a place in the file (`relay.yaml:12:5`). It never holds a secret. */
export interface Fault {
  where: string;
  message: string;
}

/** One message that lists every fault, for standard error. */
export function formatFaults(faults: readonly Fault[]): string {
  return [
    `${plural(faults.length, "fault")} in the configuration:`,
    ...faults.map(({ where, message }) => `  ${where}: ${message}`),
  ].join("\n");
}

export type Path = (string | number)[];

/** One issue of zod, with the single place it is about. */
export interface ConfigFinding {
  path: Path;
  message: string;
  /** It is about the key at `path`, not about its value. */
  aboutKey: boolean;
}

/** `sinks.ops.token`, `routes[0].to` */
export const pathText = (path: Path): string =>
  path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : text ? `${text}.${step}` : step),
    "",
  );

/** Flattens zod's issues: one for each unknown key, and for a union those of the branch that came closest. */
export function toFindings(issues: readonly z.core.$ZodIssue[], base: Path = []): ConfigFinding[] {
  return issues.flatMap((issue) => {
    const path = [...base, ...(issue.path as Path)];
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        path: [...path, key],
        message: withGuess(key, issue.message),
        aboutKey: true,
      }));
    }
    if (issue.code === "invalid_key") {
      return [{ path, message: issue.issues[0]?.message ?? issue.message, aboutKey: true }];
    }
    const closest = issue.code === "invalid_union" ? issue.errors.find(isInside) : undefined;
    return closest ? toFindings(closest, path) : [{ path, message: issue.message, aboutKey: false }];
  });
}

const UNKNOWN_KEY = "is an unknown key; expected one of ";

/** zod has one message for all unknown keys of a mapping. */
function withGuess(key: string, message: string): string {
  const guess = nearestKey(key, message.slice(UNKNOWN_KEY.length).split(", "));
  return guess === null
    ? message
    : message.replace(";", `: did you mean ${guess}?`).replace("? expected", "? Expected");
}

/** The known key that a misspelled one was probably meant to be, or null. Case, `-` and `_` make no difference. */
function nearestKey(key: string, known: readonly string[]): string | null {
  const most = Math.max(1, Math.floor(key.length / 3));
  const [best] = known
    .map((name) => ({ name, edits: countEdits(bare(key), bare(name)) }))
    .filter(({ edits }) => edits <= most)
    .toSorted((a, b) => a.edits - b.edits);
  return best?.name ?? null;
}

const bare = (key: string): string =>
  key
    .toLowerCase()
    .replaceAll(/[-_\s]/g, "")
    .slice(0, 64);

/** Letters added, left out, changed, or swapped with the next one. */
function countEdits(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_none, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? (before[j - 2] ?? 0) + 1 : Infinity;
      row.push(Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, changed, swapped));
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/** The branch accepts the value's shape and rejects only something in it, or its text. */
const isInside = (issues: readonly z.core.$ZodIssue[]): boolean =>
  issues.every(({ code, path }) => path.length > 0 || !WRONG_SHAPE.has(code));
const WRONG_SHAPE = new Set<string>(["invalid_type", "invalid_value", "invalid_union"]);

/** zod's error map for the configuration: it says what was expected and never quotes what came. */
export const wording: z.core.$ZodErrorMap = (issue) => {
  const missing = absence(issue.code === "invalid_union" ? discriminated(issue) : issue.input);
  switch (issue.code) {
    case "invalid_type":
      return missing ?? mustBe([withArticle(issue.expected)], issue.input);
    case "invalid_value":
      return missing ?? mustBeOneOf(issue.values);
    case "invalid_union":
      return (
        missing ??
        (Array.isArray(issue["options"]) ? mustBeOneOf(issue["options"]) : mustBe(branches(issue), issue.input))
      );
    case "unrecognized_keys":
      return `${UNKNOWN_KEY}${knownKeys(issue).join(", ")}`;
    case "too_small":
      if (issue.origin === "number" || issue.origin === "int") return `must be at least ${issue.minimum}`;
      return issue.minimum === 1 ? "must not be empty" : `must have at least ${issue.minimum} ${unit(issue.origin)}`;
    case "too_big":
      if (issue.origin === "number" || issue.origin === "int") return `must be at most ${issue.maximum}`;
      return `must have at most ${issue.maximum} ${unit(issue.origin)}`;
    default:
      return undefined;
  }
};

const absence = (value: unknown): string | undefined =>
  value === undefined ? "is missing" : value === null ? "has no value" : undefined;

function discriminated(issue: z.core.$ZodRawIssue): unknown {
  const key = issue["discriminator"];
  return typeof key === "string" ? (issue.input as Record<string, unknown>)[key] : issue.input;
}

const mustBeOneOf = (options: readonly unknown[]): string => `must be ${listed(options.map(String))}`;

/** Text that YAML reads as another type, such as `404` or `yes`, needs quotes. */
function mustBe(expected: string[], input: unknown): string {
  const isBare = typeof input === "number" || typeof input === "boolean";
  const hint = isBare && expected.includes("text") ? "; put it in quotes" : "";
  return `must be ${listed(expected)}, not ${withArticle(typeName(input))}${hint}`;
}

const listed = (texts: string[]): string => texts.join(", ").replace(/, ([^,]*)$/, " or $1");

/** What the branches of a union expect. */
const branches = ({ errors }: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>): string[] => [
  ...new Set(
    errors
      .flat()
      .filter(({ path }) => path.length === 0)
      .flatMap((issue) => {
        if (issue.code === "invalid_value") return issue.values.map(String);
        return issue.code === "invalid_type" ? [withArticle(issue.expected)] : [];
      }),
  ),
];

const knownKeys = ({ inst }: z.core.$ZodRawIssue): string[] =>
  inst instanceof z.ZodObject ? Object.keys(inst.shape) : [];

const unit = (origin: string): string => (origin === "string" ? "characters" : "entries");

const typeName = (value: unknown): string => (Array.isArray(value) ? "array" : typeof value);

const TYPE_NAMES: Record<string, string> = {
  array: "a list",
  boolean: "true or false",
  int: "a whole number",
  number: "a number",
  object: "a mapping",
  record: "a mapping",
  string: "text",
};
const withArticle = (type: string): string => TYPE_NAMES[type] ?? type;
