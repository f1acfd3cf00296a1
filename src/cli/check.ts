/**
 * `skyvern-relay check`: reads and describes the configuration. It contacts nothing and opens the database only for
 * `--routes`, which reads past runs.
 */
import type { Config, Off } from "../config/config.ts";
import { describeConfig } from "../config/describe.ts";
import { plural } from "../platform/amounts.ts";
import { systemRuntime, type Runtime } from "../platform/runtime.ts";
import { createSimulation, type Simulated } from "../history/simulation.ts";
import { readPages } from "../store/history/all-pages.ts";
import { complain, EXIT, type AddCommand, type Shell } from "./command.ts";
import { load, refuse } from "./configuration.ts";
import { describeFollowing, describeRetention } from "./greeting.ts";
import { withDatabase } from "./database.ts";
import { parseSpan } from "./time-options.ts";
import { progressLine } from "./progress.ts";

/** The options as commander reads them. */
interface CheckOptions {
  routes?: boolean;
  since?: string;
  until?: string;
  json?: boolean;
}

export const addCheck: AddCommand = ({ command, ends, shell }) =>
  command("check", "check the environment and relay.yaml, and say what is set up")
    .option("--routes", "show which sinks would have received the stored runs")
    .option(
      "--since <time>",
      "with --routes: runs received at or after this time (ISO 8601, UTC, or an age such as 7d)",
    )
    .option("--until <time>", "with --routes: runs received before this time; default: now")
    .option("--json", "machine-readable")
    .action(ends((options: CheckOptions) => check(options, { shell, runtime: systemRuntime() })));

interface CheckDeps {
  shell: Shell;
  runtime: Pick<Runtime, "now">;
}

function check(options: CheckOptions, deps: CheckDeps): number | Promise<number> {
  const { shell } = deps;
  const json = options.json === true;
  const span = parseSpan(options, deps.runtime.now());
  const misuse = typeof span === "string" ? span : options.routes === true ? null : findMisplacedOption(options);
  if (misuse !== null) return complain(shell, "check")(EXIT.usage, misuse);
  const loaded = load(shell);
  if (!loaded.ok) {
    if (!json) return refuse(shell, loaded.faults);
    shell.stdout(`${JSON.stringify({ ok: false, faults: loaded.faults }, null, 2)}\n`);
    return EXIT.usage;
  }
  const { config, warnings, off } = loaded;
  if (options.routes === true && typeof span !== "string") return simulate(config, span, json, deps);
  const description = describeConfig(config);
  if (json) shell.stdout(`${JSON.stringify({ ok: true, warnings, off, config: description }, null, 2)}\n`);
  else shell.stdout(renderSummary(config, warnings, off));
  return EXIT.done;
}

const findMisplacedOption = ({ since, until }: CheckOptions): string | null =>
  since === undefined && until === undefined ? null : `--${since === undefined ? "until" : "since"} goes with --routes`;

function renderSummary(config: Config, warnings: readonly string[], off: readonly Off[]): string {
  const lines = [
    `The configuration is valid${config.file === null ? "" : ` (${config.file})`}.`,
    "Keys:    " +
      config.keys.map(({ name, organization }) => `${name}${organization ? ` (${organization})` : ""}`).join(", "),
    ...(hasWebhooks(config) ? [`Webhook: ${config.publicUrl}/webhook`] : []),
    `Runs:    ${describeFollowing(config)}`,
    `Sinks:   ${config.sinks.map(({ name, kind }) => `${name} (${kind})`).join(", ") || "none: runs are only stored"}`,
    `Routes:  ${config.routes.map(({ name, to, stop }) => `${name} → ${to.join(", ") || "nobody"}${stop ? ", and stops" : ""}`).join("; ") || "every final run to every sink"}`,
    `Page:    ${pageOf(config)}`,
    `Kept:    ${describeRetention(config)}`,
    ...warnings.map((warning) => `Note:    ${warning}`),
    ...off.map(({ what, turn_on }) => `Off:     ${what}\n         turn it on: ${turn_on}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Without Skyvern's list webhooks are all there is, whatever address they come to. */
const hasWebhooks = ({ reconcile }: Config): boolean => reconcile === null || reconcile.hasWebhooks;

/** The token opens the page and the API. */
function pageOf({ tokens, tokenFile, publicUrl }: Config): string {
  if (tokenFile !== null)
    return `${publicUrl}/, token in ${tokenFile}${tokens.length > 0 ? "" : " (made at the first start)"}`;
  return tokens.length > 0 ? `${publicUrl}/, token: RELAY_TOKEN` : "closed, with the API, until RELAY_TOKEN is set";
}

/** Runs the stored runs through the routes. A relay may be running on the database; nothing is written or sent. */
function simulate(
  config: Config,
  span: { since?: number; until?: number },
  json: boolean,
  { shell, runtime }: CheckDeps,
): Promise<number> {
  return withDatabase({ name: "check", config, shell }, async (store) => {
    const until = span.until ?? runtime.now();
    const simulation = createSimulation(config);
    const line = progressLine(shell);
    let read = 0;
    for await (const page of readPages(store, { ...span, until }, shell.stopped)) {
      for (const { state } of page) simulation.add(state.run);
      read += page.length;
      line.show(`Reading the history: ${plural(read, "run")}`);
    }
    line.clear();
    if (shell.stopped.aborted) return complain(shell, "check")(EXIT.failed, "it was stopped before the end");
    const result = simulation.result();
    const since = span.since === undefined ? null : new Date(span.since).toISOString();
    if (json) shell.stdout(`${JSON.stringify({ since, until: new Date(until).toISOString(), ...result }, null, 2)}\n`);
    else shell.stdout(simulationText(result, since));
    return EXIT.done;
  });
}

/** Names in the configuration are the operator's own, but run ids came from outside. */
function simulationText({ runs, routes, sinks, nobody }: Simulated, since: string | null): string {
  const when = since === null ? "" : ` since ${since}`;
  if (runs === 0) return `There is no final run${when}: nothing to try the routes on.\n`;
  const lines = [
    `Of ${plural(runs, "run")}${when}, with the outcome each has now, this configuration would have sent`,
    ...sinks.map(({ sink, kind, runs: matched }) => `  ${matched} of ${runs} to ${sink} (${kind})`),
    `  ${nobody.runs} of ${runs} to no sink${renderExamples(nobody.examples)}`,
    "by these routes:",
    ...routes.map(({ route, to, stop, matched, not_looked_at, examples }) => {
      const passed = not_looked_at > 0 ? `; ${not_looked_at} stopped at a route before it` : "";
      const never = matched === 0 ? " — it never matched" : "";
      return (
        `  ${route} → ${to.join(", ") || "no sink"}${stop ? " (stop)" : ""}: ` +
        `${matched}${passed}${never}${renderExamples(examples)}`
      );
    }),
  ];
  return `${lines.join("\n")}\n`;
}

const renderExamples = (ids: readonly string[]): string =>
  ids.length === 0 ? "" : `, such as ${ids.map((id) => JSON.stringify(id.slice(0, 60)).slice(1, -1)).join(", ")}`;
