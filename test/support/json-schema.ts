/** Checks values against the schemas of an OpenAPI 3.1 document, whose dialect is JSON Schema 2020-12. */
import { Ajv2020 } from "ajv/dist/2020.js";

export type Schema = { [keyword: string]: unknown };

/** Strict: a keyword or format that it does not know is an error, not passed over. */
const ajv = new Ajv2020({ allErrors: true, strict: true, strictTypes: false, strictRequired: false });
ajv.addVocabulary(["components", "example"]);
ajv.addFormat("date-time", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

/** What does not fit, one line each: `/data/0/status must be string`. None: it fits. */
export function faultsOf(value: unknown, schema: Schema, schemas: Record<string, Schema>): string[] {
  const fits = ajv.compile({ ...schema, components: { schemas } });
  if (fits(value)) return [];
  return (fits.errors ?? []).map(({ instancePath, message, params }) =>
    [instancePath || "/", message, JSON.stringify(params)].join(" "),
  );
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
