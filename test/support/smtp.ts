/** A stand-in for a mail server that fails when a test orders it. */
import type { SMTPServerSession } from "smtp-server";
import * as plain from "../../src/stand-ins/smtp.ts";

/** What goes wrong with the next message that reaches that point; each entry is consumed once. */
export type SmtpFault =
  /** Refuses with a reply code; at `rcpt` only the given address, when one is given. */
  | { at: "mail" | "rcpt" | "data"; code: number; text?: string; address?: string }
  /** Ends the connection; at `data` while the text comes in. */
  | { at: "connect" | "mail" | "data"; do: "drop" }
  /** Never answers, and says when the client begins to wait. */
  | { at: "mail" | "data"; do: "hang"; reached?(): void }
  /** Take the mail, then end the connection before the reply. */
  | { at: "reply"; do: "drop" };

export interface SmtpStandIn extends plain.SmtpStandIn {
  /** MAIL and RCPT as they came, without their parameters. */
  commands: string[];
  /** Tests push to it. */
  faults: SmtpFault[];
}

export interface SmtpStandInOptions {
  faults?: SmtpFault[];
  /** Requires this login. */
  auth?: { user: string; pass: string };
  /** Offers STARTTLS with a self-signed certificate. */
  startTls?: boolean;
  /** Hides SMTPUTF8. */
  withoutUtf8?: boolean;
  /** Uses TLS from the start. */
  secure?: boolean;
  /** Instead of the self-signed certificate, in PEM. */
  tls?: { key: string; cert: string };
  /** Refuses every mail that contains this text. */
  refuses?: { pattern: RegExp; code: number; text?: string };
  /** Announces this limit (RFC 1870), and answers a larger mail with 552. */
  maxBytes?: number;
  /** Hides the limit. */
  silentLimit?: boolean;
}

export async function startSmtp(options: SmtpStandInOptions = {}): Promise<SmtpStandIn> {
  const { faults = [], auth, startTls = false, withoutUtf8 = false, secure = false, tls } = options;
  const { maxBytes, silentLimit = false } = options;
  const commands: string[] = [];
  const take = (at: SmtpFault["at"], address?: string): SmtpFault | undefined => {
    const index = faults.findIndex(
      (fault) => fault.at === at && !("address" in fault && fault.address !== undefined && fault.address !== address),
    );
    return index === -1 ? undefined : faults.splice(index, 1)[0];
  };
  const act = (fault: SmtpFault | undefined, session: SMTPServerSession, next: (error?: Error | null) => void) => {
    if (fault === undefined) return next();
    if ("code" in fault) return next(smtpError(fault.code, fault.text));
    if (fault.do === "hang") return fault.reached?.();
    standIn.sockets.get(session.remotePort)?.destroy();
  };
  const standIn: plain.SmtpStandIn = await plain.startSmtp({
    secure,
    hideSMTPUTF8: withoutUtf8,
    ...tls,
    disabledCommands: [...(startTls ? [] : ["STARTTLS"]), ...(auth ? [] : ["AUTH"])],
    allowInsecureAuth: true,
    authOptional: auth === undefined,
    ...(maxBytes === undefined ? {} : { size: maxBytes, hideSize: silentLimit }),
    onAuth: (given, _session, done) =>
      given.username === auth?.user && given.password === auth?.pass
        ? done(null, { user: given.username })
        : done(smtpError(535, "Authentication failed")),
    onConnect: (session, done) => {
      const socket = standIn.sockets.get(session.remotePort);
      socket?.on("data", (data: Buffer) => commands.push(...addressCommands(data)));
      act(take("connect"), session, done);
    },
    onMailFrom: (_address, session, done) => act(take("mail"), session, done),
    onRcptTo: ({ address }, session, done) => act(take("rcpt", address), session, done),
    onData: (stream, session, done) => {
      const fault = take("data");
      if (fault && "do" in fault && fault.do === "drop") stream.once("data", () => act(fault, session, done));
      plain.readMessage(stream, session, (message) => {
        if (fault) return act(fault, session, done);
        const refusal = refusalOf(message.raw, options);
        if (refusal) return done(refusal);
        standIn.messages.push(message);
        act(take("reply"), session, done);
      });
    },
  });
  const login = auth ? `${encodeURIComponent(auth.user)}:${encodeURIComponent(auth.pass)}@` : "";
  return { ...standIn, url: standIn.url.replace("://", `://${login}`), commands, faults };
}

/** What the server answers to a whole mail that it does not take. */
function refusalOf(raw: string, { maxBytes, refuses }: SmtpStandInOptions): Error | null {
  if (maxBytes !== undefined && Buffer.byteLength(raw) > maxBytes) return smtpError(552, "5.3.4 Message too big");
  return refuses?.pattern.test(raw) === true ? smtpError(refuses.code, refuses.text) : null;
}

const addressCommands = (data: Buffer): string[] =>
  Array.from(data.toString().matchAll(/^(?:MAIL FROM|RCPT TO):<[^>]*>/gim), ([command]) => command);

const smtpError = (responseCode: number, text = "Refused on order"): Error =>
  Object.assign(new Error(text), { responseCode });
