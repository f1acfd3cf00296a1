/** README.md and docs/: their blocks of code, and what is said of each just before it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export const DOCUMENTS: readonly string[] = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
];

/** Read by people as well, and without commands of their own. */
export const MORE_DOCUMENTS: readonly string[] = [
  "CHANGELOG.md",
  ...readdirSync(join(ROOT, "docs/decisions")).map((file) => `docs/decisions/${file}`),
];

/** Documents of which no command can be run here, and why. */
const NOT_RUN: Record<string, string> = {
  "docs/performance.md": "every command is a bench, of minutes",
  "docs/scale.md": "every command is a bench, of minutes",
  "docs/edge.md": "needs an account at Cloudflare; test/edge runs the same in workerd",
};

export interface Block {
  document: string;
  /** Of its first fence. */
  line: number;
  language: string;
  text: string;
  /** From the comment before it: `<!-- not run: needs Fly -->` has `needs Fly`. */
  notRun: string | null;
  /** `<!-- not relay.yaml: Slack's manifest -->` */
  notRelay: string | null;
}

export const read = (document: string): string => readFileSync(join(ROOT, document), "utf8");

export const blocksOf = (document: string): Block[] =>
  [...read(document).matchAll(/(?:<!-- (not run|not relay\.yaml): (.+?) -->\n)?^```(\w*)\n([\s\S]*?)^```$/gm)].map(
    ({ index, 1: mark, 2: reason = "", 3: language = "", 4: text = "" }) => ({
      document,
      line: read(document).slice(0, index).split("\n").length,
      language,
      text,
      notRun: mark === "not run" ? reason : (NOT_RUN[document] ?? null),
      notRelay: mark === "not relay.yaml" ? reason : null,
    }),
  );

export const blocks = (language: string): Block[] =>
  DOCUMENTS.flatMap(blocksOf).filter((block) => block.language === language);

export const nameOf = ({ document, line }: Block): string => `${document}:${line}`;
