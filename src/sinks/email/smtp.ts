/**
 * Sends one message over one SMTP connection and reports the outcome.
 *
 * The steps are: connect, greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, text, reply. Before the text is handed to
 * the socket the server cannot have accepted the mail; from then until the reply its fate is unknown. Each message gets
 * a connection of its own: mails are few, and an idle connection that the server has silently closed is the most common
 * cause of an unknown fate.
 */
import { Readable } from "node:stream";
import type { NodemailerError } from "nodemailer/lib/errors.js";
import SMTPConnection, {
  type SMTPConnectionOptions,
  type SMTPConnectionSendInfo,
  type SMTPEnvelope,
} from "nodemailer/lib/smtp-connection";
import { bareHost } from "../../net/networks.ts";
import { isJsonObject, type JsonObject } from "../../platform/json.ts";
import type { DeliveryReceipt, Outcome } from "../../domain/run.ts";
import { quote } from "../http-outcome.ts";
import type { RawMessage } from "./message.ts";

export interface SmtpServer {
  /** `host:port`, the server's name in messages. */
  address: string;
  options: SMTPConnectionOptions;
  login: { user: string; pass: string } | null;
  /** Masked when the server quotes them. */
  secrets: string[];
}

export type SmtpResult =
  | { kind: "accepted"; info: SMTPConnectionSendInfo }
  /**
   * `handedOver`: all of the text had been given to the connection. `aborted`: by the caller's signal. `refused`: what
   * the server answered for each recipient that it refused.
   */
  | {
      kind: "failed";
      error: NodemailerError;
      handedOver: boolean;
      aborted: boolean;
      refused: readonly NodemailerError[];
    };

const CONNECT_TIMEOUT_MS = 10_000;
const GREETING_TIMEOUT_MS = 10_000;
const SILENCE_TIMEOUT_MS = 30_000;

/** Parses `smtp(s)://user:password@host:port?requireTLS=…&ignoreTLS=…&name=…`. */
export function smtpServer(text: string): SmtpServer {
  const url = new URL(text);
  const secure = url.protocol === "smtps:";
  const host = bareHost(decodeURIComponent(url.hostname));
  const port = url.port === "" ? (secure ? 465 : 587) : Number(url.port);
  const user = decodeURIComponent(url.username);
  const pass = decodeURIComponent(url.password);
  const name = url.searchParams.get("name");
  return {
    address: `${url.hostname}:${port}`,
    options: {
      host,
      port,
      secure,
      requireTLS: url.searchParams.get("requireTLS") === "true",
      ignoreTLS: url.searchParams.get("ignoreTLS") === "true",
      ...(name === null ? {} : { name }),
      connectionTimeout: CONNECT_TIMEOUT_MS,
      greetingTimeout: GREETING_TIMEOUT_MS,
      socketTimeout: SILENCE_TIMEOUT_MS,
      // Nobody can intercept a connection to the same machine, and mail servers there mostly have self-signed
      // certificates.
      ...(isLoopback(host) ? { tls: { rejectUnauthorized: false } } : {}),
    },
    login: user === "" ? null : { user, pass },
    secrets: [pass, url.password, base64(pass), base64(`\0${user}\0${pass}`), text].filter((secret) => secret !== ""),
  };
}

/** Sends one message. Never rejects; ends at once when the signal aborts. */
export async function sendMail(server: SmtpServer, message: RawMessage, signal: AbortSignal): Promise<SmtpResult> {
  let handedOver = false;
  const text = Readable.from([message.bytes], { objectMode: false }).once("end", () => (handedOver = true));
  // The connection notes its recipients' answers in the envelope: an error tells them only when all were refused.
  const envelope: SMTPEnvelope & { accepted?: string[]; rejectedErrors?: NodemailerError[] } = { ...message.envelope };
  const failed = (error: NodemailerError | null): SmtpResult => {
    // A server that refuses the sender refuses every recipient, too.
    const isOfRecipients = error?.rejectedErrors !== undefined || (envelope.accepted ?? []).length > 0;
    const refused = isOfRecipients ? (envelope.rejectedErrors ?? []) : [];
    return { kind: "failed", error: error ?? new Error("aborted"), handedOver, aborted: error === null, refused };
  };
  const result = await converse<SmtpResult>(server, signal, failed, (connection, done, fail) =>
    connection.send(envelope, text, (error, info) => (error ? fail(error) : done({ kind: "accepted", info }))),
  );
  text.destroy();
  return result;
}

