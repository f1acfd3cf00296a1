import type { AddressInfo, Socket } from "node:net";
import { SMTPServer, type SMTPServerSession } from "smtp-server";

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

export interface SmtpMessage {
  /** As it came, headers and all. */
  raw: string;
  envelope: { from: string; to: string[] };
}

export interface SmtpStandIn {
  /** With user and password when the server wants them. */
  url: string;
  /** Accepted mails, in order. */
  messages: SmtpMessage[];
  /** MAIL and RCPT as they came, without their parameters. */
  commands: string[];
  /** Tests push to it. */
  faults: SmtpFault[];
  close(): Promise<void>;
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

/** A real SMTP server on loopback that stores what it gets and fails when a test orders it. */
export async function startSmtp(options: SmtpStandInOptions = {}): Promise<SmtpStandIn> {
  const { faults = [], auth, startTls = false, withoutUtf8 = false, secure = false, tls } = options;
  const { maxBytes, silentLimit = false } = options;
  const messages: SmtpMessage[] = [];
  const commands: string[] = [];
  /** Open connections by the client's port. */
  const sockets = new Map<number | undefined, Socket>();
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
    sockets.get(session.remotePort)?.destroy();
  };

  const server = new SMTPServer({
    secure,
    hideSMTPUTF8: withoutUtf8,
    ...tls,
    disabledCommands: [...(startTls ? [] : ["STARTTLS"]), ...(auth ? [] : ["AUTH"])],
    allowInsecureAuth: true,
    authOptional: auth === undefined,
    ...(maxBytes === undefined ? {} : { size: maxBytes, hideSize: silentLimit }),
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 0,
    onAuth: (given, _session, done) =>
      given.username === auth?.user && given.password === auth?.pass
        ? done(null, { user: given.username })
        : done(smtpError(535, "Authentication failed")),
    onConnect: (session, done) => act(take("connect"), session, done),
    onMailFrom: (_address, session, done) => act(take("mail"), session, done),
    onRcptTo: ({ address }, session, done) => act(take("rcpt", address), session, done),
    onData: (stream, session, done) => {
      const fault = take("data");
      if (fault && "do" in fault && fault.do === "drop") stream.once("data", () => act(fault, session, done));
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        if (fault) return act(fault, session, done);
        const raw = Buffer.concat(chunks);
        const refusal = refusalOf(raw, options);
        if (refusal) return done(refusal);
        messages.push({ raw: raw.toString("utf8"), envelope: envelopeOf(session) });
        act(take("reply"), session, done);
      });
    },
  });
  server.server.on("connection", (socket: Socket) => {
    const { remotePort } = socket;
    sockets.set(remotePort, socket);
    socket.on("data", (data: Buffer) => commands.push(...addressCommands(data)));
    socket.once("close", () => sockets.delete(remotePort));
  });
  // The client has to notice a connection that breaks.
  server.on("error", () => {});
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
  const login = auth ? `${encodeURIComponent(auth.user)}:${encodeURIComponent(auth.pass)}@` : "";
  return {
    url: `${secure ? "smtps" : "smtp"}://${login}127.0.0.1:${(server.server.address() as AddressInfo).port}`,
    messages,
    commands,
    faults,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets.values()) socket.destroy();
      }),
  };
}

/** What the server answers to a whole mail that it does not take. */
function refusalOf(raw: Buffer, { maxBytes, refuses }: SmtpStandInOptions): Error | null {
  if (maxBytes !== undefined && raw.length > maxBytes) return smtpError(552, "5.3.4 Message too big");
  return refuses?.pattern.test(raw.toString()) === true ? smtpError(refuses.code, refuses.text) : null;
}

const addressCommands = (data: Buffer): string[] =>
  Array.from(data.toString().matchAll(/^(?:MAIL FROM|RCPT TO):<[^>]*>/gim), ([command]) => command);

const smtpError = (responseCode: number, text = "Refused on order"): Error =>
  Object.assign(new Error(text), { responseCode });

const envelopeOf = ({ envelope }: SMTPServerSession): SmtpMessage["envelope"] => ({
  from: envelope.mailFrom ? envelope.mailFrom.address : "",
  to: envelope.rcptTo.map(({ address }) => address),
});
