import type { NodemailerError } from "nodemailer/lib/errors.js";
import { fault, ok, reasonOf, warning, type Diagnosis } from "../diagnosis.ts";
import type { EmailSettings } from "./config.ts";
import { adviseOnTls, isLoopback, outcomeOfSmtp, smtpServer, tryConnection } from "./smtp.ts";

/** Connects, sets up TLS and logs in, without starting a mail. */
export async function diagnose({ smtp }: EmailSettings, signal: AbortSignal): Promise<Diagnosis[]> {
  const server = smtpServer(smtp.reveal());
  const who = `SMTP server ${server.address}`;
  const tried = await tryConnection(server, signal);
  if (tried.error !== null) {
    const result = { kind: "failed", error: tried.error, handedOver: false, aborted: false, refused: [] } as const;
    const reason = reasonOf(outcomeOfSmtp(result, { who, messageId: "", secrets: server.secrets }));
    return [fault(reason, fixFor(tried.error))];
  }
  const { secure, offersLogin } = tried;
  const found: Diagnosis[] = [
    ok(`${who} ${secure ? "speaks TLS" : "answers"}${server.login ? " and accepted the login" : ""}`),
  ];
  if (server.login && !offersLogin) {
    const fix =
      "take user and password out of the SMTP URL, or use the port for submission (587, or 465 with smtps://)";
    return [warning(`${who} offers no login: user and password are not used`, fix)];
  }
  if (!secure && !isLoopback(String(server.options.host))) {
    const what = server.login ? "the password and every mail go" : "every mail goes";
    found.push(
      warning(
        `${what} to ${server.address} unencrypted`,
        "use smtps:// (port 465), or ?requireTLS=true to insist on STARTTLS",
      ),
    );
  }
  return found;
}

function fixFor(error: NodemailerError): string {
  const { code, responseCode, command = "" } = error;
  const advice = adviseOnTls(error);
  if (advice !== null) return advice;
  if (code === "EAUTH" || responseCode === 535 || command.startsWith("AUTH")) {
    return "correct user and password in the SMTP URL (percent-encoded); many providers want a password made for apps";
  }
  switch (code) {
    case "EDNS":
      return "correct the host name in the SMTP URL";
    case "ETLS":
      return "use smtps:// only on a port that speaks TLS at once (465), and a host name that its certificate is for";
    case "ESOCKET":
    case "ETIMEDOUT":
    case "ECONNECTION":
      return "correct host and port in the SMTP URL; many hosts block ports 25 and 465: try 587 or 2525";
    default:
      return "look at what the server says, and at host, port and login in the SMTP URL";
  }
}
