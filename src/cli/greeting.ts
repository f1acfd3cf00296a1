/** The text a relay prints at its start on a terminal: where it is, what it does, and what is off. */
import type { Config, Off } from "../config/config.ts";
import { formatDuration } from "../platform/duration.ts";
import { describeDatabase } from "../store/address.ts";
import { VERSION } from "../platform/version.ts";

export interface GreetingInput {
  config: Config;
  off: readonly Off[];
  warnings: readonly string[];
  /** The base of the relay's addresses. */
  url: string;
  /** A link that logs a person in once; null while there is no token. */
  loginLink: string | null;
}

export function greeting({ config, off, warnings, url, loginLink }: GreetingInput): string {
  const sinks = config.sinks.map(({ name, kind }) => (name === kind ? name : `${name} (${kind})`));
  const rows: [string, string][] = [
    ["Page", `${url}/`],
    ...loginRows(config, loginLink),
    ["Runs", describeFollowing(config)],
    ["Sinks", sinks.length === 0 ? "none" : sinks.join(", ")],
    ["Stored", `${describeDatabase(config.database)}, ${describeRetention(config)}`],
    ...warnings.map((warning): [string, string] => ["Note", warning]),
    ...off.flatMap(({ what, turn_on }): [string, string][] => [
      ["Off", what],
      ["", `turn it on: ${turn_on}`],
    ]),
  ];
  const lines = rows.map(([title, text]) => `  ${title.padEnd(8)} ${text}`);
  return `skyvern-relay ${VERSION}\n\n${lines.join("\n")}\n\n`;
}

function loginRows({ tokens, tokenFile }: Config, loginLink: string | null): [string, string][] {
  if (loginLink === null) return tokens.length === 0 ? [["Log in", "closed: RELAY_TOKEN is not set"]] : [];
  if (isSafe(loginLink)) return [["Log in", `${loginLink}  (works once, for 15 minutes)`]];
  const token = tokenFile === null ? "a token of RELAY_TOKEN" : `the token in ${tokenFile}`;
  return [["Log in", `with ${token}; a link is shown for https:// and for this machine only`]];
}

/** True when nobody on the way to an address can read the traffic. */
function isSafe(address: string): boolean {
  const { protocol, hostname } = new URL(address);
  return protocol === "https:" || /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}

/** How the relay finds runs. */
export function describeFollowing({ reconcile, keys, publicUrl }: Config): string {
  if (reconcile === null) return "only by webhook";
  const every = formatDuration(reconcile.everyMs);
  if (reconcile.scope === "mine" && !reconcile.hasWebhooks)
    return `those whose webhook_url leads to ${publicUrl}, of Skyvern's list, which the relay reads every ${every}`;
  if (reconcile.scope === "mine") return `by webhook; the relay checks Skyvern's list for lost ones every ${every}`;
  const organizations = [...new Set(keys.flatMap(({ organization }) => organization ?? []))];
  const whose = organizations.length === 0 ? "" : ` of ${organizations.join(", ")}`;
  const { requestsPerHour } = reconcile;
  const budget = requestsPerHour === null ? "" : `, with at most ${requestsPerHour} requests an hour`;
  return `every run${whose}: the relay reads Skyvern's list every ${every}${budget}`;
}

export function describeRetention({ retention: { runsMs, rawMs } }: Config): string {
  const text = (ms: number | null): string => (ms === null ? "for ever" : formatDuration(ms));
  return `runs for ${text(runsMs)}, received bytes for ${text(rawMs)}`.replaceAll("for for ever", "for ever");
}
