/**
 * `skyvern-relay prune`: removes now what retention in relay.yaml says, beside a running relay, in the same small
 * steps. The bytes of archived copies are left to the relay, which removes them within seconds, or at its next start.
 */
import type { Config } from "../config/config.ts";
import { formatDuration } from "../platform/duration.ts";
import { prune, type Removed } from "../app/retention.ts";
import { IN_MEMORY, isInMemory } from "../store/address.ts";
import { createSqlStore } from "../store/sql-store.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { plural } from "../platform/amounts.ts";
import { using } from "./database.ts";

export const addPrune: AddCommand = ({ command, configured }) =>
  command("prune", "remove now what retention says is due; a running relay does this every hour")
    .option("--dry-run", "only count, and remove nothing")
    .option("--json", "machine-readable")
    .action(configured((deps, options: PruneOptions) => pruneCommand(options, deps)));

interface PruneOptions {
  dryRun?: boolean;
  json?: boolean;
}

/** Resolves with the exit code. Without retention there is nothing to do, which is no failure. */
async function pruneCommand(
  { dryRun = false, json = false }: PruneOptions,
  { config, runtime, shell }: CommandDeps,
): Promise<number> {
  const wrong = complain(shell, "prune");
  if (isInMemory(config.database)) return wrong(EXIT.usage, IN_MEMORY);
  return using({ name: "prune", config, shell }, "beside", async (database) => {
    const deps = { ...runtime, store: createSqlStore(database), settings: config.retention };
    const removed = await prune(deps, { dryRun, signal: shell.stopped });
    if (json) shell.stdout(`${JSON.stringify({ ...removed, dry_run: dryRun })}\n`);
    else shell.stdout(renderSentences(removed, dryRun, config.retention));
    return shell.stopped.aborted ? wrong(EXIT.failed, "stopped before the end; the same command continues") : EXIT.done;
  });
}

const WORDS: [keyof Removed, string][] = [
  ["runs", "runs, with all that belongs to them"],
  ["raw", "bodies of receipts that stay"],
  ["unrecognized", "receipts that were never recognized as a run"],
  ["tests", "test deliveries"],
  ["listed_runs", "entries of Skyvern's list"],
];

function renderSentences(removed: Removed, dryRun: boolean, { runsMs, rawMs, hold }: Config["retention"]): string {
  if (runsMs === null && rawMs === null) return "retention in relay.yaml is false: everything is kept.\n";
  const kept = (ms: number | null) => (ms === null ? "for ever" : `for ${formatDuration(ms)}`);
  const lines = WORDS.map(([name, what]) => `${String(removed[name]).padStart(8)} ${what}`);
  const held = hold.length === 0 ? "" : `, ${plural(hold.length, "run")} at any age`;
  return [
    `${dryRun ? "Would be removed" : "Removed"}, as runs are kept ${kept(runsMs)} and raw bodies ` +
      `${kept(rawMs)}${held}:`,
    ...lines,
    "",
  ].join("\n");
}
