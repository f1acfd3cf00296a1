/** The relay's configuration from a Worker's variables and secrets. */
import { formatFaults, loadConfig, type Config, type Off } from "../config/config.ts";

/** A Worker's bindings: texts among them are the environment. */
export type Bindings = Readonly<Record<string, unknown>>;

/** `relay.yaml`, as one variable or secret. */
const FILE_VARIABLE = "RELAY_YAML";

/** Settings that only a machine with a disk and a listener has. */
const NOT_HERE = ["DATABASE_URL", "HOST", "PORT", "METRICS_PORT", "RELAY_CONFIG", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/** Throws with every fault at once. */
export function readSettings(bindings: Bindings): { config: Config; warnings: string[]; off: Off[] } {
  const env = Object.fromEntries(Object.entries(bindings).flatMap(([name, value]) => textEntry(name, value)));
  const loaded = loadConfig({
    env,
    readFile: (path) => {
      const text = path === "relay.yaml" ? env[FILE_VARIABLE] : undefined;
      if (text !== undefined) return text;
      throw Object.assign(new Error(`there are no files here: ${path}`), { code: "ENOENT" });
    },
  });
  const faults = [...(loaded.ok ? [] : loaded.faults), ...findFaults(env, loaded.ok ? loaded.config : null)];
  if (!loaded.ok || faults.length > 0) throw new Error(`the configuration is wrong\n${formatFaults(faults)}`);
  return loaded;
}

const textEntry = (name: string, value: unknown): [string, string][] =>
  typeof value === "string" ? [[name, value]] : [];

function findFaults(env: Record<string, string>, config: Config | null) {
  return [
    ...NOT_HERE.filter((name) => env[name]).map((where) => ({
      where,
      message: "has no meaning on an edge host: unset it",
    })),
    ...(env["PUBLIC_URL"] ? [] : [{ where: "PUBLIC_URL", message: "is missing: the address of this Worker" }]),
    ...(config?.archive
      ? [{ where: FILE_VARIABLE, message: "artifacts.archive: an edge host cannot keep copies" }]
      : []),
  ];
}
