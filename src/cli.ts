import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { createApp } from "./app.ts";
import type { BackfillOptions } from "./commands/backfill.ts";
import type { PruneOptions } from "./commands/prune.ts";
import type { RedeliverOptions } from "./commands/redeliver.ts";
import type { WhyOptions } from "./commands/why.ts";
import { describeConfig, formatFaults, loadConfig, type Config, type Fault } from "./config.ts";
import { createLog, silentLog } from "./log.ts";
import { systemRuntime } from "./runtime.ts";
import { VERSION } from "./version.ts";

/** What the commands may use of the process. */
export interface Shell {
  env: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
  /** Aborts when the process was told to stop. */
  stopped: AbortSignal;
  /** Whether standard error is a terminal, where a progress bar has its place. */
  terminal?: boolean;
}

export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** Runs `skyvern-relay <arguments>`. Resolves with the exit code: 0 done, 1 it failed, 2 wrong usage or configuration. */
export async function runCli(args: readonly string[], shell: Shell): Promise<number> {
  let code: number = EXIT.done;
  const program = new Command("skyvern-relay")
    .description("Receives Skyvern's webhooks and relays each run's outcome, once.")
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: shell.stdout, writeErr: shell.stderr });
  const command = (name: string, description: string) =>
    program.command(name).description(description).exitOverride().configureOutput({
      writeOut: shell.stdout,
      writeErr: shell.stderr,
    });
  command("serve", "run the relay until SIGTERM or SIGINT").action(async () => {
    code = await serve(shell);
  });
  command("check", "check the environment and relay.yaml, and say what is set up")
    .option("--json", "machine-readable")
    .action((options: { json?: boolean }) => {
      code = check(shell, options.json === true);
    });
  command("demo", "run everything on this machine, against stand-ins for Skyvern, Slack, mail and HTTP")
    .option("--once", "exit when every sample was delivered (0) or not (1)")
    .option("--port <port>", "the relay's port", toPort, 8080)
    .action(async ({ once = false, port }: { once?: boolean; port: number }) => {
      const { runDemo } = await import("./demo/demo.ts");
      code = await runDemo({ once, port, shell });
    });
  command(
    "redeliver",
    "send a run's result again, or all that a filter names; a running relay sends within half a minute",
  )
    .argument("[run_id]", "the run; without it, what --state and the other filters name")
    .option("--sink <name...>", "only to these sinks; default: of a run those it was meant for, else all")
    .option("--state <state...>", "deliveries in this state, most often dead")
    .option("--since <time>", "made at or after this time (ISO 8601, UTC)")
    .option("--until <time>", "made before this time")
    .option("--dry-run", "only say how many it would be")
    .option("--json", "machine-readable")
    .action(async (runId: string | undefined, options: RedeliverOptions) => {
      const loaded = load(shell);
      if (!loaded.ok) code = refuse(shell, loaded.faults);
      else {
        const { redeliverCommand } = await import("./commands/redeliver.ts");
        code = await redeliverCommand(runId, options, { config: loaded.config, runtime: systemRuntime(), shell });
      }
    });
  command("backfill", "fill in runs of the past from Skyvern's list; what is known already is skipped")
    .requiredOption("--since <time>", "created at or after this time (ISO 8601, UTC), or so long ago (7d)")
    .option("--until <time>", "created before this time; default: now")
    .option("--workflow <id...>", "only runs of these workflows (wpid_…)")
    .option(
      "--scope <scope>",
      "mine: runs whose webhook leads here; all: every run; default: as skyvern.reconcile.scope",
    )
    .option("--deliver", "tell of them by the routes, as if they had just ended")
    .option("--no-deliver", "tell nobody; this is the default, as old news would flood a channel")
    .option("--dry-run", "only say how many it would be")
    .option("--json", "machine-readable")
    .action(async (options: BackfillOptions) => {
      const loaded = load(shell);
      if (!loaded.ok) code = refuse(shell, loaded.faults);
      else {
        const { backfillCommand } = await import("./commands/backfill.ts");
        code = await backfillCommand(options, { config: loaded.config, runtime: systemRuntime(), shell });
      }
    });
  command("why", "say why somebody was, or was not, told of a run: receipts, routes, every attempt")
    .argument("<run_id>", "the run")
    .option("--json", "machine-readable")
    .action(async (runId: string, options: WhyOptions) => {
      const loaded = load(shell);
      if (!loaded.ok) code = refuse(shell, loaded.faults);
      else {
        const { whyCommand } = await import("./commands/why.ts");
        code = await whyCommand(runId, options, { config: loaded.config, shell });
      }
    });
  command("prune", "remove now what retention in relay.yaml says; a running relay does so by itself, hourly")
    .option("--dry-run", "only say how much it would be")
    .option("--json", "machine-readable")
    .action(async (options: PruneOptions) => {
      const loaded = load(shell);
      if (!loaded.ok) code = refuse(shell, loaded.faults);
      else {
        const { pruneCommand } = await import("./commands/prune.ts");
        code = await pruneCommand(options, { config: loaded.config, runtime: systemRuntime(), shell });
      }
    });
  command("openapi", "print the OpenAPI document of the history API").action(async () => {
    shell.stdout(await openapiDocument());
  });
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
  return code;
}

