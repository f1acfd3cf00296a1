import { loadConfig, type Config, type Fault, type Loaded } from "../../src/config/config.ts";

export const WHSEC = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

/** Loads from variables and files in memory. `yaml` is relay.yaml; a key is set unless `env` says otherwise. */
export function load(
  env: Record<string, string | undefined>,
  yaml?: string,
  files: Record<string, string> = {},
): Loaded {
  const all: Record<string, string> = { ...files, ...(yaml === undefined ? {} : { "relay.yaml": yaml }) };
  const readFile = (path: string): string => {
    const text = all[path];
    if (text === undefined) throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
    return text;
  };
  return loadConfig({ env: { SKYVERN_API_KEY: "sk-test-key", ...env }, readFile });
}

export function configOf(...source: Parameters<typeof load>): Config {
  const loaded = load(...source);
  if (!loaded.ok) throw new Error(`unexpected faults: ${JSON.stringify(loaded.faults)}`);
  return loaded.config;
}

export function faultsOf(...source: Parameters<typeof load>): Fault[] {
  const loaded = load(...source);
  return loaded.ok ? [] : loaded.faults;
}
