/** What is asked of the history, and by which goal it is judged. */
import { writeCursor } from "../../src/http/api/schemas.ts";
import { COMMON_WORD, PHRASE, RARE_WORD, workflowOf, chanceOf } from "./payloads.ts";
import { atOf, idOf as runIdOf, type Size } from "./size.ts";

/**
 * The ratio of the medians that a group may have (1,000,000 against 10,000 runs). Whatever has no goal of its own: 3.
 */
export const GOALS = {
  newest: 1.1,
  cursor: 1.25,
  filter: 1.5,
  lookup: 1.6,
  search: 2,
  stats: 1.2,
  other: 3,
} as const;
/** Milliseconds, the slowest of all questions at the larger size. */
export const WORST_P99_MS = 20;

export interface Question {
  name: string;
  group: keyof typeof GOALS;
  /** The address, the `i`-th time it is asked. */
  path(i: number): string;
}

export function questionsOf(size: Size): Question[] {
  /** Another run each time, anywhere. */
  const some = (i: number): number => Math.floor(chanceOf(i + 1_000_003)() * size.runs);
  const idOf = (n: number): string => runIdOf(size, n);
  const deep = (i: number) => {
    const n = some(i);
    return { at: atOf(size, n), id: idOf(n) };
  };
  const iso = (ms: number): string => new Date(ms).toISOString();
  const common = `q=${COMMON_WORD}`;
  const fixed = (group: Question["group"], name: string, query: string): Question => ({
    group,
    name,
    path: () => `/v1/${query}`,
  });
  const filter = (query: string) => fixed("filter", query, `runs?${query}`);
  return [
    fixed("newest", "newest 50", "runs"),
    fixed("newest", "newest 200", "runs?limit=200"),
    { group: "cursor", name: "a page anywhere", path: (i) => `/v1/runs?cursor=${writeCursor(deep(i))}` },
    ...["status=failed", "status=completed", "run_type=task_v2", "channel=billing", "source=webhook"].map(filter),
    filter(`workflow=${workflowOf(0).id}`),
    filter(`workflow=${workflowOf(55).id}&limit=5`),
    filter("sink=crm"),
    filter("delivery=dead"),
    filter("delivery=pending"),
    filter("delivery=delivered"),
    {
      group: "filter",
      name: "since and until",
      // As many runs in both sizes.
      path: (i) => {
        const n = Math.max(some(i), 60);
        return `/v1/runs?since=${iso(atOf(size, n - 60))}&until=${iso(atOf(size, n))}`;
      },
    },
    fixed("other", "status and channel", "runs?status=failed&channel=billing"),
    fixed("other", "two statuses", "runs?status=failed&status=terminated"),
    fixed("other", "workflow and status", `runs?workflow=${workflowOf(3).id}&status=failed&limit=5`),
    fixed("other", "sink and state", "runs?sink=crm&delivery=dead"),
    {
      group: "other",
      name: "status, a page anywhere",
      path: (i) => `/v1/runs?status=failed&cursor=${writeCursor(deep(i))}`,
    },
    {
      group: "other",
      name: "dead, a page anywhere",
      path: (i) => `/v1/runs?delivery=dead&cursor=${writeCursor(deep(i))}`,
    },
    fixed("search", "a common word", `runs?${common}`),
    fixed("search", "a rare word", `runs?q=${RARE_WORD}&limit=5`),
    fixed("search", "a word nobody said", "runs?q=xylophone"),
    fixed("search", "a phrase", `runs?q=${encodeURIComponent(PHRASE)}`),
    fixed("search", "a 3-letter prefix", "runs?q=inv*"),
    fixed("search", "two 3-letter prefixes", "runs?q=bab*+inv*"),
    fixed("search", "two words", `runs?q=${COMMON_WORD}+portal`),
    fixed("search", "a word and a status", `runs?${common}&status=failed`),
    fixed("search", "a word and a sink", `runs?${common}&sink=crm`),
    { group: "search", name: "an id", path: (i) => `/v1/runs?q=${idOf(some(i))}` },
    {
      group: "search",
      name: "an order number",
      path: (i) => `/v1/runs?q=INV-2026-${String(some(i)).padStart(7, "0")}`,
    },
    {
      group: "search",
      name: "a word, a page anywhere",
      path: (i) => `/v1/runs?${common}&cursor=${writeCursor(deep(i))}`,
    },
    { group: "lookup", name: "one run", path: (i) => `/v1/runs/${idOf(some(i))}` },
    { group: "lookup", name: "why", path: (i) => `/v1/runs/${idOf(some(i))}/why` },
    { group: "lookup", name: "the run's page", path: (i) => `/runs/${idOf(some(i))}` },
    { group: "newest", name: "the page of runs", path: () => "/" },
    fixed("stats", "by the hour", "stats"),
    fixed("stats", "by the day", "stats?bucket=day"),
    fixed("other", "deliveries", "deliveries"),
    fixed("other", "deliveries of a sink", "deliveries?sink=crm"),
    fixed("other", "dead deliveries", "deliveries?state=dead"),
    {
      group: "other",
      name: "deliveries, a page anywhere",
      path: (i) => `/v1/deliveries?cursor=${writeCursor({ at: deep(i).at, id: "dlv_" })}`,
    },
    { group: "other", name: "deliveries of a run", path: (i) => `/v1/deliveries?run_id=${idOf(some(i))}` },
    fixed("other", "sinks", "sinks"),
    { group: "other", name: "metrics", path: () => "/metrics" },
  ];
}