function toPort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
}

async function serve(shell: Shell): Promise<number> {
  const loaded = load(shell);
  if (!loaded.ok) return refuse(shell, loaded.faults);
  const { config, warnings } = loaded;
  const log = createLog(config.logLevel);
  for (const warning of warnings) log.warn("config.warning", { warning });
  try {
    const app = await createApp(config, systemRuntime(), log);
    await app.start();
    const failure = await Promise.race([untilAborted(shell.stopped).then(() => null), app.failed]);
    if (failure !== null) {
      // What has stalled may never stop: the process ends as it is, and nothing that was answered is lost by that.
      log.error("relay.failed", { reason: failure });
      shell.stderr(`skyvern-relay: ${failure}\n`);
      return EXIT.failed;
    }
    await app.stop();
    return EXIT.done;
  } catch (error) {
    // What keeps a relay from starting is for its operator: the database in use, a port taken.
    shell.stderr(`skyvern-relay: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.failed;
  }
}

/** As a relay with nothing configured serves it: the document depends on no configuration. */
async function openapiDocument(): Promise<string> {
  const env = { SKYVERN_API_KEY: "none", DATABASE_URL: "sqlite::memory:" };
  const loaded = loadConfig({ env, readFile: noFile });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  const app = await createApp(loaded.config, systemRuntime(), silentLog);
  const response = await app.fetch(new Request("http://localhost/openapi.json"));
  const document = await response.json();
  await app.stop();
  return `${JSON.stringify(document, null, 2)}\n`;
}

const noFile = (path: string): never => {
  throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
};

function check(shell: Shell, json: boolean): number {
  const loaded = load(shell);
  if (!loaded.ok) {
    if (!json) return refuse(shell, loaded.faults);
    shell.stdout(`${JSON.stringify({ ok: false, faults: loaded.faults }, null, 2)}\n`);
    return EXIT.usage;
  }
  const { config, warnings } = loaded;
  const description = describeConfig(config);
  if (json) shell.stdout(`${JSON.stringify({ ok: true, warnings, config: description }, null, 2)}\n`);
  else shell.stdout(summaryOf(config, warnings));
  return EXIT.done;
}

function summaryOf(config: Config, warnings: readonly string[]): string {
  const lines = [
    `The configuration is right${config.file === null ? "" : ` (${config.file})`}.`,
    `Keys:    ${config.keys.map(({ name, organization }) => `${name}${organization ? ` (${organization})` : ""}`).join(", ")}`,
    `Webhook: ${config.publicUrl}/webhook`,
    `Sinks:   ${config.sinks.map(({ name, kind }) => `${name} (${kind})`).join(", ") || "none: runs are only stored"}`,
    `Routes:  ${config.routes.map(({ name, to }) => `${name} → ${to.join(", ")}`).join("; ") || "every final run to every sink"}`,
    `History: ${config.tokens.length > 0 ? `${config.publicUrl}/v1/runs` : "closed until RELAY_TOKEN is set"}`,
    ...warnings.map((warning) => `Note:    ${warning}`),
  ];
  return `${lines.join("\n")}\n`;
}

const load = (shell: Shell) =>
  loadConfig({ env: shell.env, readFile: (path) => readFileSync(path, "utf8"), cwd: process.cwd() });

function refuse(shell: Shell, faults: readonly Fault[]): number {
  shell.stderr(`skyvern-relay: the configuration is wrong\n${formatFaults(faults)}\n`);
  return EXIT.usage;
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
