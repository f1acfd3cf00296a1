/**
 * Notes on routes that no run can take. A misspelt value is no fault where Skyvern chooses the values, but these are
 * certain.
 */
import { TERMINAL_STATUSES } from "./run.ts";
import { fits, type Field, type Route } from "./routing.ts";

/** Why a value of a field fits nothing, or null. */
type Look = (value: string) => string | null;

/** Most runs have no value of these, and `!*` asks for just those. */
const OPTIONAL: ReadonlySet<string> = new Set(["parent", "schedule", "tags"] satisfies Field[]);

/** `organizations`: those of the keys, null where a key does not say. */
export function findUnmatched(routes: readonly Route[], organizations: readonly (string | null)[]): string[] {
  const looks: Record<string, Look> = {
    channel: (value) => (/^[\w*-]+$/.test(value) ? null : "a channel has only letters, digits, _ and -"),
    run_type: findRunTypeMistake,
    organization: (value) =>
      organizations.some((own) => own === null || fits(value, own)) ? null : "no key is of such an organization",
    attempts: (value) => (/^(?:<=?\s*0|<\s*1|=?\s*0)$/.test(value.trim()) ? "attempts count from 1" : null),
  };
  const notes: string[] = [];
  for (const [index, { name, when }] of routes.entries()) {
    const stopper = routes.slice(0, index).find((route) => route.stop && Object.keys(route.when).length === 0);
    if (stopper)
      notes.push(`the route ${quoted(name)} is never reached: ${quoted(stopper.name)} stops every run before`);
    const { labels = {}, ...fields } = when;
    const ofLabels = Object.entries(labels).map(([label, values]) => [`label ${label}`, values] as const);
    for (const [field, values] of [...Object.entries(fields), ...ofLabels]) {
      const isOptional = OPTIONAL.has(field) && (values ?? []).every((value) => value === "!*");
      if (isOptional) continue;
      for (const why of unmatchedIn(field, values ?? [], looks[field] ?? (() => null))) {
        notes.push(`the route ${quoted(name)} can never match by ${field}: ${why}`);
      }
    }
  }
  return notes;
}

/** Says why a run type can match nothing. An unknown one may be new at Skyvern, and is no mistake. */
function findRunTypeMistake(value: string): string | null {
  if (/^workflows?$/i.test(value)) return "Skyvern's run type of a workflow is workflow_run";
  if (/^tasks?$/i.test(value)) return "Skyvern's run types of tasks are task_v1, task_v2, …: task* fits them";
  return /^[\w*]+$/.test(value) ? null : "a run type has only letters, digits and _";
}

function unmatchedIn(field: string, values: readonly string[], look: Look): string[] {
  const wanted = values.filter((value) => !value.startsWith("!"));
  const negated = values.filter((value) => value.startsWith("!")).map((value) => value.slice(1));
  if (negated.some((value) => /^\*+$/.test(value))) return ["!* excludes every value"];
  if (field === "status") {
    const possible = TERMINAL_STATUSES.filter((status) => !negated.some((value) => fits(value, status)));
    const isMet = possible.some((status) => wanted.length === 0 || wanted.some((value) => fits(value, status)));
    return isMet ? [] : ["its values exclude every final status"];
  }
  return wanted.flatMap((value) => {
    const excluding = value.includes("*")
      ? negated.find((one) => one === value)
      : negated.find((one) => fits(one, value));
    const why = look(value) ?? (excluding === undefined ? null : `${quoted(`!${excluding}`)} excludes it`);
    return why === null ? [] : [`${quoted(value)}: ${why}`];
  });
}

const quoted = (text: string): string => JSON.stringify(text);
