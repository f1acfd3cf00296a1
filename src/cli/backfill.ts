/**
 * `skyvern-relay backfill`: fills the configured database with past runs. It writes beside a running relay, which
 * delivers what this queues.
 */
import type { Config } from "../config/config.ts";
import { openEgress } from "../app/outside.ts";
import { count, plural } from "../platform/amounts.ts";
import { silentLog } from "../platform/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { createAddresses } from "../receive/own-addresses.ts";
import { backfill, type BackfillQuery, type Progress, type Tally } from "../reconcile/backfill.ts";
import { createIngest } from "../reconcile/ingest.ts";
import { createIntake } from "../receive/intake.ts";
import { GRACE_MS } from "../reconcile/reconcile.ts";
import { createSkyvernClient } from "../skyvern/client.ts";
import type { Database } from "../store/database.ts";
import { IN_MEMORY, isInMemory } from "../store/address.ts";
import { createSqlStore } from "../store/sql-store.ts";
import { using } from "./database.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { parseSpan } from "./time-options.ts";
import { bar, progressLine } from "./progress.ts";

export const addBackfill: AddCommand = ({ command, configured }) =>
  command("backfill", "fill in past runs from Skyvern's list; known runs are skipped")
    .requiredOption("--since <time>", "created at or after this time (ISO 8601, UTC, or an age such as 7d)")
    .option("--until <time>", "created before this time; default: now")
    .option("--workflow <id...>", "only runs of these workflows (wpid_…)")
    .option(
      "--scope <scope>",
      "mine: runs whose webhook leads here; all: every run; default: as skyvern.reconcile.scope",
    )
    .option("--deliver", "deliver them by the routes, as if they had just ended")
    .option("--no-deliver", "deliver nothing (the default, because old runs would flood a channel)")
    .option("--dry-run", "only count, and change nothing")
    .option("--json", "machine-readable")
    .action(configured((deps, options: BackfillOptions) => backfillCommand(options, deps)));

