/**
 * A workflow as Skyvern answers it, turned into the definition that it takes. The two differ: an answer holds whole
 * parameters where a definition names them, and the outputs that Skyvern makes for each block.
 */
import { isJsonObject, type Json, type JsonObject } from "../platform/json.ts";

/** What Skyvern makes itself, or keeps of the version before. */
const NOT_TAKEN = new Set([
  "workflow_id",
  "workflow_permanent_id",
  "agent_id",
  "organization_id",
  "version",
  "import_error",
  "created_by",
  "edited_by",
  "copilot_authored",
  "created_at",
  "modified_at",
  "deleted_at",
  "effective_default_engine",
  // Their values are masked in the answer. What is not sent stays.
  "cdp_connect_headers",
]);

/** Its value is not null where it is left out. */
const DEFAULTED = "cache_key";

/**
 * The workflow's definition with another address; null: with none. Skyvern keeps the value of what is left out, and
 * turns some nulls into something else.
 */
export function toDefinition(workflow: JsonObject, address: string | null): JsonObject {
  const definition = objectIn(workflow, "workflow_definition");
  const parameters = listIn(definition, "parameters").filter((one) => one["parameter_type"] !== "output");
  const known = new Set(listIn(definition, "parameters").map(({ key }) => key));
  return {
    ...Object.fromEntries(
      Object.entries(workflow).filter(
        ([name, value]) => !NOT_TAKEN.has(name) && (value !== null || name === DEFAULTED),
      ),
    ),
    webhook_callback_url: address,
    workflow_definition: {
      ...definition,
      parameters: parameters.map(toParameter),
      blocks: listIn(definition, "blocks").map((block) => toBlock(block, known)),
    },
  };
}

/** A context parameter names the parameter that its value comes from. */
function toParameter(parameter: JsonObject): JsonObject {
  const { source, value: _none, ...rest } = withoutIds(parameter);
  return isJsonObject(source) ? { ...rest, source_parameter_key: source["key"] ?? null } : rest;
}

/** `known`: the keys of the workflow's parameters. A parameter that is not among them was filled in by Skyvern. */
function toBlock(block: JsonObject, known: ReadonlySet<Json | undefined>): JsonObject {
  const { output_parameter, parameters, loop_blocks, ...rest } = block;
  const own = isJsonObject(output_parameter) ? output_parameter["key"] : null;
  const made = Object.entries(rest).flatMap(([name, value]): [string, Json][] => {
    if (!isParameter(value)) return [[name, value]];
    const key = value["key"] ?? null;
    return known.has(key)
      ? [[name === "loop_over" ? `${name}_parameter_key` : `${name}_secret_parameter_key`, key]]
      : [];
  });
  const keys = Array.isArray(parameters) ? parameters.filter(isJsonObject).map(({ key = null }) => key) : [];
  const inner = Array.isArray(loop_blocks) ? loop_blocks.filter(isJsonObject) : null;
  return {
    ...Object.fromEntries(made),
    ...(Array.isArray(parameters) ? { parameter_keys: keys.filter((key) => key !== own) } : {}),
    ...(inner ? { loop_blocks: inner.map((one) => toBlock(one, known)) } : {}),
  };
}

/** How many blocks a workflow has, those inside of loops too. A label stands once in a workflow. */
export const countBlocks = (workflow: JsonObject): number =>
  new Set(labelsIn(listIn(objectIn(workflow, "workflow_definition"), "blocks"))).size;

const labelsIn = (blocks: readonly JsonObject[], depth = 0): Json[] =>
  depth > DEEPEST
    ? []
    : blocks.flatMap((block) => [block["label"] ?? null, ...labelsIn(listIn(block, "loop_blocks"), depth + 1)]);

const DEEPEST = 50;

/** Why a definition cannot be passed on as it is, or null. */
export function findUnsendable(workflow: JsonObject): string | null {
  if (!isJsonObject(workflow["workflow_definition"])) return "its definition is not in Skyvern's answer";
  if (workflow["is_template"] === true) return "it is a template, which it would not be any more";
  const masked = findMasked(workflow["workflow_definition"], "workflow_definition");
  return masked === null ? null : `Skyvern masks ${masked}, and would save the mask`;
}

const MASK = /^[*•]{3,}$/;

function findMasked(value: Json, place: string): string | null {
  if (typeof value === "string") return MASK.test(value) ? place : null;
  if (typeof value !== "object" || value === null) return null;
  for (const [name, inner] of Object.entries(value)) {
    const found = findMasked(inner as Json, `${place}.${name}`);
    if (found !== null) return found;
  }
  return null;
}

/** The place of the first difference between two versions of a workflow but for their address; null: there is none. */
export function findDifference(before: JsonObject, after: JsonObject): string | null {
  const [a, b] = [before, after].map((workflow) => {
    const { webhook_callback_url: _address, ...rest } = workflow;
    const own = Object.entries(rest).filter(([name]) => !NOT_TAKEN.has(name));
    const definition = objectIn(workflow, "workflow_definition");
    const parameters = listIn(definition, "parameters").toSorted((one, other) =>
      String(one["key"]) < String(other["key"]) ? -1 : 1,
    );
    return { ...Object.fromEntries(own), workflow_definition: { ...definition, parameters } };
  });
  return differ(a, b, "");
}

function differ(a: Json | undefined, b: Json | undefined, place: string): string | null {
  if (isPlain(a) || isPlain(b)) return JSON.stringify(a ?? null) === JSON.stringify(b ?? null) ? null : place;
  const [one = {}, other = {}] = [a, b].map((value) => withoutMade(value as JsonObject, place));
  for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const found = differ(one[name], other[name], place === "" ? name : `${place}.${name}`);
    if (found !== null) return found;
  }
  return null;
}

/** What belongs to one version alone: the ids of parameters and of branches. */
function withoutMade(value: JsonObject, place: string): JsonObject {
  const { id: _id, ...rest } = value;
  if (/\.branch_conditions\.\d+$/.test(place)) return rest;
  return isParameter(value) ? withoutIds(value) : value;
}

type Nested = Json[] | JsonObject;
const isPlain = (value: Json | undefined): value is Exclude<Json, Nested> | undefined =>
  !Array.isArray(value) && !isJsonObject(value);

const isParameter = (value: Json | undefined): value is JsonObject =>
  isJsonObject(value) && typeof value["parameter_type"] === "string" && typeof value["key"] === "string";

/** Each version's parameters have ids and times of their own. */
const withoutIds = (parameter: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(parameter).filter(
      ([name]) => !/^(workflow_id|created_at|modified_at|deleted_at)$|_parameter_id$/.test(name),
    ),
  );

function objectIn(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  return isJsonObject(value) ? value : {};
}

function listIn(object: JsonObject, name: string): JsonObject[] {
  const value = object[name];
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}
