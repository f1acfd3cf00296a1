/**
 * `skyvern-relay runs`: the newest runs as a table. Reads the configured database, also while a relay runs on it, and
 * writes nothing.
 */
import { formatDuration } from "../platform/duration.ts";
import { isoTime } from "../platform/time.ts";
import type { RunFilter, RunListItem } from "../store/contract/runs.ts";
import { line } from "../web/text.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { withDatabase } from "./database.ts";
import { parseSpan } from "./time-options.ts";

interface RunsOptions {
  status?: string[];
  workflow?: string[];
  channel?: string[];
  sink?: string[];
  since?: string;
  until?: string;
  limit: string;
  json?: boolean;
}

export const addRuns: AddCommand = ({ command, configured }) =>
  command("runs", "show the newest runs as a table; the relay need not run")
    .option("--status <status...>", "with one of these outcomes")
    .option("--workflow <id...>", "of these workflows: permanent id or title")
    .option("--channel <channel...>", "received in these channels (the word after /webhook/)")
    .option("--sink <name...>", "with a delivery to one of these sinks")
    .option("--since <time>", "received at or after this time (ISO 8601, UTC, or an age such as 7d)")
    .option("--until <time>", "received before this time")
    .option("--limit <n>", "how many, from 1 to 1000", "20")
    .option("--json", "machine-readable")
    .action(configured((deps, options: RunsOptions) => runsCommand(options, deps)));

function runsCommand(options: RunsOptions, deps: CommandDeps): number | Promise<number> {
  const { shell } = deps;
  const misuse = (message: string): number => complain(shell, "runs")(EXIT.usage, message);
  const limit = /^\d{1,4}$/.test(options.limit) ? Number(options.limit) : 0;
  if (limit < 1 || limit > 1_000)
    return misuse(`--limit must be a whole number from 1 to 1000, not ${JSON.stringify(options.limit)}`);
  const span = parseSpan(options, deps.runtime.now());
  if (typeof span === "string") return misuse(span);
  const { status, workflow, channel, sink } = options;
  const filter: RunFilter = Object.fromEntries(
    Object.entries({ status, workflow, channel, sink, ...span }).filter(([, value]) => value !== undefined),
  );
  return withDatabase({ name: "runs", ...deps }, async (store) => {
    const runs = await store.listItems(filter, { limit });
    if (options.json === true) shell.stdout(`${JSON.stringify(runs.map(toJson), null, 2)}\n`);
    else if (runs.length === 0) shell.stdout("No run fits. skyvern-relay check says how runs are found.\n");
    else shell.stdout(renderRuns(runs, shell.screen?.columns() ?? null));
    return EXIT.done;
  });
}

const toJson = ({ received_at, ...run }: RunListItem) => ({ ...run, received_at: isoTime(received_at) });

const TITLES = ["WHEN", "STATUS", "TOOK", "RUN", "SINKS", "WHAT"];
/** Where the width is not known the last column is as long as its text. */
const LEAST_LAST = 20;

/** Columns of equal width; the last one takes what is left of the line. */
function renderRuns(runs: readonly RunListItem[], columns: number | null): string {
  const rows = [TITLES, ...runs.map(toCells)];
  const widths = TITLES.slice(0, -1).map((_title, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)));
  const before = widths.reduce((sum, width) => sum + width + 2, 0);
  const last = columns === null ? 240 : Math.max(LEAST_LAST, columns - before);
  return rows
    .map((cells) => [...widths.map((width, i) => (cells[i] ?? "").padEnd(width)), cut(cells.at(-1) ?? "", last)])
    .map((cells) => `${cells.join("  ").trimEnd()}\n`)
    .join("");
}

/** A deceiving character is spelled out before the text is cut. */
function cut(text: string, width: number): string {
  const shown = line(text, 300);
  return shown.length > width ? `${shown.slice(0, width - 1).toWellFormed()}…` : shown;
}

const toCells = (run: RunListItem): string[] => [
  isoTime(run.received_at).slice(0, 16).replace("T", " "),
  line(run.status, 12),
  run.duration_ms === null ? "" : formatDuration(Math.max(1_000, Math.round(run.duration_ms / 1_000) * 1_000)),
  line(run.run_id, 40),
  run.deliveries.map(({ sink, state }) => `${line(sink, 20)}:${state}`).join(" ") || "nobody",
  [run.title ?? run.workflow ?? run.site ?? "", run.reason ?? ""].filter((text) => text !== "").join(": "),
];
