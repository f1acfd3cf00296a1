/**
 * `skyvern-relay init`: turns a key into a working configuration. It shows what the key opens, sends a test message
 * through each sink, and writes `.env` and `relay.yaml`. Without a terminal it uses flags and the environment only. It
 * writes nothing before everything works.
 */
import { join, resolve } from "node:path";
import { errorText } from "../../platform/error-text.ts";
import { formatFaults, loadConfig, type Config } from "../../config/config.ts";
import { openEgress } from "../../app/outside.ts";
import { systemRuntime, type Runtime } from "../../platform/runtime.ts";
import { KINDS } from "../../sinks/kinds.ts";
import { line } from "../../web/text.ts";
import { progressLine } from "../progress.ts";
import { EXIT, type AddCommand, type Shell } from "../command.ts";
import { tryLive } from "../doctor/sample.ts";
import { ENV_FILE, existing, formatEnv, readEnv, RELAY_YAML, writeFiles, YAML_FILE } from "./files.ts";
import { readOverview } from "./overview.ts";
import { askKey, askSinks, askYes, Closed, flagOf, OWN_VARIABLES, SINK_VARIABLES, type Answers } from "./questions.ts";

/** The options as commander reads them; flags of variables have camel-cased names. */
export interface InitOptions {
  dir: string;
  force?: boolean;
  test: boolean;
  [flag: string]: string | boolean | undefined;
}

const VARIABLES = [...Object.keys(OWN_VARIABLES), ...SINK_VARIABLES.flatMap(({ names }) => names)];

export const addInit: AddCommand = ({ command, ends, shell }) => {
  const init = command("init", "set up a relay: ask for a key and sinks, try them, and write .env and relay.yaml");
  for (const [name, meaning] of Object.entries(OWN_VARIABLES))
    init.option(`${flagOf(name)} <value>`, `${meaning} (${name})`);
  for (const { kind, names } of SINK_VARIABLES)
    for (const name of names) init.option(`${flagOf(name)} <value>`, `${kind}: ${name}`);
  return init
    .option("--dir <folder>", "where to write", ".")
    .option("--force", "replace an .env or relay.yaml that is there; .env keeps its other variables")
    .option("--no-test", "send no test message")
    .action(ends((options: InitOptions) => initCommand(options, { shell, runtime: systemRuntime() })));
};

export interface InitDeps {
  shell: Shell;
  runtime: Runtime;
}

/**
 * Resolves with the exit code: 1 when Skyvern or a sink does not work, 2 when something is missing or would be
 * replaced.
 */
async function initCommand(options: InitOptions, deps: InitDeps): Promise<number> {
  const { shell } = deps;
  try {
    return await setUp(options, deps);
  } catch (error) {
    const why = error instanceof Closed ? "it was closed in the middle" : errorText(error);
    shell.stderr(`\nskyvern-relay init: ${line(why, 500)}; nothing was written\n`);
    return EXIT.failed;
  }
}

async function setUp(options: InitOptions, deps: InitDeps): Promise<number> {
  const { shell } = deps;
  const say = (text: string): void => shell.stdout(text);
  const wrong = (code: number, message: string): number => {
    shell.stderr(`skyvern-relay init: ${message}; nothing was written\n`);
    return code;
  };
  const asking = shell.ask && { ask: shell.ask, say };
  const folder = resolve(options.dir);
  const there = existing(folder);
  const mayReplace =
    options.force === true ||
    there.length === 0 ||
    (asking && (await askYes(asking, `Replace ${there.join(" and ")}?`)));
  if (mayReplace !== true) return wrong(EXIT.usage, `${there.join(" and ")} is there already: --force replaces it`);

  const known = readKnown(options, shell.env);
  if (known["SKYVERN_API_KEY"] === undefined && !asking)
    return wrong(EXIT.usage, "there is no key: set SKYVERN_API_KEY, or give --key");
  const key = known["SKYVERN_API_KEY"] ?? (asking ? await askKey(asking) : "");
  const first = load({ ...known, SKYVERN_API_KEY: key }, shell.env);
  if (!first.ok) return wrong(EXIT.usage, formatFaults(first.faults));
  const overview = await showOverview(first.config, deps);
  if (overview !== null) return wrong(EXIT.failed, overview);

  const asked = asking ? await askSinks(asking, known) : {};
  const answers = withMade({ ...known, SKYVERN_API_KEY: key, ...asked });
  const loaded = load(answers, shell.env);
  if (!loaded.ok) return wrong(EXIT.usage, formatFaults(loaded.faults));
  const failed = options.test ? await testSinks(loaded.config, deps) : [];
  const goOn = failed.length === 0 || (asking && (await askYes(asking, "Write the configuration anyway?")));
  if (goOn !== true)
    return wrong(EXIT.failed, `${failed.join(" and ")} did not accept the test message (--no-test leaves it out)`);

  const files = [
    { path: join(folder, ENV_FILE), text: formatEnv({ ...keepOthers(readEnv(folder)), ...answers }), mode: 0o600 },
    { path: join(folder, YAML_FILE), text: RELAY_YAML, mode: 0o644 },
  ];
  if (shell.stopped.aborted) throw new Closed();
  writeFiles(files);
  say(
    `Wrote    ${ENV_FILE} (it holds secrets: for you alone) and ` +
      `${YAML_FILE}${options.dir === "." ? "" : ` in ${folder}`}\n`,
  );
  say(`Next     start it there: ${START}\n`);
  return EXIT.done;
}