/** The options as commander reads them. */
export interface BackfillOptions {
  since: string;
  until?: string;
  workflow?: string[];
  scope?: string;
  deliver?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

/** The checked options. */
interface BackfillPlan extends BackfillQuery {
  scope: "mine" | "all";
  deliver: boolean;
  dryRun: boolean;
}

/** Resolves with the exit code, which is 1 also when it had to stop before the end. */
export async function backfillCommand(options: BackfillOptions, deps: CommandDeps): Promise<number> {
  const { config, shell } = deps;
  const wrong = complain(shell, "backfill");
  const plan = parsePlan(options, config, deps.runtime.now());
  if (typeof plan === "string") return wrong(EXIT.usage, plan);
  return using({ name: "backfill", config, shell }, "beside", async (database) => {
    const tally = await run(plan, database, deps);
    shell.stdout(
      options.json === true ? `${JSON.stringify(toJson(tally, plan))}\n` : renderSummary(tally, plan, config),
    );
    if (tally.faults.length === 0) return EXIT.done;
    return wrong(EXIT.failed, `it stopped before the end: ${tally.faults.join("; ")}. ${reachedText(tally)}`);
  });
}

async function run(plan: BackfillPlan, database: Database, { config, runtime, shell }: CommandDeps): Promise<Tally> {
  const store = createSqlStore(database);
  const egress = openEgress(config);
  const line = progressLine(shell);
  const settings = {
    redactKeys: config.redactKeys,
    routes: config.routes,
    labels: config.labels,
    // Sinks get a result, never an update, because no earlier message exists.
    sinks: config.sinks.map(({ name, kind }) => ({ name, kind, updates: false })),
    organizations: config.keys.map(({ organization }) => organization),
    archives: config.archive !== null,
  };
  const addresses = createAddresses(() => config.publicUrl);
  const ingest = createIngest(
    {
      intake: createIntake({ ...settings, store, runtime, log: silentLog }),
      addresses,
      runtime,
      log: silentLog,
      metrics: createMetrics(),
      nudge: () => {},
    },
    { deliver: plan.deliver },
  );
  try {
    return await backfill(
      {
        client: createSkyvernClient({ ...runtime, baseUrl: config.baseUrl, keys: config.keys, ...egress }),
        store,
        ingest: plan.dryRun ? null : ingest,
        addresses,
        scope: plan.scope,
        runtime,
        signal: shell.stopped,
        progress: (progress) => line.show(renderProgress(progress)),
      },
      plan,
    );
  } finally {
    line.clear();
    await egress.close();
  }
}

/** Runs that ended this recently are left to the running relay: filled in silently, they would never be delivered. */
const RECENT_MS = 600_000;

/** The plan, or a message about wrong usage. */
function parsePlan(options: BackfillOptions, config: Config, now: number): BackfillPlan | string {
  const span = parseSpan(options, now);
  if (typeof span === "string") return span;
  const { since = 0, until = now } = span;
  const workflow = options.workflow ?? [];
  const odd = workflow.find((id) => !/^wpid_\w+$/.test(id));
  if (odd !== undefined) return `--workflow must be a permanent id (wpid_…), not ${JSON.stringify(odd)}`;
  const scope = options.scope ?? config.reconcile?.scope ?? "mine";
  if (scope !== "mine" && scope !== "all") return `--scope must be mine or all, not ${JSON.stringify(scope)}`;
  if (isInMemory(config.database)) return IN_MEMORY;
  const deliver = options.deliver === true;
  const recentMs = Math.max(RECENT_MS, 2 * (config.reconcile?.everyMs ?? 0));
  const endedBefore = now - (deliver ? GRACE_MS : recentMs);
  return { since, until, workflow, endedBefore, scope, deliver, dryRun: options.dryRun === true };
}

const toJson = ({ reached, ...tally }: Tally, { deliver, dryRun, since, until }: BackfillPlan) => ({
  ...tally,
  since: new Date(since).toISOString(),
  until: new Date(until).toISOString(),
  deliver,
  dry_run: dryRun,
  reached: reached === null ? null : new Date(reached).toISOString(),
});

function renderSummary(tally: Tally, { deliver, dryRun }: BackfillPlan, config: Config): string {
  const { added, known, elsewhere, recent, unreadable, blocked } = tally;
  const relayed = deliver ? ", and the relay delivers them" : ", and nothing is delivered";
  const lines: [number | true, string][] = [
    [
      true,
      `${plural(added, "run")} ${dryRun ? "would be" : added === 1 ? "was" : "were"} filled in${dryRun ? "" : relayed}.`,
    ],
    [known, `${plural(known, "run")} known already.`],
    [
      elsewhere,
      `${plural(elsewhere, "run")} whose webhook does not lead to ${config.publicUrl}: --scope all takes them too.`,
    ],
    [recent, `${plural(recent, "run")} ended too recently and are left to the running relay.`],
    [
      blocked,
      `${plural(blocked, "run")} whose webhook address has a host that Skyvern blocks: it lists them and does not show them.`,
    ],
    [unreadable, `${plural(unreadable, "run")} that Skyvern does not find or the relay does not recognize.`],
  ];
  return lines.flatMap(([applies, text]) => (applies ? [`${text}\n`] : [])).join("");
}

const reachedText = ({ reached }: Tally): string =>
  `${reached === null ? "No run was reached" : `It got as far as runs that ended at ${new Date(reached).toISOString()}`}; ` +
  "run it again to continue.";

function renderProgress(progress: Progress): string {
  if (progress.doing === "listing") return `Reading Skyvern's list: ${plural(progress.rows, "run")}`;
  if (progress.doing === "waiting") return `Waiting: ${progress.reason.slice(0, 100)}`;
  return `${bar(progress.done, progress.of)} ${count(progress.done)} of ${plural(progress.of, "run")}`;
}
