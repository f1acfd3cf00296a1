/** Checks PUBLIC_URL: Skyvern must accept its form (contract §2), and it must lead here without a redirect. */
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { isIP } from "node:net";
import type { Config } from "../../config/config.ts";
import { bareHost, refusedRange } from "../../net/networks.ts";
import type { HttpClient } from "../../net/http-client.ts";
import { outcomeOfError, quote } from "../../sinks/http-outcome.ts";
import { createAddresses, PRIVATE_NAME } from "../../receive/own-addresses.ts";
import type { SkyvernClient } from "../../skyvern/client.ts";
import { askSkyvern, checkTargets } from "./tried-webhook.ts";
import { about, fault, ok, reasonOf, warning, type Diagnosis, type Finding } from "./finding.ts";
import type { DoctorHost } from "./host.ts";

export interface AddressCheckDeps {
  config: Pick<Config, "publicUrl" | "baseUrl" | "host" | "port">;
  host: Pick<DoctorHost, "lookup">;
  /** With the key that Skyvern is asked with. */
  client: SkyvernClient;
  /** Runs count as this relay's by their webhook address. */
  isByAddress: boolean;
  /** Reaches any address, because this one is the operator's own. */
  request: HttpClient;
  signal: AbortSignal;
}

export async function checkAddress(deps: AddressCheckDeps): Promise<Finding[]> {
  const { config, host, client, isByAddress, signal } = deps;
  const isHosted = /(^|\.)skyvern\.com$/.test(new URL(config.baseUrl).hostname);
  const nonce = randomBytes(16).toString("hex");
  const listener = await listen(config, nonce);
  try {
    const isAnswered = listener !== null;
    const said = await askSkyvern(client, { config, isHosted, isAnswered }, signal);
    const form = said === null ? await checkByRules(config.publicUrl, isHosted, host) : [said];
    const found = about("PUBLIC_URL", ...form);
    if (isHosted && form.some(({ state }) => state === "fault")) return found;
    const reached = about("PUBLIC_URL reached", await checkReach(deps, { nonce, isAnswered }));
    const { pointsHere } = createAddresses(() => config.publicUrl);
    const targets = isByAddress
      ? await checkTargets(client, { publicUrl: config.publicUrl, pointsHere }, signal)
      : null;
    return [...found, ...reached, ...about("runs", ...(targets === null ? [] : [targets]))];
  } finally {
    await listener?.close();
  }
}

/** Where Skyvern cannot be asked: what its own rules say of the address. */
async function checkByRules(publicUrl: string, isHosted: boolean, host: Pick<DoctorHost, "lookup">) {
  const form = [...checkForm(publicUrl, isHosted), ...(await resolveAddresses(publicUrl, isHosted, host))];
  return form.length > 0 ? form : [ok(`Skyvern accepts ${publicUrl}/webhook`)];
}

const MAX_LENGTH = 2_083;
const SET = "set PUBLIC_URL to the relay's address on the internet, such as https://relay.example.com";

/**
 * What Skyvern says of a webhook address when a run is started. `isHosted`: Skyvern's own cloud. A server of one's own
 * checks addresses only where ENABLE_URL_VALIDATION is on, and can be told to allow more (ALLOWED_HOSTS).
 */
export function checkForm(publicUrl: string, isHosted: boolean): Diagnosis[] {
  const url = new URL(`${publicUrl}/webhook`);
  const host = bareHost(url.hostname).replace(/\.$/, "").toLowerCase();
  const found: Diagnosis[] = [];
  const refused = (why: string): void => {
    const who = isHosted ? "Skyvern" : "a Skyvern server with ENABLE_URL_VALIDATION=true";
    const line = `ALLOWED_HOSTS=${JSON.stringify([host])}`;
    const fix = isHosted ? SET : `set ${line} for the Skyvern server and start it again, or use a public name`;
    found.push((isHosted ? fault : warning)(`${who} refuses ${url.origin} as a webhook address: ${why}`, fix));
  };
  if (url.href.length > MAX_LENGTH) {
    found.push(
      fault(
        `the webhook address is longer than the ${MAX_LENGTH} characters that Skyvern takes`,
        "use a shorter PUBLIC_URL",
      ),
    );
  }
  if (host === "localhost" || host.endsWith(".localhost")) refused("it leads to the caller's own machine");
  else if (isIP(host) !== 0 && refusedRange(host, []) !== null)
    refused(`its address is not public (${refusedRange(host, [])})`);
  else if (PRIVATE_NAME.test(host)) refused("its name is one of a private network");
  else if (LOAD_BALANCER.test(host)) refused("it is the name of an AWS load balancer");
  else if (isIP(host) === 0 && !host.includes(".") && isHosted) refused("its name has no domain");
  if (url.protocol === "http:" && found.length === 0) {
    const fix = "use https://; Skyvern follows no redirect from http to https";
    if (isHosted) found.push(warning("results come to the relay unencrypted", fix));
  }
  return found;
}

