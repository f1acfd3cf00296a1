/**
 * `skyvern-relay redeliver`: puts new deliveries into the outbox of the configured database. It opens the database
 * beside a running relay, which finds them when it next looks, and leaves the sending to it.
 */
import { DELIVERY_STATES } from "../domain/run.ts";
import { IN_MEMORY, isInMemory } from "../store/address.ts";
import { newDeliveryIds, redeliver } from "../store/outbox/redeliver.ts";
import { createSqlStore } from "../store/sql-store.ts";
import type { DeliveryFilter } from "../store/contract/deliveries.ts";
import type { Store } from "../store/store.ts";
import { using } from "./database.ts";
import { complain, EXIT, type AddCommand, type CommandDeps, type Complain } from "./command.ts";
import { parseSpan, type Span } from "./time-options.ts";

export const addRedeliver: AddCommand = ({ command, configured }) =>
  command(
    "redeliver",
    "redeliver a run, or everything that a filter selects; a running relay sends within half a minute",
  )
    .argument("[run_id]", "the run; without it, --state and the other filters select")
    .option("--sink <name...>", "only to these sinks; default: those that the run was for, else all")
    .option("--state <state...>", "deliveries in this state, most often dead")
    .option("--since <time>", "made at or after this time (ISO 8601, UTC, or an age such as 7d)")
    .option("--until <time>", "made before this time")
    .option("--dry-run", "only count, and change nothing")
    .option("--json", "machine-readable")
    .action(
      configured((deps, runId: string | undefined, options: RedeliverOptions) =>
        redeliverCommand(runId, options, deps),
      ),
    );

interface RedeliverOptions {
  sink?: string[];
  state?: string[];
  since?: string;
  until?: string;
  dryRun?: boolean;
  json?: boolean;
}

/** Deliveries made in one transaction: it keeps the running relay from writing, so it must be over within a moment. */
const BATCH = 500;
const WHEN = "A running relay sends them within half a minute; one that is stopped, when it next starts.";

/** One run's, or with `state` all that the filter names. Resolves with the exit code. */
async function redeliverCommand(
  runId: string | undefined,
  options: RedeliverOptions,
  deps: CommandDeps,
): Promise<number> {
  const { config, shell } = deps;
  const wrong = complain(shell, "redeliver");
  const misuse = findMisuse(runId, options, config);
  if (misuse !== null) return wrong(EXIT.usage, misuse);
  const span = parseSpan(options, deps.runtime.now());
  if (typeof span === "string") return wrong(EXIT.usage, span);
  return using({ name: "redeliver", config, shell }, "beside", (database) => {
    const store = createSqlStore(database);
    return runId === undefined
      ? redeliverMatching(store, options, span, deps)
      : redeliverRun(store, runId, options, deps, wrong);
  });
}

async function redeliverRun(
  store: Store,
  runId: string,
  options: RedeliverOptions,
  { config, runtime, shell }: CommandDeps,
  wrong: Complain,
): Promise<number> {
  const result = await redeliver({ store, sinks: config.sinks, runtime }, runId, options.sink ?? null);
  if (!result.ok) return wrong(EXIT.failed, result.reason);
  if (options.json === true) shell.stdout(`${JSON.stringify({ data: result.deliveries }, null, 2)}\n`);
  else {
    const made = result.deliveries.map(({ sink: name, id }) => `${runId} → ${name} (${id})\n`);
    shell.stdout(`${made.join("")}${WHEN}\n`);
  }
  return EXIT.done;
}

async function redeliverMatching(
  store: Store,
  options: RedeliverOptions,
  { since, until = Infinity }: Span,
  { config, runtime, shell }: CommandDeps,
): Promise<number> {
  const dryRun = options.dryRun === true;
  const now = runtime.now();
  const filter: DeliveryFilter = {
    state: options.state ?? [],
    sink: options.sink ?? config.sinks.map(({ name }) => name),
    ...(since === undefined ? {} : { since }),
    // A delivery that dies again while this runs is left to the next call.
    until: Math.min(now + 1, until),
  };
  let count = dryRun ? await store.redeliverable(filter, Number.MAX_SAFE_INTEGER) : 0;
  for (let made = dryRun ? 0 : BATCH; made === BATCH; count += made)
    made = await store.redeliverAll(filter, newDeliveryIds(runtime, BATCH), now);
  if (options.json === true) shell.stdout(`${JSON.stringify({ count, dry_run: dryRun })}\n`);
  else if (dryRun) shell.stdout(`${count} deliveries would be created.\n`);
  else shell.stdout(`${count} deliveries were created.${count > 0 ? ` ${WHEN}` : ""}\n`);
  return EXIT.done;
}

/** What is wrong with how it was called, or null. */
function findMisuse(
  runId: string | undefined,
  options: RedeliverOptions,
  { sinks, database }: CommandDeps["config"],
): string | null {
  const unknown = options.sink?.find((name) => !sinks.some((sink) => sink.name === name));
  if (unknown !== undefined) {
    return (
      `there is no sink ${JSON.stringify(unknown)}; there are ` + (sinks.map(({ name }) => name).join(", ") || "none")
    );
  }
  if (isInMemory(database)) return IN_MEMORY;
  if (runId !== undefined) {
    const filters = Object.entries({ "--state": options.state, "--since": options.since, "--until": options.until });
    const given = filters.find(([, value]) => value !== undefined)?.[0] ?? (options.dryRun ? "--dry-run" : undefined);
    return given === undefined ? null : `${given} goes with no run id`;
  }
  if (options.state === undefined) return "name a run, or what to send again, such as --state dead";
  const state = options.state.find((name) => !(DELIVERY_STATES as readonly string[]).includes(name));
  if (state !== undefined) return `--state must be one of ${DELIVERY_STATES.join(", ")}, not ${JSON.stringify(state)}`;
  return null;
}
