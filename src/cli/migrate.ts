/** `skyvern-relay migrate`: migrates the database to this release's schema, as the relay does at its start. */
import { migrate, SCHEMA_VERSION, readVersion } from "../store/schema/migrate.ts";
import { describeDatabase } from "../store/address.ts";
import { openDatabase } from "../store/open.ts";
import type { Config } from "../config/config.ts";
import { EXIT, type AddCommand, type Shell } from "./command.ts";
import { bar, progressLine } from "./progress.ts";

export const addMigrate: AddCommand = ({ command, configured, shell }) =>
  command("migrate", "create or migrate the database; `serve` does so by itself at its start")
    .option("--json", "machine-readable")
    .action(configured((config, options: MigrateOptions) => migrateCommand(options, config, shell)));

/** As commander reads them. */
export interface MigrateOptions {
  json?: boolean;
}

/** Resolves with the exit code. */
async function migrateCommand(
  { json = false }: MigrateOptions,
  { database: settings }: Pick<Config, "database">,
  shell: Pick<Shell, "stdout" | "stderr" | "terminal">,
): Promise<number> {
  const line = progressLine(shell);
  try {
    const database = await openDatabase(settings, "patient");
    try {
      const before = await readVersion(database);
      await migrate(database, (version) => line.show(`${bar(version, SCHEMA_VERSION)} from version ${version}`));
      line.clear();
      const address = describeDatabase(settings);
      const done =
        before === SCHEMA_VERSION ? "has" : before === 0 ? "was created with" : `was brought from ${before} to`;
      const answer = json
        ? JSON.stringify({ database: address, before, version: SCHEMA_VERSION })
        : `${address} ${done} schema version ${SCHEMA_VERSION}`;
      shell.stdout(`${answer}\n`);
      return EXIT.done;
    } finally {
      await database.close();
    }
  } catch (error) {
    line.clear();
    shell.stderr(
      `skyvern-relay migrate: ${describeDatabase(settings)}: ` +
        `${error instanceof Error ? error.message : String(error)}\n`,
    );
    return EXIT.failed;
  }
}
