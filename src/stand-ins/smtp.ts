import type { AddressInfo, Socket } from "node:net";
import { SMTPServer, type SMTPServerDataStream, type SMTPServerOptions, type SMTPServerSession } from "smtp-server";

export interface SmtpMessage {
  /** As it came, headers and all. */
  raw: string;
  envelope: { from: string; to: string[] };
}

export interface SmtpStandIn {
  url: string;
  /** Accepted mails, in order. */
  messages: SmtpMessage[];
  /** Open connections by the client's port. */
  sockets: ReadonlyMap<number | undefined, Socket>;
  close(): Promise<void>;
}

/** A real SMTP server on loopback that stores what it gets. Tests give it options in place of its own. */
export async function startSmtp(options: SMTPServerOptions = {}): Promise<SmtpStandIn> {
  const messages: SmtpMessage[] = [];
  const sockets = new Map<number | undefined, Socket>();
  const server = new SMTPServer({
    disabledCommands: ["STARTTLS", "AUTH"],
    authOptional: true,
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 0,
    onData: (stream, session, done) =>
      readMessage(stream, session, (message) => {
        messages.push(message);
        done();
      }),
    ...options,
  });
  server.server.on("connection", (socket: Socket) => {
    const { remotePort } = socket;
    sockets.set(remotePort, socket);
    socket.once("close", () => sockets.delete(remotePort));
  });
  // The client has to notice a connection that breaks.
  server.on("error", () => {});
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `${options.secure === true ? "smtps" : "smtp"}://127.0.0.1:${port}`,
    messages,
    sockets,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets.values()) socket.destroy();
      }),
  };
}

export function readMessage(
  stream: SMTPServerDataStream,
  { envelope }: SMTPServerSession,
  use: (message: SmtpMessage) => void,
): void {
  const from = envelope.mailFrom ? envelope.mailFrom.address : "";
  const to = envelope.rcptTo.map(({ address }) => address);
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => use({ raw: Buffer.concat(chunks).toString("utf8"), envelope: { from, to } }));
}
