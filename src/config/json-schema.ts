import { z } from "zod";
import { FileSchema } from "./file.ts";

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** Creates the JSON Schema of relay.yaml for editors (`relay.schema.json`) from the schema that reads the file. */
export function relaySchema(): JsonSchema {
  const { $schema, ...schema } = z.toJSONSchema(FileSchema, { io: "input", unrepresentable: "any" });
  return {
    ...($schema === undefined ? {} : { $schema }),
    title: "relay.yaml",
    description: "Configuration of skyvern-relay.",
    ...(forEditors(schema) as JsonSchema),
  };
}

function forEditors(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(forEditors);
  if (typeof node !== "object" || node === null) return node;
  const entries = Object.entries(node as JsonSchema).map(([key, value]) => {
    if (key === "propertyNames" || key === "default") return [key, value];
    // A branch without any condition stands for values that only code can pass.
    if (key === "anyOf" && Array.isArray(value))
      return [key, value.filter((branch) => !isEmpty(branch)).map(forEditors)];
    return [key, forEditors(value)];
  });
  return admitVariables(Object.fromEntries(entries) as JsonSchema);
}

const isEmpty = (branch: unknown): boolean =>
  typeof branch === "object" && branch !== null && Object.keys(branch).length === 0;

/** A text with a pattern may also be `${A_VARIABLE}`, whose value an editor cannot know. */
function admitVariables(schema: JsonSchema): JsonSchema {
  const { type, pattern, enum: options } = schema;
  if (type !== "string" || (typeof pattern !== "string" && !Array.isArray(options))) return schema;
  const { description, default: fallback, ...demand } = schema;
  return {
    ...(description === undefined ? {} : { description }),
    ...(fallback === undefined ? {} : { default: fallback }),
    anyOf: [demand, { type: "string", pattern: String.raw`\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}` }],
  };
}
