/** Decides which sinks get a run. Pure. */
import type { Run } from "./run.ts";

/** The fields that a condition may test, with their values in a run. A field without a value gives an empty list. */
const FIELDS = {
  status: (run) => [run.status],
  run_type: (run) => [run.run_type],
  workflow: (run) => [run.workflow?.permanent_id, run.workflow?.title],
  organization: (run) => [run.organization_id],
  channel: (run) => [run.channel],
  url: (run) => [run.url],
  title: (run) => [run.title],
  error_code: (run) => run.failure?.codes ?? [],
  failure_category: (run) => run.failure?.categories ?? [],
  attempts: (run) => [String(run.attempt)],
  trigger: (run) => [run.trigger],
  schedule: (run) => [run.schedule],
  parent: (run) => [run.parent],
  tags: (run) => run.tags ?? [],
  // Each of its labels is looked up by itself.
  labels: () => [],
} satisfies Record<string, (run: Run) => (string | null | undefined)[]>;
/** The name of a field that a route may test. */
export type Field = keyof typeof FIELDS;

/** Fields of a workflow run that only Skyvern's API says. */
const RELATIONS = ["trigger", "schedule", "parent", "tags"] as const satisfies Field[];

/** True when a route tests where a run comes from. */
export const testsRelations = (routes: readonly Route[]): boolean =>
  routes.some(({ when }) => RELATIONS.some((field) => when[field] !== undefined));

/** One rule, as `config/routes.ts` describes it. */
export interface Route {
  name: string;
  when: { [field in Exclude<Field, "labels">]?: string[] | undefined } & {
    labels?: Record<string, string[]> | undefined;
  };
  /** Names of sinks. */
  to: string[];
  stop: boolean;
}

export interface Routing {
  /** Names of the chosen sinks, each once, in the order of their first mention. */
  sinks: string[];
  /** Every route with its result, in order: the answer to "why did I (not) get this". */
  trace: { route: string; matched: boolean; because: string }[];
}

/**
 * The sinks that get `run`, which must be terminal: callers route nothing else. Without routes all sinks get it.
 *
 * A key is met when one of the field's values fits one of its items. Items with a leading `!` must fit none of the
 * values; beside them the other items, if there are any, must still be met. A field without a value meets negated items
 * only. Case is ignored everywhere.
 */
export function match(run: Run, routes: readonly Route[], allSinkNames: readonly string[]): Routing {
  if (routes.length === 0) {
    const because = "no routes are configured: every sink gets every run";
    return { sinks: [...allSinkNames], trace: [{ route: "default", matched: true, because }] };
  }
  const sinks = new Set<string>();
  const trace: Routing["trace"] = [];
  let stoppedBy: string | null = null;
  for (const route of routes) {
    if (stoppedBy !== null) {
      const because = `skipped: ${JSON.stringify(stoppedBy)} matched and stops the search`;
      trace.push({ route: route.name, matched: false, because });
      continue;
    }
    const verdict = meets(run, route.when);
    trace.push({ route: route.name, ...verdict });
    if (!verdict.matched) continue;
    for (const sink of route.to) sinks.add(sink);
    if (route.stop) stoppedBy = route.name;
  }
  return { sinks: [...sinks], trace };
}

function meets(run: Run, when: Route["when"]): { matched: boolean; because: string } {
  const reasons: string[] = [];
  const { labels = {}, ...fields } = when;
  const ofLabels = Object.entries(labels).map(
    ([name, items]) => [`label ${name}`, items, [run.labels?.[name]]] as const,
  );
  const ofFields = Object.entries(fields).map(([field, items]) => [field, items, FIELDS[field as Field](run)] as const);
  for (const [field, items, given] of [...ofFields, ...ofLabels]) {
    if (items === undefined) continue;
    const values = given.filter((value) => value !== null && value !== undefined);
    const found = `${field} is ${describeValues(values)}`;
    const isFit = field === "attempts" ? fitsCount : fits;
    if (!isMet(values, items, isFit))
      return { matched: false, because: `${found}, ${describeMiss(values, items, isFit)}` };
    reasons.push(found);
  }
  return { matched: true, because: reasons.length === 0 ? "it has no conditions" : reasons.join("; ") };
}

type Fits = (item: string, value: string) => boolean;

function isMet(values: string[], items: readonly string[], fits: Fits): boolean {
  const wanted = wantedOf(items);
  return !isAny(refusedOf(items), values, fits) && (wanted.length === 0 || isAny(wanted, values, fits));
}

const wantedOf = (items: readonly string[]): string[] => items.filter((item) => !item.startsWith("!"));
const refusedOf = (items: readonly string[]): string[] =>
  items.filter((item) => item.startsWith("!")).map((item) => item.slice(1));
const isAny = (patterns: readonly string[], values: readonly string[], fits: Fits): boolean =>
  patterns.some((pattern) => values.some((value) => fits(pattern, value)));

/** `wpid_1 (“Pay invoices”)`: a workflow has an id and a title. */
const describeValues = ([first, ...others]: readonly string[]): string =>
  first === undefined ? "empty" : `${shown(first)}${others.length === 0 ? "" : ` (${others.map(shown).join(", ")})`}`;

function describeMiss(values: readonly string[], items: readonly string[], fits: Fits): string {
  const refused = refusedOf(items);
  const excluded = refused.map((item) => shown(`!${item}`)).join(", ");
  if (isAny(refused, values, fits)) return `which the route excludes (${excluded})`;
  return `not ${wantedOf(items).map(shown).join(" or ")}`;
}

/** The forms of a condition on a number: `2`, `>1`, `>=2`, `<3`, `<=3`. */
export const COUNT_CONDITION = /^(?<sign>>=|>|<=|<|)(?<bound>\d{1,9})$/;

/** Whether a number, written in digits, meets a condition. No number meets a text that is no condition. */
function fitsCount(condition: string, value: string): boolean {
  const { sign = "", bound = "" } = COUNT_CONDITION.exec(condition)?.groups ?? {};
  if (bound === "") return false;
  const difference = Number(value) - Number(bound);
  if (sign === "") return difference === 0;
  return sign.startsWith(">")
    ? difference > 0 || (sign === ">=" && difference === 0)
    : difference < 0 || (sign === "<=" && difference === 0);
}

/**
 * Whether `pattern` (`*` stands for any characters, also none) covers all of `value`. Case is ignored. It never
 * backtracks: each piece between two stars is taken where it first occurs, so the time grows only with the value's
 * length.
 */
export function fits(pattern: string, value: string): boolean {
  const text = value.toUpperCase();
  const [head = "", ...rest] = pattern.toUpperCase().split("*");
  const tail = rest.pop();
  if (tail === undefined) return text === head;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  const end = text.length - tail.length;
  let at = head.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

/** One word stands as it is; anything else is quoted. */
const shown = (value: string): string => (/^!?[\w*.>=<-]{1,80}$/.test(value) ? value : quoted(value));

/** Values are cut so that a hostile title cannot fill the log. */
const quoted = (value: string): string => JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
