/** `skyvern-relay doctor`: checks everything a relay needs, and says how to fix each fault. */
import { errorText } from "../../platform/error-text.ts";
import { openEgress } from "../../app/outside.ts";
import type { Config } from "../../config/config.ts";
import { createEgress, type Egress } from "../../net/egress.ts";
import { silentLog } from "../../platform/log.ts";
import { systemRuntime, type Runtime } from "../../platform/runtime.ts";
import { createSkyvernClient } from "../../skyvern/client.ts";
import { plural } from "../../platform/amounts.ts";
import { findKind } from "../../sinks/kinds.ts";
import { block, line } from "../../web/text.ts";
import { EXIT, type AddCommand, type Shell } from "../command.ts";
import { load } from "../configuration.ts";
import { checkAddress } from "./address.ts";
import { checkDatabase } from "./database.ts";
import { about, fault, ok, warning, type Diagnosis, type Finding } from "./finding.ts";
import { checkDisk, checkNode, checkTimeZone, checkVolume, systemHost, type DoctorHost } from "./host.ts";
import { checkPostgres } from "./postgres.ts";
import { noSinks, tryLive, trySample } from "./sample.ts";
import { checkSkyvern } from "./skyvern.ts";
import { checkWorkflows } from "./workflows.ts";
import { progressLine } from "../progress.ts";

/** The options as commander reads them. */
export interface DoctorOptions {
  live?: boolean;
  json?: boolean;
}

export interface DoctorDeps {
  shell: Shell;
  runtime: Runtime;
  host: DoctorHost;
}

export const addDoctor: AddCommand = ({ command, ends, shell }) =>
  command("doctor", "check everything a relay needs and say how to fix each fault; the relay need not run")
    .option("--live", "also send one marked test message through each sink")
    .option("--json", "machine-readable")
    .action(
      ends((options: DoctorOptions) => doctorCommand(options, { shell, runtime: systemRuntime(), host: systemHost })),
    );

/** Skyvern waits so long for an address that it is asked to try, and somewhat longer. */
const TRY_MS = 30_000;
/** The time limit of all checks together; one that hangs is reported. */
const TIME_MS = 45_000;

/** Resolves with the exit code: 0 without a fault, 1 with one, 2 when the configuration is wrong. */
export async function doctorCommand({ live, json }: DoctorOptions, deps: DoctorDeps): Promise<number> {
  const { shell, host } = deps;
  const loaded = load(shell);
  const machine = [...checkNode(host), ...checkTimeZone(host, shell.env["TZ"])];
  if (!loaded.ok) {
    const wrong = loaded.faults.map(({ where, message }) =>
      fault(
        `${where}: ${message}`,
        `correct it${/:\d+:\d+$/.test(where) ? " in the file" : " in the environment"}; nothing else is ` +
          "checked before that",
      ),
    );
    printFindings(shell, [...machine, ...about("configuration", ...wrong)], json === true);
    return EXIT.usage;
  }
  const { config, warnings } = loaded;
  const line = progressLine(shell);
  line.show("Looking…");
  const looked = await checkAll(config, deps, live === true);
  line.clear();
  const findings = [...machine, ...checkConfiguration(config, warnings), ...checkTokens(config), ...looked];
  printFindings(shell, findings, json === true);
  return findings.some(({ state }) => state === "fault") ? EXIT.failed : EXIT.done;
}