const LOAD_BALANCER = /\.elb\.([a-z0-9-]+\.)?amazonaws\.com(\.cn)?$/;

/**
 * A public name may have a private address. Skyvern checks that when a webhook is tested or sent again, and cannot
 * reach it anyway.
 */
async function resolveAddresses(
  publicUrl: string,
  isHosted: boolean,
  { lookup }: Pick<DoctorHost, "lookup">,
): Promise<Diagnosis[]> {
  const { hostname } = new URL(publicUrl);
  if (isIP(bareHost(hostname)) !== 0 || hostname === "localhost" || !isHosted) return [];
  try {
    const addresses = await lookup(hostname);
    const hidden = addresses.find(({ address }) => refusedRange(address, []) !== null);
    if (!hidden) return [];
    return [
      fault(
        `${hostname} leads to ${hidden.address}, which the internet cannot reach`,
        "correct its DNS record: it must have a public address",
      ),
    ];
  } catch {
    return [fault(`${hostname} has no address in the DNS`, "make its DNS record, or correct PUBLIC_URL")];
  }
}

const NONCE = "x-skyvern-relay-doctor";
const REACH_TIMEOUT_MS = 10_000;

/**
 * Sends a POST to the webhook address like Skyvern, but unsigned. A running relay refuses it with 401. When none runs,
 * doctor itself listens on the relay's port for that moment and recognizes its own answer by a number.
 */
async function checkReach(
  { config, request, signal }: AddressCheckDeps,
  { nonce, isAnswered }: { nonce: string; isAnswered: boolean },
): Promise<Diagnosis> {
  const address = `${config.publicUrl}/webhook`;
  try {
    const response = await request(address, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json", "user-agent": "skyvern-relay doctor" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(REACH_TIMEOUT_MS)]),
    });
    const { status, headers } = response;
    const body = response.body.toString("utf8").slice(0, 300);
    if (status >= 300 && status < 400) return redirected(address, headers.get("location"));
    if (headers.get(NONCE) === nonce)
      return ok(`${address} leads here; no relay is running, so doctor answered in its place`);
    if ((status === 401 || status === 429) && /^\{"error":/.test(body))
      return ok(`${address} leads to a relay, without a redirect`);
    return fault(
      `${address} answers ${status}, and not as a relay does: ${quote(body, [], 80)}`,
      !isAnswered
        ? "let the proxy or host before the relay pass POST /webhook on to it unchanged, without a login"
        : `let the address lead to port ${config.port} of this machine; PORT must be what the proxy or host expects`,
    );
  } catch (error) {
    const reason = reasonOf(outcomeOfError(error, address));
    const fix = /TLS/.test(reason)
      ? "give the address a certificate that is valid for its name: Skyvern checks it"
      : "correct PUBLIC_URL, its DNS record, the port or the firewall; if only this machine cannot reach its own " +
        "public address, prove it from elsewhere: skyvern-relay send-test --url";
    return fault(reason, fix);
  }
}

function redirected(address: string, location: string | null): Diagnosis {
  const to = location === null ? null : URL.parse(location, address);
  const where = to === null ? "" : ` to ${quote(to.href, [], 200)}`;
  const found = `${address} redirects${where}, and Skyvern follows no redirect`;
  const final = to?.href.replace(/\/webhook\/?$/, "");
  return fault(
    found,
    `set PUBLIC_URL to the final address${final === undefined ? "" : `, ${quote(final, [], 200)}`}, and use it ` +
      "as webhook address at Skyvern",
  );
}

/**
 * Null when the port is taken (by a running relay, for instance) or not allowed. A real webhook that arrives meanwhile
 * is asked to come again.
 */
async function listen(
  { host, port }: AddressCheckDeps["config"],
  nonce: string,
): Promise<{ close(): Promise<void> } | null> {
  if (port === 0) return null;
  const server: Server = createServer((request, response) => {
    request.resume();
    response.writeHead(503, { [NONCE]: nonce, "retry-after": "5", "content-type": "application/json" });
    response.end('{"error":"the relay is not running"}');
  });
  const listening = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, host, () => resolve(true));
  });
  if (!listening) return null;
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
