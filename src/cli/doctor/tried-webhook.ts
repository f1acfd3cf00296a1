/** Whether Skyvern itself reaches the webhook address: it is asked to send its sample there. */
import type { Config } from "../../config/config.ts";
import { DOCTOR_CHANNEL } from "../../receive/intake.ts";
import { webhookUrlOf } from "../../reconcile/ingest.ts";
import type { SkyvernClient, TriedWebhook } from "../../skyvern/client.ts";
import { quote } from "../../sinks/http-outcome.ts";
import { fault, ok, warning, type Diagnosis } from "./finding.ts";

/**
 * Skyvern's own word. Null when it has no such call, or cannot be asked: the caller goes by the rules then. `isHosted`:
 * Skyvern's own cloud. `isAnswered`: doctor listens in place of a relay that does not run, and answers 503.
 */
export async function askSkyvern(
  client: SkyvernClient,
  { config, isHosted, isAnswered }: { config: Pick<Config, "publicUrl">; isHosted: boolean; isAnswered: boolean },
  signal: AbortSignal,
): Promise<Diagnosis | null> {
  const once = client.with({ tries: 1 });
  const address = `${config.publicUrl}/webhook`;
  const tried = await once.tryWebhook(`${address}/${DOCTOR_CHANNEL}`, signal);
  if (!tried.ok) return null;
  const version = await once.version(signal);
  const who = version.ok ? `Skyvern ${quote(version.value, [], 40)}` : "Skyvern";
  return judgeAnswer(tried.value, { who, address, isHosted, isAnswered });
}

interface Asked {
  /** `Skyvern 1.0.56` */
  who: string;
  address: string;
  isHosted: boolean;
  isAnswered: boolean;
}

function judgeAnswer({ status, body, error }: TriedWebhook, { who, address, isHosted, isAnswered }: Asked): Diagnosis {
  if (status === null) return unreached(error ?? "it does not say why", { who, address, isHosted });
  const said = status === 200 && /"result":\s*"test"/.test(body);
  if (said) return ok(`${who} reaches ${address}, and signs with a key that the relay has`);
  if (status === 503 && isAnswered) return ok(`${who} reaches ${address}; no relay runs just now, doctor answered`);
  if (status === 401 && body.includes("signature"))
    return fault(
      `${who} reaches ${address}, but the relay refuses its signature: it signs with a key that the relay has not`,
      "add the newest API key of your organization at Skyvern to SKYVERN_API_KEY, behind a comma",
    );
  if (status >= 300 && status < 400)
    return fault(
      `${who} is redirected at ${address} (${status}), and follows no redirect`,
      "set PUBLIC_URL to the final address, and use it as webhook address at Skyvern",
    );
  return fault(
    `${who} reaches ${address} and gets ${status}, which is no answer of a relay: ${quote(body, [], 80)}`,
    "let the proxy or host before the relay pass POST /webhook on to it unchanged, without a login",
  );
}

/** Skyvern has no code for why it sent nothing: what it says of the network begins so. */
const NETWORK = /^(Could not reach URL|Request timed out)/;

function unreached(error: string, { who, address, isHosted }: Omit<Asked, "isAnswered">): Diagnosis {
  const { hostname } = new URL(address);
  const found = `${who} does not reach ${address}: ${quote(error, [], 300)}`;
  if (isHosted) return fault(found, "set PUBLIC_URL to the relay's address on the internet: https://relay.example.com");
  if (NETWORK.test(error))
    return fault(found, "let the Skyvern server reach the relay: its network, the port, the firewall, the certificate");
  const line = `ALLOWED_HOSTS=${JSON.stringify([hostname])}`;
  return fault(
    found,
    `set ${line} for the Skyvern server (beside the hosts that stand there already) and start it again; or turn its ENABLE_URL_VALIDATION off`,
  );
}

/** The number of newest runs that are examined. */
const RUNS = 20;

/** How many of the newest runs have a webhook address that leads elsewhere; null when none can be read. */
export async function checkTargets(
  client: SkyvernClient,
  { publicUrl, pointsHere }: { publicUrl: string; pointsHere(webhookUrl: unknown): boolean },
  signal: AbortSignal,
): Promise<Diagnosis | null> {
  const once = client.with({ tries: 1 });
  const listed = await once.listRuns({ page: 1, pageSize: RUNS }, signal);
  if (!listed.ok || listed.value.rows.length === 0) return null;
  const counts = { here: 0, elsewhere: 0, blocked: 0 };
  for (const { run_id } of listed.value.rows) {
    const answer = await once.getRun(run_id, signal);
    if (answer.ok) counts[pointsHere(webhookUrlOf(answer.value)) ? "here" : "elsewhere"] += 1;
    else if (answer.fault.kind === "blocked") counts.blocked += 1;
  }
  const total = counts.here + counts.elsewhere + counts.blocked;
  if (total === 0) return null;
  if (counts.blocked > 0)
    return warning(
      `${counts.blocked} of the last ${total} runs cannot be read: Skyvern blocks the host of their webhook address`,
      "name that host in ALLOWED_HOSTS of the Skyvern server",
    );
  if (counts.elsewhere === 0) return ok(`the last ${total} runs lead here`);
  return warning(
    `${counts.elsewhere} of the last ${total} runs do not lead here: they have another webhook address, or none`,
    `start them with webhook_url ${publicUrl}/webhook, or have the relay take every run: skyvern: { reconcile: { scope: all } }`,
  );
}
