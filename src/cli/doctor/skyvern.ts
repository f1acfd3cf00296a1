/** Checks Skyvern's API: whether each key works, and whether its clock agrees with this machine's. */
import { parseClaims, type Config } from "../../config/config.ts";
import type { HttpClient, Outbound } from "../../net/http-client.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { createSkyvernClient } from "../../skyvern/client.ts";
import type { SkyvernFault } from "../../skyvern/api-call.ts";
import { about, fault, ok, warning, type Diagnosis, type Finding } from "./finding.ts";

export interface SkyvernCheckDeps {
  config: Pick<Config, "keys" | "baseUrl">;
  /** What sets Skyvern's address: a variable, or a key of a file. */
  addressKey: string;
  /** The guarded clients. */
  outbound: Outbound;
  runtime: Runtime;
  signal: AbortSignal;
}

const TIMEOUT_MS = 10_000;

export async function checkSkyvern(deps: SkyvernCheckDeps): Promise<Finding[]> {
  const { config, runtime, signal } = deps;
  const clock = checkClock(deps);
  const { baseUrl, keys } = config;
  const { request } = clock;
  const client = createSkyvernClient({ ...runtime, ...deps.outbound, request, baseUrl, keys, timeoutMs: TIMEOUT_MS });
  const looked: Finding[] = [];
  let broken: SkyvernFault | null = null;
  for (const { name, client: own } of client.with({ tries: 1 }).perKey()) {
    const key = keys.find((one) => one.name === name);
    if (!key) continue;
    looked.push(...about(`key ${name}`, ...checkClaims(key, runtime.now())));
    // A wrong address fails for every key, so it is tried and reported once.
    if (broken !== null) continue;
    const answer = await own.listRuns({ page: 1, pageSize: 1 }, signal);
    if (answer.ok) looked.push({ check: `key ${name}`, ...ok(`${baseUrl} accepts it${ofWhom(key)}`) });
    else if (answer.fault.kind === "forbidden") looked.push({ check: `key ${name}`, ...forbidden(answer.fault) });
    else broken = answer.fault;
  }
  const address = broken === null ? [] : about("base URL", addressFault(broken, deps, clock.redirectedTo()));
  return [...address, ...plain(deps), ...looked, ...about("clock", ...clock.found())];
}

const ofWhom = ({ organization }: Config["keys"][number]): string => (organization === null ? "" : `: ${organization}`);

/** Skyvern's keys are JWTs (contract §1); only the organization in one is shown. */
function checkClaims({ key, organization }: Config["keys"][number], now: number): Diagnosis[] {
  const text = key.reveal();
  if (/[\s"']/.test(text)) {
    return [
      fault(
        "it holds a space or a quote, which Skyvern's keys never do",
        "copy the key again, without quotes around it",
      ),
    ];
  }
  const claims = parseClaims(text);
  if (claims === null && organization !== null) return [];
  if (claims === null) {
    const fix = "copy the whole key from https://app.skyvern.com/settings: it begins with eyJ and has two dots";
    return [warning("it does not look like a key of Skyvern's, so its organization is not known", fix)];
  }
  const { exp } = claims;
  if (typeof exp === "number" && exp * 1000 < now) {
    const found = `it expired at ${new Date(exp * 1000).toISOString()}`;
    return [fault(found, "make a new key at https://app.skyvern.com/settings")];
  }
  return [];
}

function forbidden({ reason }: SkyvernFault): Diagnosis {
  const fix = "copy the key again from https://app.skyvern.com/settings; keys of one Skyvern do not work at another";
  return fault(`it is refused. ${reason}`, fix);
}

function addressFault(
  { kind, status, reason }: SkyvernFault,
  { config: { baseUrl }, addressKey }: SkyvernCheckDeps,
  redirectedTo: string | null,
): Diagnosis {
  if (status === null) {
    return fault(
      `${reason} (${baseUrl})`,
      `correct ${addressKey}, or let this machine reach it (name server, firewall, proxy)`,
    );
  }
  if (status >= 300 && status < 400) {
    const to = redirectedTo === null ? "the address it names" : redirectedTo;
    return fault(
      `${baseUrl} redirects${redirectedTo === null ? "" : ` to ${redirectedTo}`}`,
      `set ${addressKey} to ${to}`,
    );
  }
  if (kind === "not_found" || kind === "unexpected") {
    return fault(
      `${baseUrl} is not Skyvern's API. ${reason}`,
      `set ${addressKey} to the API, https://api.skyvern.com unless you host it: not the web page's ` +
        "address, and without a path",
    );
  }
  return fault(
    `${baseUrl} cannot answer right now. ${reason}`,
    "try again in a minute; look at https://status.skyvern.com or at the server's log",
  );
}

function plain({ config: { baseUrl }, addressKey }: SkyvernCheckDeps): Finding[] {
  const { protocol, hostname } = new URL(baseUrl);
  if (
    protocol === "https:" ||
    /^(localhost|127\.|\[::1|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)|^[^.]+$|\.internal$/.test(hostname)
  )
    return [];
  const found = `the API key goes to ${baseUrl} unencrypted`;
  return about("base URL", warning(found, `use https:// in ${addressKey}`));
}

/** Slack searches and S3 signatures depend on this machine's clock; both tolerate a few minutes. */
const SKEW_FAULT_MS = 300_000;
const SKEW_WARNING_MS = 30_000;

/** Compares the Date of every answer (whole seconds) with the middle of its request. */
function checkClock({ outbound, runtime }: SkyvernCheckDeps) {
  let skewMs: number | null = null;
  let location: string | null = null;
  return {
    request: (async (url, asked) => {
      const before = runtime.now();
      const response = await outbound.request(url, asked);
      const date = Date.parse(response.headers.get("date") ?? "");
      if (!Number.isNaN(date)) skewMs ??= (before + runtime.now()) / 2 - (date + 500);
      location ??= response.headers.get("location");
      return response;
    }) satisfies HttpClient,
    redirectedTo: (): string | null => {
      const url = location === null ? null : URL.parse(location);
      return url?.origin ?? null;
    },
    found: (): Diagnosis[] => {
      if (skewMs === null) return [];
      const seconds = Math.round(Math.abs(skewMs) / 1000);
      const found = `this machine's clock is ${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} Skyvern's`;
      const fix = "set it by the network: timedatectl set-ntp true, or chrony; in a virtual machine, on its host";
      if (seconds * 1000 >= SKEW_FAULT_MS) return [fault(found, fix)];
      return [seconds * 1000 >= SKEW_WARNING_MS ? warning(found, fix) : ok(`this machine's clock and Skyvern's agree`)];
    },
  };
}