/** Connects, sets up TLS, logs in and quits. Resolves with the fault, or with how the connection was secured. */
export function tryConnection(
  server: SmtpServer,
  signal: AbortSignal,
): Promise<{ error: NodemailerError } | { error: null; secure: boolean; offersLogin: boolean }> {
  const failed = (error: NodemailerError | null) => ({
    error: error ?? Object.assign(new Error("no answer in time"), { code: "ETIMEDOUT" }),
  });
  return converse<Awaited<ReturnType<typeof tryConnection>>>(server, signal, failed, (connection, done) =>
    done({ error: null, secure: connection.secure, offersLogin: connection.allowsAuth }),
  );
}

/** Connects and logs in, for `use` to go on. `failed` is called with null as soon as the signal aborts. */
function converse<T>(
  server: SmtpServer,
  signal: AbortSignal,
  failed: (error: NodemailerError | null) => T,
  use: (connection: SMTPConnection, done: (result: T) => void, fail: (error: NodemailerError) => void) => void,
): Promise<T> {
  return new Promise((resolve) => {
    const connection = new SMTPConnection(server.options);
    const fail = (error: NodemailerError | null) => {
      signal.removeEventListener("abort", onAbort);
      connection.close();
      resolve(failed(error));
    };
    const done = (result: T) => {
      signal.removeEventListener("abort", onAbort);
      connection.quit();
      resolve(result);
    };
    const onAbort = () => fail(null);
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    connection.on("error", fail);
    connection.connect((error) => {
      if (error) return fail(error);
      logIn(connection, server.login, (error) => (error ? fail(error) : use(connection, done, fail)));
    });
  });
}

/** Logs in when there is a user and the server offers AUTH; a server without AUTH will state its demands at MAIL. */
export function logIn(
  connection: SMTPConnection,
  login: SmtpServer["login"],
  done: (error: NodemailerError | null) => void,
) {
  if (login === null || !connection.allowsAuth) return done(null);
  connection.login({ credentials: login }, done);
}

/**
 * True when the server refused the message for its size, before or after it was sent (RFC 1870, section 6.1). From the
 * second attempt on, a server that still has no room for the announced size (452) counts too.
 */
export function isTooLarge(result: SmtpResult, attempt: number): boolean {
  if (result.kind !== "failed" || result.aborted) return false;
  const { code, responseCode, response = "", command } = result.error;
  if (responseCode === undefined) return code === "EMESSAGE";
  if (responseCode === 452) return attempt > 1 && command === "MAIL FROM";
  return responseCode === 552 || /^5\d\d[ -]5\.(3\.4|2\.3)\b/.test(response);
}

/**
 * Whether the server refused the text, which may be for what the mail carries (a policy, a scanner): at once with 5xx,
 * and from the second attempt on with 4xx too, as the first is mostly greylisting.
 */
export const isTextRefused = (result: SmtpResult, attempt: number): boolean =>
  result.kind === "failed" &&
  !result.aborted &&
  result.error.command === "DATA" &&
  (result.error.permanent === true || (attempt > 1 && result.error.responseCode !== undefined));

/** Which recipients earlier attempts of the delivery settled. */
export interface SmtpProgress {
  accepted: string[];
  /** Refused for good, with what the server said. */
  rejected: { address: string; response: string }[];
}

/** Reads what {@link outcomeOfSmtp} left in a receipt. */
export function readProgress(receipt: DeliveryReceipt | null): SmtpProgress {
  const { accepted, rejected } = receipt ?? {};
  return {
    accepted: (Array.isArray(accepted) ? accepted : []).filter((one) => typeof one === "string"),
    rejected: (Array.isArray(rejected) ? rejected : []).flatMap((one) =>
      isJsonObject(one) && typeof one["address"] === "string"
        ? [{ address: one["address"], response: typeof one["response"] === "string" ? one["response"] : "" }]
        : [],
    ),
  };
}

