/**
 * `skyvern-relay export`: writes the stored runs to a file, by the filters of the history API. It writes nothing to the
 * database.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type { z } from "zod";
import { errorText } from "../platform/error-text.ts";
import { toFieldErrors, ExportQuery, rowToReport, toRunFilter } from "../http/api/schemas.ts";
import { createLinks } from "../http/links.ts";
import { BYTE_ORDER_MARK } from "../http/api/csv.ts";
import { RUN_FILES } from "../http/api/run-columns.ts";
import { plural } from "../platform/amounts.ts";
import { readPages } from "../store/history/all-pages.ts";
import { createSqlStore } from "../store/sql-store.ts";
import type { RunFilter } from "../store/contract/runs.ts";
import type { Store } from "../store/store.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { using } from "./database.ts";
import { parseSpan } from "./time-options.ts";
import { bar, progressLine } from "./progress.ts";

/** The options as commander reads them. */
interface ExportOptions {
  format?: string;
  to?: string;
  bom?: boolean;
  since?: string;
  until?: string;
  q?: string;
  status?: string[];
  runType?: string[];
  workflow?: string[];
  organization?: string[];
  channel?: string[];
  source?: string[];
  sink?: string[];
  delivery?: string[];
  json?: boolean;
}

export const addExport: AddCommand = ({ command, configured }) =>
  command("export", "write the stored runs to a file or standard output, newest first")
    .option(
      "--format <format>",
      "ndjson: one JSON object a line, as GET /v1/runs lists it; csv; default: by --to, else ndjson",
    )
    .option(
      "--to <file>",
      "write this file, whole or not at all, and say how many; a device, a pipe or a file with several names " +
        "is written to as it is; default: standard output",
    )
    .option("--no-bom", "with --to and csv: without the byte order mark by which Excel knows UTF-8")
    .option("--since <time>", "received at or after this time (ISO 8601, UTC, or an age such as 7d)")
    .option("--until <time>", "received before this time")
    .option("--q <words>", "with these words, as in GET /v1/runs")
    .option("--status <status...>", "with one of these outcomes")
    .option("--run-type <type...>", "of these types")
    .option("--workflow <id...>", "of these workflows: permanent id or title")
    .option("--organization <id...>", "of these organizations")
    .option("--channel <channel...>", "received in these channels (the word after /webhook/)")
    .option("--source <source...>", "webhook, reconciled or backfill")
    .option("--sink <name...>", "with a delivery to one of these sinks")
    .option("--delivery <state...>", "with a delivery in one of these states")
    .option("--json", "with --to: say in JSON what was written")
    .action(configured((deps, options: ExportOptions) => exportCommand(options, deps)));

interface ExportPlan {
  format: keyof typeof RUN_FILES;
  filter: RunFilter;
}

/** Resolves with the exit code. */
async function exportCommand(options: ExportOptions, deps: CommandDeps): Promise<number> {
  const { config, shell } = deps;
  const wrong = complain(shell, "export");
  const plan = parsePlan(options, deps.runtime.now());
  if (typeof plan === "string") return wrong(EXIT.usage, plan);
  // Runs that are not in the word index yet must be added before a search can find them all.
  const how = plan.filter.search === undefined ? "read" : "beside";
  return using({ name: "export", config, shell }, how, async (database) => {
    const store = createSqlStore(database);
    const line = progressLine(shell);
    const { to } = options;
    let out: Output = { write: shell.stdout, end: () => {}, undo: () => {}, isFile: false };
    try {
      if (to !== undefined) out = outputTo(to);
      if (plan.format === "csv" && out.isFile && options.bom !== false) out.write(BYTE_ORDER_MARK);
      const about = shell.terminal === true ? await estimate(plan.filter, store, deps.runtime.now()) : null;
      const runs = await write(plan, store, deps, out.write, (done) =>
        line.show(`Writing: ${about === null ? "" : `${bar(done, about)} `}${plural(done, "run")}`),
      );
      line.clear();
      if (shell.stopped.aborted) throw new Error("it was stopped before the end");
      out.end();
      if (to === undefined) return EXIT.done;
      if (options.json === true) shell.stdout(`${JSON.stringify({ file: to, format: plan.format, runs })}\n`);
      else shell.stdout(`${plural(runs, "run")} in ${to}.\n`);
      return EXIT.done;
    } catch (error) {
      line.clear();
      out.undo();
      // The reader of a named pipe has closed it.
      if (error instanceof Error && "code" in error && error.code === "EPIPE") return EXIT.done;
      return wrong(EXIT.failed, errorText(error));
    }
  });
}

