/** `skyvern-relay migrate`: migrates the database to this release's schema, as the relay does at its start. */
import { errorText } from "../platform/error-text.ts";
import { migrate, SCHEMA_VERSION, readVersion } from "../store/schema/migrate.ts";
import { describeDatabase } from "../store/address.ts";
import { openDatabase } from "../store/open.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { bar, progressLine } from "./progress.ts";

export const addMigrate: AddCommand = ({ command, configured }) =>
  command("migrate", "create or migrate the database; `serve` does so by itself at its start")
    .option("--json", "machine-readable")
    .action(configured((deps, options: MigrateOptions) => migrateCommand(options, deps)));

interface MigrateOptions {
  json?: boolean;
}

/** Resolves with the exit code. */
async function migrateCommand({ json = false }: MigrateOptions, { config, shell }: CommandDeps): Promise<number> {
  const settings = config.database;
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
    return complain(shell, "migrate")(EXIT.failed, `${describeDatabase(settings)}: ${errorText(error)}`);
  }
}
