/** Workflows and schedules of a stand-in Skyvern: listed, read, and saved in versions. */
import { isJsonObject, parseJson, type Json, type JsonObject } from "../../src/platform/json.ts";
import { detail, json } from "../../src/stand-ins/skyvern/answer.ts";
import type { StandInAnswer, StandInSkyvernOptions } from "../../src/stand-ins/skyvern/model.ts";

interface State {
  /** The newest version of each. */
  workflows: readonly JsonObject[];
  blockedHosts: readonly string[];
  forgets: readonly string[];
  /** Numbers for ids. */
  ids: Generator<number, never>;
}

export interface SkyvernWorkflowsOptions {
  /** Hosts that it refuses as a workflow's webhook address. */
  blockedHosts?: readonly string[] | undefined;
  /** Keys of blocks that it answers and does not take, as another release may. */
  forgets?: readonly string[] | undefined;
  /** How many there are; `missing` answers 404 like a Skyvern without such a list. Default: none. */
  schedules?: number | "missing";
}

/** What a stand-in Skyvern answers about its workflows, or about so many. */
export function skyvernWorkflows(
  given: number | readonly JsonObject[],
  { blockedHosts = [], forgets = [], schedules = 0 }: SkyvernWorkflowsOptions = {},
): { more: NonNullable<StandInSkyvernOptions["more"]>; all(): readonly JsonObject[] } {
  const state: State = { workflows: toWorkflows(given), blockedHosts, forgets, ids: numbers() };
  return {
    all: () => state.workflows,
    more: ({ method, path, query }, body) => {
      const [, , kind, id, part, ...rest] = path.split("/").map(decodeURIComponent);
      if (kind === "schedules" && schedules === "missing") return detail(404, "Not Found");
      if (kind === "schedules") return json(200, { schedules: [], total_count: schedules, page: 1, page_size: 10 });
      if (kind !== "workflows" || rest.length > 0) return null;
      if (method === "POST" && part === "delete" && id !== undefined) return deleteWorkflow(state, id);
      if (part !== undefined) return null;
      if (method === "POST") return saveWorkflow(state, id ?? null, body);
      return id === undefined ? listWorkflows(state.workflows, query) : getWorkflow(state, id);
    },
  };
}

/** Each at least an empty workflow of one version. */
function toWorkflows(given: number | readonly JsonObject[]): readonly JsonObject[] {
  const own =
    typeof given === "number"
      ? Array.from({ length: given }, (_none, i) => ({ workflow_permanent_id: `wpid_${i + 1}`, title: `W ${i + 1}` }))
      : given;
  const empty = { webhook_callback_url: null, version: 1, workflow_definition: { parameters: [], blocks: [] } };
  return own.map((workflow) => ({ ...empty, ...workflow }));
}

function* numbers(): Generator<number, never> {
  for (let number = 100_001; ; number += 1) yield number;
}

/** Workflows in pages; no page is too large. */
function listWorkflows(all: readonly JsonObject[], query: URLSearchParams): StandInAnswer {
  const page = Number(query.get("page") ?? 1);
  const size = Number(query.get("page_size") ?? 10);
  return json(200, all.slice((page - 1) * size, page * size));
}

function getWorkflow({ workflows }: State, id: string): StandInAnswer {
  const found = workflows.find(({ workflow_permanent_id }) => workflow_permanent_id === id);
  return found ? json(200, found) : missing(id);
}

function deleteWorkflow(state: State, id: string): StandInAnswer {
  const left = state.workflows.filter(({ workflow_permanent_id }) => workflow_permanent_id !== id);
  if (left.length === state.workflows.length) return missing(id);
  state.workflows = left;
  return json(200, null);
}

const missing = (id: string): StandInAnswer => detail(404, `Workflow not found. workflow_permanent_id=${id}`);

