/** B10: from the start of the process to the first answer; the relay's is a durable 200 to a signed webhook. */
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { readBodies, runId } from "./bodies.ts";
import { atMost, inRounds, ratio, verdict, type Bench, type Figures } from "./bench.ts";
import { KEY } from "./load.ts";
import { freePort, logIn, start, type Command } from "./process.ts";
import type { Place, Subject } from "./subject.ts";
import { bareNode } from "./subjects/node.ts";
import { relay, relayEnvironment, ROOT, startOf } from "./subjects/relay.ts";

/** Starts are short: so many of them in each round. */
const EACH_ROUND = 3;

export const coldStart: Bench = {
  name: "cold-start",
  goals: ["B10"],
  what: "from the start of the process to the first durable 200",
  run: async (options) => {
    const relays = [relay(), ...(options.other === undefined ? [] : [relay({ name: "other", root: options.other })])];
    const commands: Record<string, (place: Place, port: number) => Omit<Command, "logFile" | "port">> = {
      "bare-node": ({ folder }, port) => ({
        argv: [process.execPath, join(ROOT, "bench/servers/bare-node.ts")],
        cwd: folder,
        env: { PORT: `${port}` },
      }),
      relay: (place, port) => relayCommand(ROOT, place, port),
      other: (place, port) => relayCommand(options.other ?? ROOT, place, port),
    };
    const measure = async (subject: Subject, place: Place): Promise<Figures> => {
      const ms: number[] = [];
      for (let n = 0; n < EACH_ROUND; n++) {
        const command = commands[subject.name];
        if (command) ms.push(await startOnce(subject.name, place, (own, port) => command(own, port)));
      }
      return { ms: Math.min(...ms) };
    };
    const { table, notes } = await inRounds([bareNode, ...relays], options, measure);
    return {
      table,
      notes,
      verdicts: [
        verdict(
          "B10",
          "start to first durable 200 / empty node:http",
          ratio(table, "ms", "relay", "bare-node"),
          atMost(1.45),
        ),
      ],
    };
  },
};

function relayCommand(root: string, { folder, receiver }: Place, port: number): Omit<Command, "logFile" | "port"> {
  const env = relayEnvironment({ port, database: `sqlite:${join(folder, "relay.db")}`, receiver: receiver.url });
  return { argv: startOf(root), cwd: root, env };
}

/** Each time on an empty folder. */
async function startOnce(
  name: string,
  place: Place,
  commandAt: (place: Place, port: number) => Omit<Command, "logFile" | "port">,
): Promise<number> {
  const folder = mkdtempSync(join(place.folder, "start-"));
  const port = await freePort();
  const webhook = aWebhook(place, port);
  const command = commandAt({ ...place, folder }, port);
  const from = performance.now();
  const started = await start({ ...command, logFile: logIn(folder, name), port: () => port, lookMs: 1 }, webhook);
  const ms = performance.now() - from;
  await started.stop();
  rmSync(folder, { recursive: true, force: true });
  return ms;
}

/** Sends one signed webhook; whether it was answered with 200. */
function aWebhook(place: Place, port: number): () => Promise<boolean> {
  const body = (readBodies(place.bodies("skyvern"))[0] ?? "").replaceAll(`wr_${"@".repeat(18)}`, runId(1));
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "x-skyvern-signature": createHmac("sha256", KEY).update(body).digest("hex"),
  };
  const agent = new Agent({ keepAlive: false });
  return () =>
    new Promise((resolve) => {
      const sending = request(
        { host: "127.0.0.1", port, path: "/webhook", method: "POST", headers, agent },
        (response) => {
          response.resume();
          response.once("end", () => resolve(response.statusCode === 200));
        },
      );
      sending.once("error", () => resolve(false));
      sending.end(body);
    });
}
