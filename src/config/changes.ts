/** What differs between two configurations, by the names of their parts. */
import type { Config } from "./config.ts";
import { Secret } from "../platform/secret.ts";

/** What a process holds from its start to its end. */
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
  /** What a running relay takes up; the rest is as it was. */
  config: Config;
  /** Names of what differs and is taken up. */
  changed: string[];
  /** Names of what differs and needs a restart. */
  fixed: string[];
}

export function compareConfigs(running: Config, next: Config): ConfigChange {
  const names = Object.keys({ ...running, ...next }) as (keyof Config)[];
  const different = names.filter((name) => plain(running[name]) !== plain(next[name]));
  const isFixed = (name: keyof Config): boolean => (FIXED as readonly string[]).includes(name);
  const kept = Object.fromEntries(FIXED.map((name) => [name, running[name]])) as Pick<Config, (typeof FIXED)[number]>;
  return {
    config: { ...next, ...kept },
    changed: different.filter((name) => !isFixed(name)),
    fixed: different.filter(isFixed),
  };
}

/** As text, secrets included, to compare and for nothing else. */
const plain = (value: unknown): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, key: string, item: unknown) {
    const given = this[key];
    return given instanceof Secret ? `secret ${given.reveal()}` : item;
  }) ?? "";
