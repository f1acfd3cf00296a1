/** Compares two configurations by the names of their parts. */
import type { Config } from "./config.ts";
import { toComparableText } from "../platform/secret.ts";

/** Parts that a process holds from start to end. */
const FIXED = [
  "database",
  "host",
  "port",
  "metricsPort",
  "publicUrl",
  "logLevel",
  "logFormat",
] as const satisfies (keyof Config)[];

export interface ConfigChange {
  /** What a running relay applies; fixed parts stay as they were. */
  config: Config;
  /** Names of changed parts that are applied. */
  changed: string[];
  /** Names of changed parts that need a restart. */
  fixed: string[];
}

export function compareConfigs(running: Config, next: Config): ConfigChange {
  const names = Object.keys({ ...running, ...next }) as (keyof Config)[];
  const different = names.filter((name) => toComparableText(running[name]) !== toComparableText(next[name]));
  const isFixed = (name: keyof Config): boolean => (FIXED as readonly string[]).includes(name);
  const kept = Object.fromEntries(FIXED.map((name) => [name, running[name]])) as Pick<Config, (typeof FIXED)[number]>;
  return {
    config: { ...next, ...kept },
    changed: different.filter((name) => !isFixed(name)),
    fixed: different.filter(isFixed),
  };
}
