/** `skyvern-relay why`: reads the configured database, also while a relay runs on it, and writes nothing. */
import type { Store } from "../store/store.ts";
import { block, line } from "../web/text.ts";
import { loadStory, loadUnknownRun } from "../history/load-story.ts";
import { explainUnknownRun, listEveryMs } from "../history/unknown-run.ts";
import { explain, type Why } from "../history/why.ts";
import { CLOSED } from "../deliver/circuit-breaker.ts";
import { withDatabase } from "./database.ts";
import { EXIT, type AddCommand, type CommandDeps } from "./command.ts";

export const addWhy: AddCommand = ({ command, configured }) =>
  command("why", "explain why a run was or was not delivered: receipts, routes, every attempt")
    .argument("<run_id>", "the run")
    .option("--json", "machine-readable")
    .action(configured((deps, runId: string, options: WhyOptions) => whyCommand(runId, options, deps)));

interface WhyOptions {
  json?: boolean;
}

/** Resolves with the exit code: 1 when the run is not known, after saying where to look. */
const whyCommand = (runId: string, options: WhyOptions, deps: CommandDeps): Promise<number> =>
  withDatabase({ name: "why", ...deps }, (store) => printWhy(store, runId, options, deps));

async function printWhy(
  store: Store,
  runId: string,
  { json }: WhyOptions,
  { config, shell }: CommandDeps,
): Promise<number> {
  const story = await loadStory(store, runId);
  if (story === null) {
    const relay = { webhookUrl: `${config.publicUrl}/webhook`, listEveryMs: listEveryMs(config) };
    const lines = explainUnknownRun(line(runId), await loadUnknownRun(store, runId, relay));
    if (json === true) shell.stdout(`${JSON.stringify({ run_id: runId, known: false, hints: lines }, null, 2)}\n`);
    else shell.stderr(`${lines.join("\n")}\n`);
    return EXIT.failed;
  }
  const saved = await store.circuits();
  const circuits = new Map(config.sinks.map(({ name }) => [name, saved.get(name) ?? CLOSED]));
  const why = explain({ ...story, circuits });
  shell.stdout(json === true ? `${JSON.stringify(why, null, 2)}\n` : renderText(why));
  return EXIT.done;
}

/** For a terminal. What comes from outside is spelled out where it would move the cursor or turn the text. */
export function renderText({ run_id, title, status, revision, summary, routes, deliveries, timeline }: Why): string {
  const lines = [
    `${line(run_id)}${title === null ? "" : ` “${line(title, 100)}”`}: ${line(status)}${revision > 1 ? ` (revision ${revision})` : ""}`,
    ...summary.map((sentence) => `  ${block(sentence, 1_000)}`),
  ];
  if (routes.length > 0) {
    lines.push("", "Routes");
    for (const { route, matched, because } of routes)
      lines.push(
        `  ${matched ? "+" : "-"} ${line(route, 64)} ${matched ? "matched" : "did not match"}: ${line(because, 400)}`,
      );
  }
  if (deliveries.length > 0) lines.push("", "Deliveries");
  for (const { id, sink, kind, subject, revision, cause, state, permalink, message_id, http_status } of deliveries) {
    const proof = [permalink, message_id, http_status === null ? null : `HTTP ${http_status}`].filter(
      (text) => text !== null,
    );
    const proven = proof.length === 0 ? "" : `  ${proof.map((text) => line(text, 500)).join("  ")}`;
    const about = subject === "attempt" ? `, run attempt ${revision}` : "";
    lines.push(`  ${line(sink, 64)} (${kind})${about}, ${cause}: ${state}${proven}  [${id}]`);
  }
  lines.push("", "Timeline");
  for (const { at, who, what, details } of timeline) {
    lines.push(`  ${at}  ${who.padEnd(7)}  ${line(what)}`);
    for (const detail of details)
      for (const part of block(detail, 1_000).split("\n")) lines.push(`${" ".repeat(37)}${part}`);
  }
  return `${lines.map((text) => text.trimEnd()).join("\n")}\n`;
}
