/**
 * `skyvern-relay prune`: removes now what retention in relay.yaml says, beside a running relay, in the same small steps. The
 * bytes of archived copies are left to the relay, which removes them within seconds, or at its next start.
 */
import { existsSync } from "node:fs";
import { EXIT, type Shell } from "../cli.ts";
import type { Config } from "../config.ts";
import { formatDuration } from "../duration.ts";
import { prune, type Removed } from "../retention.ts";
import type { Runtime } from "../runtime.ts";
import { openSqlite } from "../store/database.ts";
import { SCHEMA_VERSION, versionOf } from "../store/migrate.ts";
import { createSqlStore } from "../store/sql.ts";

/** As commander reads them. */
export interface PruneOptions {
  dryRun?: boolean;
  json?: boolean;
}

export interface PruneParts {
  config: Pick<Config, "database" | "retention">;
  runtime: Pick<Runtime, "now" | "sleep">;
  shell: Pick<Shell, "stdout" | "stderr" | "stopped">;
}

/** Resolves with the exit code. Without retention there is nothing to do, which is no failure. */
export async function pruneCommand(
  { dryRun = false, json = false }: PruneOptions,
  { config, runtime, shell }: PruneParts,
): Promise<number> {
  const wrong = (message: string): number => {
    shell.stderr(`skyvern-relay prune: ${message}\n`);
    return EXIT.failed;
  };
  const { path } = config.database;
  if (path === ":memory:") {
    shell.stderr("skyvern-relay prune: DATABASE_URL is in memory, which no other process can reach\n");
    return EXIT.usage;
  }
  if (!existsSync(path)) return wrong(`there is no database at ${path}: no relay has run on it yet`);
  try {
    const database = openSqlite(path, { exclusive: false });
    try {
      const version = await versionOf(database);
      if (version !== SCHEMA_VERSION) {
        return wrong(
          `the database has schema version ${version}, this release ${SCHEMA_VERSION}: use the release that the relay runs`,
        );
      }
      const parts = { ...runtime, store: createSqlStore(database), settings: config.retention };
      const removed = await prune(parts, { dryRun, signal: shell.stopped });
      if (json) shell.stdout(`${JSON.stringify({ ...removed, dry_run: dryRun })}\n`);
      else shell.stdout(sentences(removed, dryRun, config.retention));
      return shell.stopped.aborted ? wrong("stopped before the end; the same command goes on") : EXIT.done;
    } finally {
      await database.close();
    }
  } catch (error) {
    // A disk or a lock: nothing of the step under way was removed.
    return wrong(error instanceof Error ? error.message : String(error));
  }
}

const WORDS: [keyof Removed, string][] = [
  ["runs", "runs, with all that belongs to them"],
  ["raw", "bodies of receipts that stay"],
  ["kept", "receipts that were never understood"],
  ["tests", "test deliveries"],
  ["sightings", "entries of Skyvern's list"],
];

function sentences(removed: Removed, dryRun: boolean, { runsMs, rawMs, hold }: Config["retention"]): string {
  if (runsMs === null && rawMs === null) return "retention is not set in relay.yaml: everything is kept.\n";
  const kept = (ms: number | null) => (ms === null ? "for ever" : `for ${formatDuration(ms)}`);
  const lines = WORDS.map(([name, what]) => `${String(removed[name]).padStart(8)} ${what}`);
  const held = hold.length === 0 ? "" : `, ${hold.length} runs whatever their age`;
  return [
    `${dryRun ? "Would be removed" : "Removed"}, as runs are kept ${kept(runsMs)} and raw bodies ${kept(rawMs)}${held}:`,
    ...lines,
    "",
  ].join("\n");
}
