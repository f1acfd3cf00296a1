/** `skyvern-relay copy`: copies an installation from SQLite to PostgreSQL. */
import { errorText } from "../platform/error-text.ts";
import { readTrustedFile } from "../app/trusted-file.ts";
import { readDatabase, readEnvironment } from "../config/config.ts";
import { COPIED_TABLES, copyAll, CopyRefused, countRows } from "../store/sqlite-to-postgres.ts";
import type { Database } from "../store/database.ts";
import { migrate, SCHEMA_VERSION, readVersion } from "../store/schema/migrate.ts";
import { describeDatabase, type DatabaseSettings } from "../store/address.ts";
import { openDatabase, unreachable } from "../store/open.ts";
import { complain, EXIT, type AddCommand, type Shell } from "./command.ts";
import { bar, progressLine } from "./progress.ts";

/** The options as commander reads them. */
export interface CopyOptions {
  from: string;
  to?: string;
  json?: boolean;
}

export const addCopy: AddCommand = ({ command, ends, shell }) =>
  command("copy", "copy everything from SQLite to an empty PostgreSQL; stop the relay first")
    .requiredOption("--from <sqlite:PATH>", "the SQLite database, which stays unchanged")
    .option("--to <postgres://…>", "the target; default: DATABASE_URL, which other processes cannot read")
    .option("--json", "machine-readable")
    .action(ends((options: CopyOptions) => copyCommand(options, shell)));

/**
 * Resolves with the exit code. 0 means that everything was copied, counted and compared; otherwise nothing was copied.
 */
async function copyCommand(options: CopyOptions, shell: Shell): Promise<number> {
  const wrong = complain(shell, "copy");
  const from = readDatabase(options.from);
  if (from?.kind !== "sqlite") return wrong(EXIT.usage, "--from must be sqlite:PATH");
  const to = readDatabase(options.to ?? readDatabaseUrl(shell));
  if (to?.kind !== "postgres")
    return wrong(EXIT.usage, "--to (or DATABASE_URL) must be postgres://user:password@host/database");
  const missing = unreachable(from);
  if (missing !== null) return wrong(EXIT.failed, missing);
  const opened: Database[] = [];
  const open = async (settings: DatabaseSettings): Promise<Database> => {
    const database = await openDatabase(settings, "patient");
    opened.push(database);
    return database;
  };
  const line = progressLine(shell);
  try {
    // A running relay holds the lock.
    const source = await open(from);
    const version = await readVersion(source);
    if (version !== SCHEMA_VERSION)
      return wrong(
        EXIT.failed,
        `${from.path} has schema version ${version}, this release ${SCHEMA_VERSION}: start this release on it once`,
      );
    const target = await open(to);
    await migrate(target);
    const all = 2 * (await countRows(source));
    const sums = await copyAll(source, target, (done) => line.show(`Copying ${bar(done, all)} ${done} of ${all}`));
    line.clear();
    if (options.json === true) shell.stdout(`${JSON.stringify({ to: describeDatabase(to), tables: sums }, null, 2)}\n`);
    else {
      const tables = COPIED_TABLES.map(
        (table) => `${table.padEnd(16)} ${String(sums[table].rows).padStart(9)}  ${sums[table].checksum.slice(0, 16)}`,
      );
      shell.stdout(
        `${tables.join("\n")}\nEverything is in ${describeDatabase(to)}, counted and compared. Start the ` +
          `relays with this DATABASE_URL.\n`,
      );
    }
    return EXIT.done;
  } catch (error) {
    line.clear();
    const why = errorText(error);
    return wrong(EXIT.failed, error instanceof CopyRefused ? `${why}. Nothing was copied` : why);
  } finally {
    for (const database of opened) await database.close();
  }
}

/** Reads the variable or its file; the rest of the configuration is not needed. */
const readDatabaseUrl = ({ env }: Shell): string => readEnvironment(env, readTrustedFile).get("DATABASE_URL") ?? "";
