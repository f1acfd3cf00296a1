import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface RawAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: string;
}

export interface RawConnection {
  socket: Socket;
  write(data: string | Uint8Array): void;
  /** The next whole answer; rejects when the connection ends before it is whole. */
  answer(): Promise<RawAnswer>;
  /** Resolves when the other side has ended the connection. */
  closed: Promise<void>;
}

/** A bare TCP connection to the relay, for requests that no client would make. */
export async function rawConnection(port: number): Promise<RawConnection> {
  const socket = connect({ port, host: "127.0.0.1" });
  onTestFinished(() => void socket.destroy());
  let received = "";
  let ended = false;
  let wake = () => {};
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
    wake();
  });
  // A reset is an end like another: what matters is what came before it.
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      ended = true;
      wake();
      resolve();
    });
  });
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  return {
    socket,
    closed,
    write: (data) => void socket.write(data),
    answer: async () => {
      for (;;) {
        const found = takeAnswer(received);
        if (found) {
          received = found.rest;
          return found.answer;
        }
        if (ended) throw new Error(`the connection ended after ${JSON.stringify(received.slice(0, 200))}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

function takeAnswer(text: string): { answer: RawAnswer; rest: string } | null {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return null;
  const [line = "", ...fields] = text.slice(0, head).split("\r\n");
  const headers = Object.fromEntries(
    fields.map((field) => [
      field.slice(0, field.indexOf(":")).toLowerCase(),
      field.slice(field.indexOf(":") + 1).trim(),
    ]),
  );
  const size = Number(headers["content-length"] ?? 0);
  const rest = text.slice(head + 4);
  if (rest.length < size) return null;
  const status = Number(line.split(" ")[1]);
  if (status === 100) return takeAnswer(rest);
  return { answer: { status, headers, body: rest.slice(0, size) }, rest: rest.slice(size) };
}
