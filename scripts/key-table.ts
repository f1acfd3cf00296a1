/** The table of every key of relay.yaml in docs/configuration.md, out of the schema that reads it. */

interface Node {
  description?: string;
  default?: unknown;
  const?: string;
  properties?: Record<string, Node>;
  additionalProperties?: Node | boolean;
  items?: Node;
  anyOf?: Node[];
  oneOf?: Node[];
}

const BEGIN = "<!-- keys: written by scripts/schema -->\n";
const END = "<!-- end of keys -->\n";

/** The document with its table made anew. */
export function withKeyTable(document: string, schema: object): string {
  const [before, rest = ""] = document.split(BEGIN);
  const [, after] = rest.split(END);
  if (before === undefined || after === undefined)
    throw new Error("docs/configuration.md has lost the marks of its table");
  const rows = [...new Set(keysOf(schema, ""))].map((row) => `${row}\n`);
  return [before, BEGIN, "| key | default | meaning |\n| --- | --- | --- |\n", ...rows, END, after].join("");
}

/** `kind` is that of the sink whose keys these are. */
function keysOf(node: Node, path: string, kind?: string): string[] {
  const own = Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    if (name === "kind" && kind !== undefined) return [];
    const key = path === "" ? name : `${path}.${name}`;
    const row = rowOf(kind === undefined ? key : key.replace("sinks.*", `sinks.* (${kind})`), child);
    // The keys of a group say it all.
    const isGroup = path === "" && child.properties !== undefined;
    return [...(isGroup ? [] : [row]), ...keysOf(child, key, kind)];
  });
  const choices = [...(node.anyOf ?? []), ...(node.oneOf ?? [])];
  const { items, additionalProperties: named } = node;
  return [
    ...own,
    ...choices.flatMap((choice) => keysOf(choice, path, choice.properties?.["kind"]?.const ?? kind)),
    ...(typeof named === "object" ? keysOf(named, `${path}.*`, kind) : []),
    ...(items === undefined ? [] : keysOf(items, `${path}[]`, kind)),
  ];
}

function rowOf(key: string, { default: value, description = "" }: Node): string {
  const shown =
    value === undefined || JSON.stringify(value) === "{}" ? "" : `\`${JSON.stringify(value).replaceAll('"', "")}\``;
  return `| \`${key}\` | ${shown} | ${description.replaceAll("<", "&lt;").replaceAll("|", "\\|").replaceAll("\n", " ")} |`;
}
