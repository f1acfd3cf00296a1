/** The sinks that environment variables configure: one of each kind, named after it. */
import { findKind, KINDS } from "../sinks/kinds.ts";
import type { Shortcut } from "../sinks/sink.ts";
import type { Fault } from "./faults.ts";
import { toFindings, wording } from "./faults.ts";
import type { Environment } from "./environment.ts";
import type { Off } from "./notes.ts";
import { SinkSchema, type SinkSettings } from "./sinks.ts";

export interface Shortcuts {
  sinks: SinkSettings[];
  /** The names of these sinks, also of those at fault. */
  names: string[];
  faults: Fault[];
  /** Features of the sinks that are off because a variable is not set. */
  off: Off[];
}

type OfKind = Shortcut & { kind: string };

/**
 * Reads the environment's sinks. Variables that the file refers to (`usedByFile`) are meant for the file: they complete
 * a shortcut but never start one. Half a shortcut is a fault.
 */
export function readShortcuts(environment: Environment, usedByFile: ReadonlySet<string>): Shortcuts {
  const found: Shortcuts = { sinks: [], names: [], faults: [], off: [] };
  for (const { kind, shortcut: own } of KINDS) {
    if (own === undefined) continue;
    const shortcut = { ...own, kind };
    const present = Object.keys(own.variables).filter((name) => environment.get(name) !== undefined);
    const begun = present.filter((name) => !usedByFile.has(name));
    if (begun.length === 0) continue;
    const choice = [choose(shortcut, present), choose(shortcut, begun)].find(({ faults }) => faults.length === 0);
    const { variables, faults } = choice ?? choose(shortcut, present);
    found.names.push(kind);
    found.faults.push(...faults);
    if (faults.length === 0) readSink(shortcut, variables, environment, found);
  }
  return found;
}

/** The variables of the one way that is used, or the fault that prevents it. */
function choose({ kind, ways }: OfKind, present: string[]): { variables: string[]; faults: Fault[] } {
  const taken = ways.filter(({ needs, takes = [] }) => [...needs, ...takes].some((name) => present.includes(name)));
  const [way, other] = taken;
  if (!way) return { variables: [], faults: [] };
  if (other) {
    const where = other.needs.find((name) => present.includes(name)) ?? kind;
    const rivals = present.filter((name) => way.needs.includes(name)).join(" and ");
    return { variables: [], faults: [{ where, message: `is set together with ${rivals}; set one or the other` }] };
  }
  const missing = way.needs.filter((name) => !present.includes(name));
  const faults = missing.map((where) => ({
    where,
    message:
      `is missing: ${present.join(" and ")} alone ${present.length === 1 ? "does" : "do"} not make the ${kind} ` +
      "sink",
  }));
  return { variables: present, faults };
}

function readSink({ kind, variables }: OfKind, taken: string[], environment: Environment, found: Shortcuts): void {
  const raw: Record<string, unknown> = { kind };
  for (const name of taken) raw[variables[name]?.key ?? name] = environment.get(name);
  const result = SinkSchema.safeParse(withApi(raw, environment), { error: wording });
  for (const [name, { without }] of Object.entries(variables)) {
    if (without !== undefined && !taken.includes(name)) found.off.push(without);
  }
  if (result.success) {
    found.sinks.push({ name: kind, ...result.data });
    return;
  }
  for (const { path, message } of toFindings(result.error.issues)) {
    const variable = taken.find((name) => variables[name]?.key === path[0]);
    found.faults.push({ where: environment.locate(variable ?? taken[0] ?? kind), message });
  }
}

/** A sink without an API address of its own uses the one from its kind's variable. */
export function withApi(sink: unknown, { apis }: Pick<Environment, "apis">): unknown {
  if (typeof sink !== "object" || sink === null || !("kind" in sink) || typeof sink.kind !== "string") return sink;
  const base = apis.get(sink.kind);
  const key = base === undefined ? undefined : findKind(sink.kind).api?.key;
  return key === undefined ? sink : { [key]: base, ...sink };
}