/** About how many runs there are, from the counts of whole hours; null where only reading them would tell. */
async function estimate(filter: RunFilter, store: Store, now: number): Promise<number | null> {
  const { since = 0, until = now, ...others } = filter;
  if (Object.values(others).some((value) => value !== undefined)) return null;
  const counts = await store.runCounts("hour", since, until);
  return counts.reduce((sum, { count: runs }) => sum + runs, 0);
}

async function write(
  { format, filter }: ExportPlan,
  store: Store,
  { config, runtime, shell }: CommandDeps,
  out: (text: string) => void,
  progress: (runs: number) => void,
): Promise<number> {
  const { header, lineOf } = RUN_FILES[format];
  // The relay created it at its first start; this command stores nothing.
  const key = Buffer.from(await store.setting("link_key", ""), "base64url");
  const links = createLinks({ publicUrl: () => config.publicUrl, key, lifeMs: config.linkLifeMs, now: runtime.now });
  if (header !== "") out(header);
  let runs = 0;
  for await (const page of readPages(store, filter, shell.stopped)) {
    out(page.map((row) => lineOf(rowToReport(row, links))).join(""));
    // A slow reader slows the reading and does not grow the memory.
    await shell.flushed?.();
    runs += page.length;
    progress(runs);
  }
  return runs;
}

interface Output {
  write(text: string): void;
  end(): void;
  undo(): void;
  /** A file path, as opposed to a device or a pipe. */
  isFile: boolean;
}

/** Only a regular file with a single name may be replaced by another. A link stays, and its target is replaced. */
function outputTo(path: string): Output {
  const there = statSync(path, { throwIfNoEntry: false });
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  if (there === undefined) return isLink ? asItIs(path, true) : wholeFile(path);
  if (!there.isFile() || there.nlink !== 1) return asItIs(path, there.isFile());
  return isLink ? wholeFile(realpathSync(path)) : wholeFile(path);
}

/** A target that is written in place: what was written stays, even when the rest fails. */
function asItIs(path: string, isFile: boolean): Output {
  const file = openSync(path, "w", 0o600);
  return {
    write: (text: string) => writeFileSync(file, text),
    end: () => {
      if (isFile) fsyncSync(file);
      closeSync(file);
    },
    undo: () => {},
    isFile,
  };
}

/** A file that gets its name only when it is complete and on the disk. */
function wholeFile(path: string): Output {
  const part = `${path}.${randomBytes(4).toString("hex")}.part`;
  const file = openSync(part, "wx", 0o600);
  return {
    // Unlike `writeSync` it repeats the write for what the system did not accept at once.
    write: (text: string) => writeFileSync(file, text),
    end: () => {
      fsyncSync(file);
      closeSync(file);
      renameSync(part, path);
    },
    undo: () => rmSync(part, { force: true }),
    isFile: true,
  };
}

/** The plan, or a message about wrong usage. */
function parsePlan(options: ExportOptions, now: number): ExportPlan | string {
  const format = options.format ?? (options.to?.toLowerCase().endsWith(".csv") === true ? "csv" : "ndjson");
  if (format !== "csv" && format !== "ndjson") return `--format must be ndjson or csv, not ${JSON.stringify(format)}`;
  if (options.to === "-" || options.to === "/dev/stdout") delete options.to;
  if (options.json === true && options.to === undefined)
    return "--json goes with --to: standard output is the file itself";
  const span = parseSpan(options, now);
  if (typeof span === "string") return span;
  const {
    q,
    status,
    runType: run_type,
    workflow,
    organization: organization_id,
    channel,
    source,
    sink,
    delivery,
  } = options;
  const query = { q, status, run_type, workflow, organization_id, channel, source, sink, delivery };
  const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
  const read = ExportQuery.safeParse(given);
  if (!read.success)
    return toFieldErrors(read.error.issues as z.core.$ZodIssue[])
      .map(faultText)
      .join("; ");
  return { format, filter: { ...toRunFilter(read.data), ...span } };
}

const OPTIONS: Record<string, string> = { run_type: "run-type", organization_id: "organization" };
const faultText = ({ parameter, message }: { parameter: string; message: string }): string =>
  `--${OPTIONS[parameter] ?? parameter}: ${message}`;