async function checkAll(config: Config, { shell, runtime, host }: DoctorDeps, live: boolean): Promise<Finding[]> {
  const guarded = openEgress(config, { lookup: host.lookup });
  const open = createEgress({ allow: ["0.0.0.0/0", "::/0"], lookup: host.lookup });
  const signal = AbortSignal.any([shell.stopped, AbortSignal.timeout(TIME_MS)]);
  const { database, baseUrl, keys } = config;
  const looks: Promise<Finding[]>[] = [
    checkSkyvern({ config, addressKey: addressKey(config, shell.env), outbound: guarded, runtime, signal }),
    checkWorkflows({ config, outbound: guarded, runtime, signal }),
    config.reconcile?.hasWebhooks === false
      ? Promise.resolve(about("PUBLIC_URL", ok("it is not set, and not needed: the relay asks Skyvern for every run")))
      : checkAddress({
          config,
          host,
          client: createSkyvernClient({ ...runtime, ...guarded, baseUrl, keys, timeoutMs: TRY_MS }),
          isByAddress: config.reconcile?.scope === "mine",
          request: open.request,
          signal,
        }),
    ...(database.kind === "postgres" ? [] : checkDisks(database.path, shell.env, host)),
    Promise.resolve(noSinks(config)),
    ...config.sinks.map((sink) => checkSink(sink, guarded, runtime, signal)),
    trySample({ config, runtime }),
  ];
  try {
    const findings = await Promise.all(looks.map((look) => look.catch(toCrashFinding)));
    // The live test comes last and only on request, because it is the one thing that others see.
    const sent = live && !signal.aborted ? await tryLive({ config, runtime }).catch(toCrashFinding) : [];
    const stored = database.kind === "postgres" ? await checkPostgres(database) : checkDatabase(database.path, host);
    return [...stored, ...findings.flat(), ...sent];
  } finally {
    await Promise.all([guarded.close(), open.close()]);
  }
}

const addressKey = ({ file, baseUrl }: Config, env: Shell["env"]): string =>
  env["SKYVERN_BASE_URL"] || file === null || baseUrl === "https://api.skyvern.com"
    ? "SKYVERN_BASE_URL"
    : `skyvern.base_url in ${file}`;

const checkDisks = (path: string, env: Shell["env"], host: DoctorHost): Promise<Finding[]>[] =>
  path === ":memory:" ? [] : [checkDisk(path, host), checkVolume(path, env, host)];

const toCrashFinding = (error: unknown): Finding[] =>
  about("doctor", fault(`a check failed: ${errorText(error)}`, "report it: this is a bug in the relay"));

async function checkSink(
  { name, kind, config }: Config["sinks"][number],
  { fetch, reach }: Egress,
  { now }: Runtime,
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = await findKind(kind).diagnose?.(config, { fetch, reach, now, log: silentLog }, signal);
  return about(`sink ${name}`, ...(found ?? [ok(`${kind} can only be checked by sending something`)]));
}

/** The warnings of the start, except those that have a check of their own. */
function checkConfiguration({ file }: Config, warnings: readonly string[]): Finding[] {
  const own = /^(RELAY_TOKEN|DATABASE_URL|the key )/;
  const rest = warnings.filter((text) => !own.test(text));
  const found = ok(
    file === null ? "the environment is right; there is no relay.yaml" : `the environment and ${file} are right`,
  );
  return about("configuration", found, ...rest.map((text) => warning(text, "check that this is intended")));
}

function checkTokens({ tokens, tokenFile }: Pick<Config, "tokens" | "tokenFile">): Finding[] {
  const fix = "set RELAY_TOKEN to the output of: openssl rand -hex 32";
  const look = (): Diagnosis => {
    if (tokenFile !== null)
      return ok(`the relay's own, in ${tokenFile}${tokens.length === 0 ? " from its first start on" : ""}`);
    if (tokens.length === 0)
      return warning("RELAY_TOKEN is not set: history API, metrics and web page answer 403", fix);
    return ok(`RELAY_TOKEN is set${tokens.length > 1 ? ` (${tokens.length} tokens)` : ""}`);
  };
  return about("token", look());
}

function printFindings({ stdout }: Shell, findings: readonly Finding[], json: boolean): void {
  const count = (state: Finding["state"]) => findings.filter((finding) => finding.state === state).length;
  const [faults, warnings] = [count("fault"), count("warning")];
  if (json) {
    const checks = findings.map((finding) => ({ fix: null, ...finding }));
    stdout(`${JSON.stringify({ ok: faults === 0, faults, warnings, checks }, null, 2)}\n`);
    return;
  }
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.flatMap((finding) => [
    `${finding.state.padEnd(7)}  ${line(finding.check, 100).padEnd(width)}  ${block(finding.found, 600)}`,
    ...(finding.state === "ok" ? [] : [`${" ".repeat(9 + width)}  → ${block(finding.fix, 600)}`]),
  ]);
  const sum =
    faults === 0 && warnings === 0 ? "No faults found." : `${plural(faults, "fault")}, ${plural(warnings, "warning")}.`;
  stdout(`${lines.join("\n")}\n\n${sum}\n`);
}
