/** Parses relay.yaml: text → its value, with variables filled in, and the place of everything in it. */
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type YAMLError,
} from "yaml";
import type { Fault, Path } from "./faults.ts";

export interface YamlFile {
  /** The plain value; `{}` for an empty file. Undefined when the text is not YAML. */
  value: unknown;
  faults: Fault[];
  /** The names of the variables in `${…}`. */
  variables: ReadonlySet<string>;
  /** The place `relay.yaml:12:5` of a value, of a key (`aboutKey`), or of the nearest thing that exists. */
  locate(path: Path, aboutKey?: boolean): string;
}

/**
 * Parses `text` and fills in `${NAME}` and `${NAME:-default}` in values (never in keys). A filled-in value stays text
 * and is not expanded again. `lookup` returns undefined for an unset variable; a variable without value and default is
 * a fault, and so is anything else between `${` and `}`.
 */
export function readYaml(name: string, text: string, lookup: (variable: string) => string | undefined): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const locate = (path: Path, aboutKey = false) => place(findOffset(document, path, aboutKey));
  const syntax: Fault[] = firstMistakes([...document.errors, ...document.warnings], text, lines).map((error) => ({
    where: place(error.pos[0]),
    message: syntaxMessage(error, text),
  }));
  const filling: Fault[] = [];
  const variables = new Set<string>();
  const at = (node: Node, message: string): Fault => ({ where: place(node.range?.[0] ?? 0), message });

  visit(document, {
    Pair(_key, pair) {
      if (isScalar(pair.key) && pair.key.value !== "__proto__") return;
      syntax.push(at(pair.key as Node, "a key must be plain text, and not __proto__"));
    },
    Alias(_key, alias) {
      const fault = at(alias, QUOTE_STAR);
      const isKnown = syntax.some(({ where }) => where === fault.where);
      if (!isKnown && alias.resolve(document) === undefined) syntax.push(fault);
    },
    Scalar(key, scalar) {
      if (key === "key" || typeof scalar.value !== "string") return;
      const filled = fillIn(scalar.value, lookup);
      scalar.value = filled.text;
      for (const variable of filled.variables) variables.add(variable);
      filling.push(...filled.faults.map((message) => at(scalar, message)));
    },
  });
  const value = syntax.length > 0 ? undefined : plain(document);
  if (syntax.length === 0 && value === undefined)
    syntax.push({ where: place(0), message: "there are too many aliases" });
  return { value, faults: [...syntax, ...filling], variables, locate };
}

/** A real file has few aliases; the limit refuses one that explodes. */
function plain(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

interface Filled {
  text: string;
  variables: string[];
  faults: string[];
}

function fillIn(text: string, lookup: (variable: string) => string | undefined): Filled {
  const variables: string[] = [];
  const faults: string[] = [];
  const filled = text.replace(/\$\{([^}]*)(\}?)/g, (_whole, inner: string, close: string) => {
    const [, name, fallback] = (close && /^([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/.exec(inner)) || [];
    if (name === undefined) {
      faults.push(
        "${…} must hold the name of a variable, or ${NAME:-default}; a value that really has ${ in it can come " +
          "from a variable",
      );
      return "";
    }
    variables.push(name);
    const value = lookup(name) ?? fallback;
    if (value === undefined) faults.push(`\${${name}}: the variable ${name} is not set and has no default here`);
    return value ?? "";
  });
  return { text: filled, variables, faults };
}

/** The offset of what `path` names, else of its deepest existing part. */
function findOffset(document: Document, path: Path, aboutKey: boolean): number {
  let node = resolved(document, document.contents);
  let offset = node?.range?.[0] ?? 0;
  for (const [index, step] of path.entries()) {
    const last = index === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!isPair(pair)) return offset;
      const key = pair.key as Node;
      const value = pair.value as Node | null;
      const isEmpty = value === null || (isScalar(value) && value.value === null && !value.source);
      offset = ((last && aboutKey) || isEmpty ? key : value).range?.[0] ?? offset;
      node = resolved(document, value);
    } else if (isSeq(node) && typeof step === "number") {
      const item = node.items[step] as Node | undefined;
      offset = item?.range?.[0] ?? offset;
      node = resolved(document, item ?? null);
    } else {
      return offset;
    }
  }
  return offset;
}

const resolved = (document: Document, node: Node | null): Node | null =>
  isAlias(node) ? (node.resolve(document) ?? null) : node;

const QUOTE_STAR =
  "a value that starts with * must be in quotes (unquoted it is an alias, and there is no such anchor)";

const WRONG_INDENT = "the indentation of this line does not fit the lines above";

/** The parser's own messages may quote the file, and thereby a secret; these do not. */
const SYNTAX: Partial<Record<YAMLError["code"], string>> = {
  BAD_ALIAS: QUOTE_STAR,
  BAD_DQ_ESCAPE: "unknown escape in a text in double quotes; single quotes take a backslash as it is",
  BAD_SCALAR_START: "a value that starts with @, `, % or | must be in quotes",
  BLOCK_AS_IMPLICIT_KEY: "there is a second colon in the line; put a value with a colon in quotes",
  DUPLICATE_KEY: "duplicate key",
  MISSING_CHAR: "a quote, bracket, comma or colon is missing",
  MULTIPLE_DOCS: "the file must hold one document, without a second ---",
  TAB_AS_INDENT: "indent with spaces, not with a tab",
  TAG_RESOLVE_FAILED: "a value that starts with ! must be in quotes (unquoted it is a tag)",
  UNEXPECTED_TOKEN: "unexpected text; put a value with { } [ ] , # or : in quotes",
};
function syntaxMessage(error: YAMLError, text: string): string {
  if (isIndentation(error, text)) return WRONG_INDENT;
  const restOfLine = text.slice(error.pos[0]).split("\n")[0] ?? "";
  if (error.code === "BLOCK_AS_IMPLICIT_KEY" && !/:(\s|$)/.test(restOfLine)) {
    return "the next line is indented deeper, so it counts as part of this value; give both lines one indentation";
  }
  return SYNTAX[error.code] ?? "this is not valid YAML";
}

/** Text that stands where its line begins and is not expected there, or that should have gone on in the line above. */
function isIndentation({ code, pos: [start] }: YAMLError, text: string): boolean {
  if (code === "BAD_INDENT") return true;
  const lineStart = text.lastIndexOf("\n", start - 1) + 1;
  const isFirst = /^ *$/.test(text.slice(lineStart, start));
  return isFirst && (code === "UNEXPECTED_TOKEN" || (code === "MISSING_CHAR" && /^ +\S/.test(text.slice(lineStart))));
}

/** One mistake makes the parser stumble again in its line, and after a wrong indentation in every line below. */
function firstMistakes(errors: readonly YAMLError[], text: string, lines: LineCounter): YAMLError[] {
  const kept: YAMLError[] = [];
  const lineOf = ({ pos }: YAMLError): number => lines.linePos(pos[0]).line;
  for (const error of errors) {
    if (kept.some((one) => isIndentation(one, text) || lineOf(one) === lineOf(error))) continue;
    kept.push(error);
  }
  return kept;
}