/** Saves a new workflow, or the next version of one. What the request lacks, the version before gives. */
function saveWorkflow(state: State, id: string | null, body: string): StandInAnswer {
  const definition = readDefinition(body);
  if (definition === null) return refused(["body", "json_definition"], "Field required");
  const before = state.workflows.find(({ workflow_permanent_id }) => workflow_permanent_id === id);
  if (id !== null && !before) return missing(id);
  const url = definition["webhook_callback_url"];
  if (typeof url === "string" && url !== before?.["webhook_callback_url"]) {
    const host = URL.parse(url)?.hostname;
    if (host === undefined) return detail(400, "Invalid webhook_callback_url: invalid URL.");
    if (state.blockedHosts.includes(host)) return detail(400, "Invalid webhook_callback_url: blocked host.");
  }
  const { workflow_definition: given, extra_http_headers: headers, ...settings } = definition;
  const sent = isJsonObject(given) ? given : {};
  const [parameters, blocks] = [listOf(sent["parameters"]), listOf(sent["blocks"])];
  if (parameters === null || blocks === null) return refused(PLACE, "Field required");
  if (parameters.some(({ parameter_type }) => parameter_type === "output"))
    return detail(400, "Cannot manually create output parameters");
  const known = makeParameters(state, parameters, blocks);
  const bad = blocks.flatMap((block) => findBad(block, known))[0];
  if (bad !== undefined) return refused([...PLACE, "blocks"], bad);
  const version = Number(before?.["version"] ?? 0) + 1;
  const saved: JsonObject = {
    ...(before ?? { workflow_permanent_id: `wpid_${state.ids.next().value}`, webhook_callback_url: null }),
    ...settings,
    ...(headers === undefined ? {} : { extra_http_headers: headers ?? {} }),
    workflow_id: `w_${state.ids.next().value}`,
    version,
    workflow_definition: {
      ...sent,
      parameters: [...known.values()],
      blocks: blocks.map((block) => makeBlock(block, known, state.forgets)),
    },
    created_at: new Date(Date.now()).toISOString(),
  };
  state.workflows = [saved, ...state.workflows.filter((one) => one !== before)];
  return json(200, saved);
}

function readDefinition(body: string): JsonObject | null {
  try {
    const sent = parseJson(body);
    return isJsonObject(sent) && isJsonObject(sent["json_definition"]) ? sent["json_definition"] : null;
  } catch {
    return null;
  }
}

const refused = (loc: string[], msg: string): StandInAnswer =>
  json(422, { detail: [{ type: "value_error", loc, msg, input: {} }] });

const PLACE = ["body", "json_definition", "workflow_definition"];

type Parameters = ReadonlyMap<Json | undefined, JsonObject>;

/** The parameters as Skyvern answers them, with one for each block's output, by key. */
function makeParameters({ ids }: State, given: readonly JsonObject[], blocks: readonly JsonObject[]): Parameters {
  const known = new Map<Json | undefined, JsonObject>();
  const add = (parameter: JsonObject): void => {
    const type = String(parameter["parameter_type"]);
    known.set(parameter["key"], { ...parameter, [`${type}_parameter_id`]: `p_${ids.next().value}` });
  };
  for (const label of blocks.flatMap(labelsIn)) add({ parameter_type: "output", key: `${label}_output` });
  for (const { source_parameter_key: source, ...parameter } of given)
    add(source === undefined ? parameter : { ...parameter, source: known.get(source) ?? null, value: null });
  return known;
}

const listOf = (value: Json | undefined): JsonObject[] | null =>
  Array.isArray(value) ? value.filter(isJsonObject) : null;

const labelsIn = (block: JsonObject): string[] => [
  String(block["label"]),
  ...(listOf(block["loop_blocks"]) ?? []).flatMap(labelsIn),
];

function findBad(block: JsonObject, known: Parameters): string[] {
  const keys = Array.isArray(block["parameter_keys"]) ? block["parameter_keys"] : [];
  const undefinedKey = keys.find((key) => !known.has(key));
  return [
    ...(block["block_type"] === "code" && "parameters" in block
      ? ["Code blocks do not accept a 'parameters' field"]
      : []),
    ...(undefinedKey === undefined ? [] : [`undefined parameter ${JSON.stringify(undefinedKey)}`]),
    ...(listOf(block["loop_blocks"]) ?? []).flatMap((inner) => findBad(inner, known)),
  ];
}

/** Keys that a definition does not have are passed over, and those of `forgets`. */
function makeBlock(block: JsonObject, known: Parameters, forgets: readonly string[]): JsonObject {
  const {
    parameter_keys: keys,
    loop_over_parameter_key: over,
    parameters: _no,
    output_parameter: _made,
    ...rest
  } = block;
  const loop = listOf(block["loop_blocks"]);
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([name]) => !forgets.includes(name))),
    ...(Array.isArray(keys) ? { parameters: keys.map((key) => known.get(key) ?? null) } : {}),
    ...(loop
      ? { loop_over: known.get(over) ?? null, loop_blocks: loop.map((one) => makeBlock(one, known, forgets)) }
      : {}),
    output_parameter: known.get(`${String(block["label"])}_output`) ?? null,
  };
}
