/** The sinks that a few environment variables make: enough for one Slack channel, one mailbox and one URL. */
import type { Fault } from "./faults.ts";
import { findingsOf, wording } from "./faults.ts";
import type { Environment } from "./environment.ts";
import { SinkSchema, type SinkSettings } from "./sinks.ts";

/** A sink named after its kind. Each way to it takes all of its `variables`, beside which `optional` ones may stand. */
interface Shortcut {
  kind: string;
  ways: { variables: string[]; optional?: string[] }[];
}

const SHORTCUTS: Shortcut[] = [
  { kind: "slack", ways: [{ variables: ["SLACK_BOT_TOKEN", "SLACK_CHANNEL"] }, { variables: ["SLACK_WEBHOOK_URL"] }] },
  { kind: "email", ways: [{ variables: ["SMTP_URL", "EMAIL_FROM", "EMAIL_TO"] }] },
  { kind: "http", ways: [{ variables: ["SINK_URL"], optional: ["SINK_SECRET"] }] },
];

/** Where in the sink's configuration a variable goes. */
const KEYS: Record<string, string> = {
  SLACK_BOT_TOKEN: "token",
  SLACK_CHANNEL: "channel",
  SLACK_WEBHOOK_URL: "webhook_url",
  SMTP_URL: "smtp",
  EMAIL_FROM: "from",
  EMAIL_TO: "to",
  SINK_URL: "url",
  SINK_SECRET: "secret",
};

export interface Shortcuts {
  sinks: SinkSettings[];
  /** Their names, also of those at fault. */
  names: string[];
  faults: Fault[];
}

/**
 * Makes the environment's sinks. Variables that the file fills in (`usedByFile`) are meant for the file: they complete a
 * shortcut but never begin one. Half of a shortcut is a fault.
 */
export function readShortcuts(environment: Environment, usedByFile: ReadonlySet<string>): Shortcuts {
  const found: Shortcuts = { sinks: [], names: [], faults: [] };
  for (const shortcut of SHORTCUTS) {
    const present = variablesOf(shortcut).filter((name) => environment.get(name) !== undefined);
    const own = present.filter((name) => !usedByFile.has(name));
    if (own.length === 0) continue;
    const choice = [choose(shortcut, present), choose(shortcut, own)].find(({ faults }) => faults.length === 0);
    const { variables, faults } = choice ?? choose(shortcut, present);
    found.names.push(shortcut.kind);
    found.faults.push(...faults);
    if (faults.length === 0) readSink(shortcut.kind, variables, environment, found);
  }
  return found;
}

const variablesOf = ({ ways }: Shortcut): string[] =>
  ways.flatMap(({ variables, optional = [] }) => [...variables, ...optional]);

/** The variables of the one way that is taken, or what keeps it from being taken. */
function choose({ kind, ways }: Shortcut, present: string[]): { variables: string[]; faults: Fault[] } {
  const taken = ways.filter(({ variables, optional = [] }) =>
    [...variables, ...optional].some((name) => present.includes(name)),
  );
  const [way, other] = taken;
  if (!way) return { variables: [], faults: [] };
  if (other) {
    const where = other.variables.find((name) => present.includes(name)) ?? kind;
    const rivals = present.filter((name) => way.variables.includes(name)).join(" and ");
    return { variables: [], faults: [{ where, message: `is set together with ${rivals}; set one or the other` }] };
  }
  const missing = way.variables.filter((name) => !present.includes(name));
  const faults = missing.map((where) => ({
    where,
    message: `is missing: ${present.join(" and ")} alone ${present.length === 1 ? "does" : "do"} not make the ${kind} sink`,
  }));
  return { variables: present, faults };
}

function readSink(kind: string, variables: string[], environment: Environment, found: Shortcuts): void {
  const raw: Record<string, unknown> = { kind };
  for (const name of variables) raw[KEYS[name] ?? name] = environment.get(name);
  const sink = withSlackApi(raw, environment);
  const result = SinkSchema.safeParse(sink, { error: wording });
  if (result.success) {
    found.sinks.push({ name: kind, ...result.data });
    return;
  }
  for (const { path, message } of findingsOf(result.error.issues)) {
    const variable = Object.keys(KEYS).find((name) => KEYS[name] === path[0] && variables.includes(name));
    found.faults.push({ where: environment.whereOf(variable ?? variables[0] ?? kind), message });
  }
}

/** A Slack sink that names no API of its own uses `SLACK_API_URL`. */
export function withSlackApi(sink: unknown, environment: Environment): unknown {
  const api = environment.settings?.SLACK_API_URL;
  const isSlack = typeof sink === "object" && sink !== null && "kind" in sink && sink.kind === "slack";
  return isSlack && api !== undefined ? { api_url: api, ...sink } : sink;
}
