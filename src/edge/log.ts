import { LOG_LEVELS, type Log } from "../platform/log.ts";

/** Writes one JSON line for each event on the console, which the platform collects. */
export function createConsoleLog(level: string): Log {
  const least = LOG_LEVELS.indexOf(level as (typeof LOG_LEVELS)[number]);
  const at =
    (name: keyof Log) =>
    (event: string, fields: Record<string, unknown> = {}): void => {
      if (LOG_LEVELS.indexOf(name) > least || level === "silent") return;
      console.log(JSON.stringify({ level: name, time: new Date().toISOString(), ...fields, event }));
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
