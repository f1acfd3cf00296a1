/** `skyvern-relay demo`. */
import { InvalidArgumentError } from "commander";
import { runDemo } from "../demo/demo.ts";
import type { AddCommand } from "./command.ts";

export const addDemo: AddCommand = ({ command, ends, shell }) =>
  command("demo", "run everything on this machine, against stand-ins for Skyvern, Slack, mail and HTTP")
    .option("--once", "exit when every sample was delivered (0) or not (1)")
    .option("--port <port>", "the relay's port; default: 8080, with --once any free one", toPort)
    .action(
      ends(({ once = false, port = once ? 0 : 8080 }: { once?: boolean; port?: number }) =>
        runDemo({ once, port, shell }),
      ),
    );

function toPort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
}