export interface SmtpContext {
  /** The beginning of every reason. */
  who: string;
  messageId: string;
  secrets: readonly string[];
  begun?: SmtpProgress;
}

/** The recipients settled by earlier attempts and by this result: those refused for now, or not answered, are open. */
export function settledBy(result: SmtpResult, { secrets, begun = NOBODY }: SmtpContext): SmtpProgress {
  return {
    accepted: [...begun.accepted, ...(result.kind === "accepted" ? result.info.accepted : [])],
    rejected: [
      ...begun.rejected,
      ...refusedBy(result)
        .filter(isRefusal)
        .map((error) => named(error, secrets)),
    ],
  };
}

const NOBODY: SmtpProgress = { accepted: [], rejected: [] };

const refusedBy = (result: SmtpResult): readonly NodemailerError[] =>
  result.kind === "accepted" ? (result.info.rejectedErrors ?? []) : result.refused;

const named = ({ recipient = "", response = "" }: NodemailerError, secrets: readonly string[]) => ({
  address: recipient,
  response: quote(response, secrets),
});

/**
 * The outcome by reply. Accepted for all recipients, or refused for good for the others: delivered, and those refused
 * are named. Refused for now for some: retry, for these alone, even when the others were all refused for good. Any
 * other 4xx reply (greylisting, busy): retry. A 5xx reply to login, sender, recipient or text: dead. No connection or a
 * broken one: retry, `unknown` when the text had been handed over without a reply. No retry asks again for a recipient
 * refused for good.
 */
export function outcomeOfSmtp(result: SmtpResult, context: SmtpContext): Outcome {
  const { who, secrets, begun = NOBODY } = context;
  const refused = refusedBy(result);
  const settled = settledBy(result, context);
  const waiting = refused.filter((error) => !isRefusal(error)).map((error) => named(error, secrets));
  // An error has the answers of recipients only when the server refused them all.
  const isOfAll = result.kind === "accepted" || result.error.rejectedErrors !== undefined;
  const isSettled = isOfAll && waiting.length === 0;
  if (settled.accepted.length > 0 && isSettled) {
    const receipt = receiptOf(result, context, settled);
    if (settled.rejected.length === 0) return { kind: "delivered", receipt };
    return { kind: "delivered", receipt, reason: `${who} refused the mail for good for ${listed(settled.rejected)}` };
  }
  if (
    result.kind === "accepted" ||
    (isOfAll && waiting.length > 0 && settled.rejected.length > begun.rejected.length)
  ) {
    const taken = settled.accepted.join(", ");
    const refusal = taken === "" ? "refused the mail" : `took the mail for ${taken}, and refused it`;
    const gone = settled.rejected.length === 0 ? "" : `, and for good for ${listed(settled.rejected)}`;
    const reason = `${who} ${refusal} for now for ${listed(waiting)}${gone}`;
    return { kind: "retry", reason, receipt: receiptOf(result, context, settled) };
  }
  const { error, handedOver, aborted } = result;
  const retry = (reason: string): Outcome => ({
    kind: "retry",
    reason,
    ...(handedOver && error.responseCode === undefined ? { unknown: true } : {}),
    ...(settled.rejected.length > 0 ? { receipt: receiptOf(result, context, settled) } : {}),
  });
  if (aborted) return retry(`sending to the ${who} was cut short`);
  if (error.responseCode !== undefined) {
    const said = `${who} answered ${quote(error.response ?? String(error.responseCode), secrets)}${nameStep(error)}`;
    const others = describeSettled(isOfAll ? begun : settled);
    return isRefusal(error)
      ? { kind: "dead", reason: said + adviceFor(error) + others }
      : retry(said + tlsAdvice(error) + others);
  }
  const fault = UNSENDABLE[error.code ?? ""];
  if (fault !== undefined && (error.command === "API" || error.command === "MAIL FROM")) {
    return { kind: "dead", reason: `${who} was not given the mail: ${fault}` };
  }
  return retry(`${who} ${describeBreak(error)}`);
}

/** The recipients settled before, behind what the attempt came to. */
const describeSettled = ({ accepted, rejected }: SmtpProgress): string =>
  (accepted.length === 0 ? "" : `; ${accepted.join(", ")} got it before`) +
  (rejected.length === 0 ? "" : `; refused for good before: ${listed(rejected)}`);