/** A checkout runs its sources; what is compiled came as a package. */
const START = import.meta.filename.endsWith(".ts") ? "npm start" : "npx skyvern-relay";

/**
 * The variables that `init` does not set, such as DATABASE_URL: without its own the relay would begin another history.
 */
const keepOthers = (env: NodeJS.Dict<string>): Answers =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]): [string, string][] =>
      value === undefined || VARIABLES.includes(name.replace(/_FILE$/, "")) ? [] : [[name, value]],
    ),
  );

/** The values of flags and the environment; a flag wins. */
function readKnown(options: InitOptions, env: Shell["env"]): Answers {
  const given = VARIABLES.flatMap((name): [string, string][] => {
    const flag = options[toCamel(flagOf(name))];
    const value = typeof flag === "string" ? flag : env[name];
    return value === undefined || value === "" ? [] : [[name, value]];
  });
  return Object.fromEntries(given);
}

/** The name that commander gives to the option of a flag. */
const toCamel = (flag: string): string =>
  flag.slice(2).replaceAll(/-(\w)/g, (_all, letter: string) => letter.toUpperCase());

/**
 * Variables that only the process's environment has, such as ALLOW_PRIVATE_NETWORKS, count for the tests and are not
 * written.
 */
const load = (answers: Answers, env: Shell["env"]) =>
  loadConfig({ env: { ...env, ...answers, RELAY_CONFIG: undefined } });

/** Optional values of a sink that are generated when none was given: a signing secret. */
function withMade(answers: Answers): Answers {
  const made: Answers = {};
  for (const { shortcut } of KINDS) {
    for (const { needs, takes = [] } of shortcut?.ways ?? []) {
      if (needs.some((name) => answers[name] === undefined)) continue;
      for (const name of takes.filter((one) => answers[one] === undefined)) {
        const value = shortcut?.variables[name]?.make?.();
        if (value !== undefined) made[name] = value;
      }
    }
  }
  return { ...answers, ...made };
}

/** Null when Skyvern accepts the key; else the reason. */
async function showOverview(config: Config, { shell, runtime }: InitDeps): Promise<string | null> {
  const egress = openEgress(config);
  const waiting = progressLine(shell);
  try {
    const { keys, baseUrl } = config;
    waiting.show(`Asking ${baseUrl} what the key opens`);
    const overview = await readOverview({ baseUrl, keys, outbound: egress, runtime, signal: shell.stopped });
    waiting.clear();
    if (!overview.ok) return overview.reason;
    const organization = keys[0]?.organization;
    shell.stdout(`Skyvern  ${baseUrl} accepts the key${organization == null ? "" : `: ${organization}`}\n`);
    shell.stdout(`         ${overview.text}\n`);
    return null;
  } finally {
    await egress.close();
  }
}

/** Names of the sinks that did not accept their test message. */
async function testSinks(config: Config, { shell, runtime }: InitDeps): Promise<string[]> {
  if (config.sinks.length === 0) {
    shell.stdout("Sinks    none: runs are stored, and nothing is delivered\n");
    return [];
  }
  const findings = await tryLive({ config, runtime });
  for (const { check, state, found } of findings)
    shell.stdout(`${check.replace(/^live /, "").padEnd(8)} ${state === "ok" ? "" : "failed: "}${line(found, 300)}\n`);
  return findings.filter(({ state }) => state !== "ok").map(({ check }) => check.replace(/^live /, ""));
}
