import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** Awaited before a piece of data goes on. One that never resolves holds the connection. */
export type Gate = (piece: Buffer) => Promise<void>;

export interface Proxy {
  /** `127.0.0.1:port` */
  address: string;
  /** What the client sends passes here. */
  toServer: Gate;
  /** What the server answers passes here. */
  toClient: Gate;
}

const open: Gate = () => Promise.resolve();

/**
 * A TCP proxy on loopback that can be slow or hold what passes. What the client has sent reaches the server also when
 * the client is gone meanwhile: a killed process takes nothing back that is on the wire. Closed when the test ends.
 */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const proxy: Proxy = { address: "", toServer: open, toClient: open };
  const server = createServer((client) => {
    const upstream = connect({ host: hostname, port: Number(port) });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
      socket.setNoDelay(true);
    }
    pump(client, upstream, (piece) => proxy.toServer(piece));
    pump(upstream, client, (piece) => proxy.toClient(piece));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return proxy;
}

/** Passes data on in order, each piece through the gate, then the end. */
function pump(from: Socket, to: Socket, gate: Gate): void {
  let last = Promise.resolve();
  from.on("data", (piece: Buffer) => {
    last = last.then(() => gate(piece)).then(() => void (to.destroyed || to.write(piece)));
  });
  from.on("close", () => {
    last = last.then(() => void to.end());
  });
}

/** The same address, through the proxy. */
export const through = (url: string, { address }: Proxy): string => {
  const { host } = new URL(url);
  return url.replace(host, address);
};

/** A gate that holds everything until it is released; `reached` resolves when the first piece waits. */
export interface Hold {
  gate: Gate;
  reached: Promise<void>;
  release(): void;
}

export function aHold(): Hold {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  return {
    gate: async () => {
      reached.resolve();
      await released.promise;
    },
    reached: reached.promise,
    release: () => released.resolve(),
  };
}