const listed = (refused: SmtpProgress["rejected"]): string =>
  refused.map(({ address, response }) => `${address} (${response})`).join(", ");

function receiptOf(
  result: SmtpResult,
  { messageId, secrets }: SmtpContext,
  { accepted, rejected }: SmtpProgress,
): JsonObject {
  const info = result.kind === "accepted" ? result.info : null;
  return {
    message_id: messageId,
    accepted,
    ...(info === null ? {} : { response: quote(info.response, secrets) }),
    ...(rejected.length === 0 ? {} : { rejected: rejected.map((one) => ({ ...one })) }),
    ...(info?.serverMessageId === undefined ? {} : { server_message_id: quote(info.serverMessageId, secrets) }),
  };
}

/** A 5xx about this mail or this login. At the greeting or EHLO it concerns the connection, which may work later. */
const isRefusal = ({ permanent, command = "" }: NodemailerError): boolean =>
  permanent === true && /^(MAIL FROM|RCPT TO|DATA|AUTH)/.test(command);

const adviceFor = ({ code, responseCode }: NodemailerError): string =>
  code === "EAUTH" || responseCode === 535
    ? ": check user and password in the SMTP URL"
    : responseCode === 530
      ? ": it wants a login or TLS first, set user and password in the SMTP URL, or smtps://"
      : "";

const nameStep = ({ command }: NodemailerError): string =>
  command === undefined || command === "CONN" || command === "API" ? "" : ` to ${command.split(" ", 2).join(" ")}`;

const UNSENDABLE: Record<string, string> = {
  EMESSAGE: "it is larger than the server takes",
  EENVELOPE: "an address in from or to cannot be used",
  EAUTH: "the server offers no way to log in that the relay knows",
};

/**
 * The remedy when TLS could not be set up: the URL's scheme or the server's certificate is wrong. Null when it is
 * neither.
 */
export function adviseOnTls({ code, originalCode = "", timeoutType, command }: NodemailerError): string | null {
  if (originalCode === "ERR_TLS_CERT_ALTNAME_INVALID")
    return "its certificate is for another name: put the host name that it is for into the SMTP URL";
  if (originalCode === "CERT_HAS_EXPIRED") return "its certificate has expired: have it renewed";
  if (/CERT|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)/.test(originalCode)) {
    return (
      "no known authority signed its certificate: set NODE_EXTRA_CA_CERTS to a PEM file with the certificate of " +
      "its CA"
    );
  }
  if (/^ERR_SSL_/.test(originalCode))
    return (
      "its port does not begin with TLS: write smtp:// for a port with STARTTLS (587), smtps:// for one with TLS " +
      "from the start (465)"
    );
  if (code === "ETLS" && command === "STARTTLS")
    return (
      "its STARTTLS does not work: write smtps:// for a port with TLS from the start (465), take requireTLS out of " +
      "the SMTP URL, or, in a network that you trust, put ?ignoreTLS=true there"
    );
  if (timeoutType === "GREETING_TIMEOUT")
    return "it said nothing: if its port has TLS from the start (465), write smtps:// instead of smtp://";
  return null;
}

function describeBreak(error: NodemailerError): string {
  return describeFault(error) + tlsAdvice(error);
}

function tlsAdvice(error: NodemailerError): string {
  const advice = adviseOnTls(error);
  return advice === null ? "" : `; ${advice}`;
}

function describeFault({ code, originalCode, timeoutType }: NodemailerError): string {
  const detail = originalCode ?? timeoutType;
  const shown = detail === undefined ? "" : ` (${quote(detail, [])})`;
  switch (code) {
    case "EDNS":
      return `could not be reached: its name has no address${shown}`;
    case "ESOCKET":
      return `could not be reached: the connection failed${shown}`;
    case "ETLS":
      return `could not be reached: TLS could not be set up${shown}`;
    case "ETIMEDOUT":
      return `did not answer in time${shown}`;
    default:
      return `gave no answer: the connection broke off${shown}`;
  }
}

export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);

const base64 = (text: string): string => Buffer.from(text).toString("base64");
