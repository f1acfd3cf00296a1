import { createServer } from "node:net";

/** Systems give the ports from 32768 on to connections and to servers that ask for any. */
const [FROM, BELOW] = [10_000, 30_000];

/** A port of 127.0.0.1 on which nobody listens, and which nobody is given unasked, however long it stays unused. */
export async function aFreePort(): Promise<number> {
  for (;;) {
    const port = FROM + Math.floor(Math.random() * (BELOW - FROM));
    if (await isFree(port)) return port;
  }
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
