import { fault, ok, reasonOf, warning, type DiagnoseDeps, type Diagnosis } from "../diagnosis.ts";
import { outcomeOfError } from "../http-outcome.ts";
import type { HttpSettings } from "./config.ts";

/** Opens a connection to the receiver without sending a request. */
export async function diagnose({ url, secret }: HttpSettings, deps: DiagnoseDeps, signal: AbortSignal) {
  const { origin, protocol, hostname } = new URL(url.reveal());
  const found: Diagnosis[] = [];
  try {
    await deps.reach(url.reveal(), signal);
    found.push(ok(`${origin} accepts connections`));
  } catch (error) {
    const outcome = outcomeOfError(error, origin);
    const reason = reasonOf(outcome);
    const refused = outcome.kind === "dead";
    const fix = refused
      ? "allow its network if it is yours, else correct the address"
      : /\((ENOTFOUND|EAI_\w+)\)/.test(reason)
        ? "correct the host name in the address, or the name server of this machine"
        : /TLS/.test(reason)
          ? "give the receiver a certificate that is valid for its name, or correct the address"
          : "start the receiver, open its port, or correct the address";
    found.push(fault(reason, fix));
  }
  if (protocol === "http:" && !/^(localhost|127\.|\[?::1)/.test(hostname)) {
    found.push(warning(`results go to ${origin} unencrypted`, "use https:// unless the network between is your own"));
  }
  if (secret.length === 0) {
    const fix = "set secret (SINK_SECRET) to whsec_ and the base64 of 32 random bytes, and check it there";
    found.push(warning("requests are not signed: the receiver cannot tell them from forged ones", fix));
  }
  return found;
}
