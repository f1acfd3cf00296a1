/** `skyvern-relay check`: the configuration, read and described. Opens and asks nothing. */
import { describeConfig, type Config } from "../config.ts";
import { EXIT, load, refuse, type AddCommand, type Shell } from "./command.ts";

export const addCheck: AddCommand = ({ command, ends, shell }) =>
  command("check", "check the environment and relay.yaml, and say what is set up")
    .option("--json", "machine-readable")
    .action(ends((options: { json?: boolean }) => check(shell, options.json === true)));

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
