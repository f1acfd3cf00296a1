/** Parses and formats the query of a page's address. Pure. */
import { instant } from "../http/api/schemas.ts";
import { DELIVERY_STATES } from "../domain/run.ts";
import { readSearch } from "../store/search/search.ts";
import type { DeliveryFilter } from "../store/contract/deliveries.ts";
import type { Page, RunFilter } from "../store/contract/runs.ts";

/** The values of each given filter, and the place in the list. */
export interface Query<Name extends string> {
  values: Partial<Record<Name, string[]>>;
  after: Page["after"] | null;
}

export interface QueryFault {
  name: string;
  message: string;
}

export const RUN_FILTERS = [
  "q",
  "status",
  "run_type",
  "workflow",
  "channel",
  "label",
  "trigger",
  "schedule",
  "tag",
  "related",
  "sink",
  "delivery",
  "since",
  "until",
] as const;
export type RunFilterName = (typeof RUN_FILTERS)[number];
export const DELIVERY_FILTERS = ["state", "sink", "since", "until"] as const;
export type DeliveryFilterName = (typeof DELIVERY_FILTERS)[number];

/** These filters take one value; a second would be ignored. */
const SINGLE = new Set<string>(["q", "since", "until"]);
/** Messages that a page shows once after a button was pressed. */
const SAID = new Set(["queued", "refreshed", "tested", "resumed"]);

/** Parses an address: its filters, and a fault for every other parameter. Empty values count as absent. */
export function readQuery<Name extends string>(
  search: URLSearchParams,
  names: readonly Name[],
): { query: Query<Name>; faults: QueryFault[] } {
  const faults: QueryFault[] = [];
  const values: Query<Name>["values"] = {};
  let after: Page["after"] | null = null;
  for (const [name, value] of search) {
    if (value === "" || SAID.has(name)) continue;
    if (name === "after") {
      after = readPlace(value);
      if (after === null) faults.push({ name, message: "is not a position in this list; start from the first page" });
    } else if ((names as readonly string[]).includes(name)) {
      const list = (values[name as Name] ??= []);
      const most = SINGLE.has(name) ? 1 : 20;
      if (list.length < most && value.length <= 500) list.push(value);
      else
        faults.push({
          name,
          message: value.length > 500 ? "is too long" : `was given more than ${most === 1 ? "once" : `${most} times`}`,
        });
      const message = checkField(name, value);
      if (message !== null) faults.push({ name, message });
    } else faults.push({ name: name.slice(0, 100), message: "there is no such filter" });
  }
  if (!isInOrder(values)) faults.push({ name: "since", message: "must not be after until" });
  return { query: { values, after }, faults };
}

function isInOrder({ since: [from] = [], until: [to] = [] }: { since?: string[]; until?: string[] }): boolean {
  const { since = 0, until = Infinity } = instants(from, to);
  return since <= until;
}

function checkField(name: string, value: string): string | null {
  if (name === "since" || name === "until") {
    return parseInstant(value) === null ? "must be a time like 2026-01-20 or 2026-01-20T12:00 (UTC)" : null;
  }
  if (name === "q") {
    const found = readSearch(value);
    return typeof found === "string" ? found : null;
  }
  if (name === "delivery" || name === "state") {
    return (DELIVERY_STATES as readonly string[]).includes(value)
      ? null
      : `must be one of ${DELIVERY_STATES.join(", ")}`;
  }
  return null;
}

/** The address of a page with this query. Without a place it is the head of the list. */
export function toHref<Name extends string>(path: string, { values, after }: Query<Name>): string {
  const search = new URLSearchParams();
  for (const [name, list] of Object.entries<string[] | undefined>(values)) {
    for (const value of list ?? []) search.append(name, value);
  }
  if (after) search.set("after", `${after.at}~${after.id}`);
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** The query with one value added, or removed if it is there already, from the head of the list. */
export function toggled<Name extends string>(query: Query<Name>, name: Name, value: string): Query<Name> {
  const list = query.values[name] ?? [];
  const rest = list.includes(value) ? list.filter((one) => one !== value) : [...list, value];
  return { values: { ...query.values, [name]: rest }, after: null };
}

export function runFilter({ values }: Query<RunFilterName>): RunFilter {
  const { since: [since] = [], until: [until] = [], q: [typed] = [], ...lists } = values;
  const search = typed === undefined ? "" : readSearch(typed);
  return { ...given(lists), ...instants(since, until), ...(typeof search === "string" ? {} : { search }) };
}

export function deliveryFilter({ values }: Query<DeliveryFilterName>): DeliveryFilter {
  const { since: [since] = [], until: [until] = [], ...lists } = values;
  return { ...given(lists), ...instants(since, until) };
}

const given = <T extends Record<string, string[] | undefined>>(lists: T): { [K in keyof T]?: string[] } =>
  Object.fromEntries(Object.entries(lists).filter(([, list]) => list !== undefined && list.length > 0)) as {
    [K in keyof T]?: string[];
  };

function instants(since: string | undefined, until: string | undefined): { since?: number; until?: number } {
  const from = since === undefined ? null : parseInstant(since);
  const to = until === undefined ? null : parseInstant(until);
  return { ...(from === null ? {} : { since: from }), ...(to === null ? {} : { until: to }) };
}

/** Parses a time as the API does, also with a blank in the middle, and without seconds. Null when it is no such time. */
export const parseInstant = (text: string): number | null =>
  instant.safeParse(text.replace(" ", "T").replace(/(T\d\d:\d\d)(Z|[+-]|$)/, "$1:00$2")).data ?? null;

function readPlace(text: string): Page["after"] | null {
  const [, at, id] = /^(\d{1,15})~(.{1,300})$/s.exec(text) ?? [];
  return at === undefined || id === undefined ? null : { at: Number(at), id };
}
