/** Servers on loopback that misbehave to the letter. All are closed when the test ends. */
import { createServer, type AddressInfo, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** Answers each connection, counted from 1, as told. Resolves with its port. */
export async function aTcpServer(onConnection: (socket: Socket, n: number) => void, port = 0): Promise<number> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket, ++count);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  onTestFinished(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

/** The steps of an SMTP conversation, in order. `text` is the reply after the mail's last dot. */
export type SmtpStep = "greeting" | "ehlo" | "auth" | "mail" | "rcpt" | "data" | "text";

/** What the server does at one step: a line to say, or `drop`, `hang`, and at `data` `drop in mid-text`. */
export type SmtpMove = string;

export interface ScriptedSmtp {
  port: number;
  /** Mails it has taken, whatever it said about them. */
  mails: string[];
}

const GOOD: Record<SmtpStep, string> = {
  greeting: "220 mail.test ESMTP",
  ehlo: "250-mail.test\r\n250-AUTH PLAIN\r\n250 SIZE 10000000",
  auth: "235 welcome",
  mail: "250 sender ok",
  rcpt: "250 recipient ok",
  data: "354 go on",
  text: "250 taken",
};

/** An SMTP server that follows a script on its first connection and is a good one from then on. */
export async function aScriptedSmtp(script: Partial<Record<SmtpStep, SmtpMove>>): Promise<ScriptedSmtp> {
  const mails: string[] = [];
  const port = await aTcpServer((socket, n) => converse(socket, n === 1 ? script : {}, mails));
  return { port, mails };
}

function converse(socket: Socket, script: Partial<Record<SmtpStep, SmtpMove>>, mails: string[]): void {
  let waiting = "";
  let isText = false;
  const play = (step: SmtpStep): void => {
    const move = script[step] ?? GOOD[step];
    if (move === "drop") return void socket.destroy();
    if (move === "hang") return;
    if (step === "data") isText = move === "drop in mid-text" || move.startsWith("354");
    socket.write(`${move === "drop in mid-text" ? GOOD.data : move}\r\n`);
  };
  socket.on("data", (piece) => {
    waiting += piece.toString("latin1");
    if (isText && script.data === "drop in mid-text") return void socket.destroy();
    const end = waiting.indexOf("\r\n.\r\n");
    if (isText && end >= 0) {
      isText = false;
      // A mail that is refused in words is not taken; one whose reply is lost is.
      if (/^(250|drop|hang)/.test(script.text ?? "250")) mails.push(waiting.slice(0, end));
      waiting = waiting.slice(end + 5);
      play("text");
    }
    while (waiting.includes("\r\n")) {
      if (isText) return;
      const line = waiting.slice(0, waiting.indexOf("\r\n"));
      waiting = waiting.slice(line.length + 2);
      const step = STEPS[line.slice(0, 4).toUpperCase()];
      if (step) play(step);
      else if (/^QUIT/i.test(line)) socket.end("221 bye\r\n");
      else socket.write("250 ok\r\n");
    }
  });
  play("greeting");
}

const STEPS: Record<string, SmtpStep> = {
  EHLO: "ehlo",
  HELO: "ehlo",
  AUTH: "auth",
  MAIL: "mail",
  RCPT: "rcpt",
  DATA: "data",
};
