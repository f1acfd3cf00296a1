/** Checks values against the schemas of an OpenAPI 3.1 document. Knows the keywords our document has, and no other. */

export type Schema = { [keyword: string]: unknown };

const ANNOTATIONS = new Set(["description", "example", "examples", "title", "default", "deprecated"]);
const FORMATS: Record<string, RegExp> = {
  "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
};

/** What does not fit, one line each: `/data/0/status: must be a string`. None: it fits. */
export function faultsOf(value: unknown, schema: Schema, schemas: Record<string, Schema>, at = ""): string[] {
  const no = (what: string) => [`${at || "/"}: ${what}`];
  const faults = Object.entries(schema).flatMap(([keyword, wanted]): string[] => {
    switch (keyword) {
      case "$ref": {
        const name = String(wanted).replace("#/components/schemas/", "");
        const target = schemas[name];
        if (!target) throw new Error(`the document has no schema ${String(wanted)}`);
        return faultsOf(value, target, schemas, at);
      }
      case "allOf":
        return (wanted as Schema[]).flatMap((part) => faultsOf(value, part, schemas, at));
      case "anyOf":
        return (wanted as Schema[]).some((part) => faultsOf(value, part, schemas, at).length === 0)
          ? []
          : no("fits none of anyOf");
      case "type":
        return [wanted].flat().some((type) => isOfType(value, String(type))) ? [] : no(`must be ${String(wanted)}`);
      case "enum":
        return (wanted as unknown[]).includes(value) ? [] : no(`must be one of ${String(wanted)}`);
      case "format": {
        const pattern = FORMATS[String(wanted)];
        if (!pattern) throw new Error(`the checker does not know the format ${String(wanted)}`);
        return typeof value !== "string" || pattern.test(value) ? [] : no(`is no ${String(wanted)}`);
      }
      case "required":
        return isObject(value)
          ? (wanted as string[]).filter((key) => !Object.hasOwn(value, key)).map((key) => `${at}/${key}: is missing`)
          : [];
      case "properties":
        return isObject(value)
          ? Object.entries(wanted as Record<string, Schema>).flatMap(([key, part]) =>
              Object.hasOwn(value, key) ? faultsOf(value[key], part, schemas, `${at}/${key}`) : [],
            )
          : [];
      case "additionalProperties":
        if (typeof wanted !== "object" || wanted === null || !isObject(value)) return [];
        return Object.entries(value).flatMap(([key, item]) =>
          faultsOf(item, wanted as Schema, schemas, `${at}/${key}`),
        );
      case "items":
        return Array.isArray(value)
          ? value.flatMap((item, i) => faultsOf(item, wanted as Schema, schemas, `${at}/${i}`))
          : [];
      case "minimum":
        return typeof value === "number" && value < Number(wanted) ? no(`is below ${String(wanted)}`) : [];
      case "maximum":
        return typeof value === "number" && value > Number(wanted) ? no(`is above ${String(wanted)}`) : [];
      default:
        if (ANNOTATIONS.has(keyword)) return [];
        throw new Error(`the checker does not know the keyword ${keyword}`);
    }
  });
  return [...new Set(faults)];
}

/** Names of properties that the schema does not mention, as paths: what is answered is to be documented. */
export function undocumentedIn(value: unknown, schema: Schema, schemas: Record<string, Schema>, at = ""): string[] {
  const parts = flat(schema, schemas);
  if (Array.isArray(value)) {
    const item = parts.find(({ items }) => items)?.["items"] as Schema | undefined;
    return item ? value.flatMap((one, i) => undocumentedIn(one, item, schemas, `${at}/${i}`)) : [];
  }
  if (!isObject(value) || !parts.some(({ properties }) => properties)) return [];
  const known = Object.assign({}, ...parts.map(({ properties }) => properties ?? {})) as Record<string, Schema>;
  return Object.entries(value).flatMap(([key, item]) =>
    known[key] ? undocumentedIn(item, known[key], schemas, `${at}/${key}`) : [`${at}/${key}`],
  );
}

function flat(schema: Schema, schemas: Record<string, Schema>): Schema[] {
  const { $ref, allOf, anyOf } = schema as { $ref?: string; allOf?: Schema[]; anyOf?: Schema[] };
  const target = $ref === undefined ? undefined : schemas[$ref.replace("#/components/schemas/", "")];
  const more = [...(target ? [target] : []), ...(allOf ?? []), ...(anyOf ?? [])];
  return [schema, ...more.flatMap((part) => flat(part, schemas))];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}
