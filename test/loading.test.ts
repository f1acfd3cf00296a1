/** Code that is loaded when it is first wanted: what fails once, as every file is open, is tried again. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { loadedSink, type Job } from "../src/sinks/sink.ts";

it("a sink whose code could not be loaded is loaded for the next attempt", async () => {
  let failures = 1;
  const outcome = { kind: "delivered", receipt: {} } as const;
  const sink = loadedSink({ name: "ops", kind: "test" }, async () => {
    if (failures-- > 0) throw new Error("EMFILE: too many open files");
    return { deliver: async () => outcome };
  });
  await sink.ready;
  expect(await sink.deliver({} as Job, new AbortController().signal)).toBe(outcome);
});

/** In a process of its own, in which no more files can be opened until `free()` is called. */
const WITHOUT_FILES = `
  import { closeSync, openSync } from "node:fs";
  import { createServer as plain } from "node:http";
  import { createEgress } from "${new URL("../src/egress.ts", import.meta.url).href}";
  import { createServer } from "${new URL("../src/node.ts", import.meta.url).href}";
  const listening = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
  const said = (text) => process.stdout.write(text + "\\n");
  const open = [];
  const fill = () => { try { for (;;) open.push(openSync("/dev/null")); } catch {} };
  const free = () => { for (const file of open.splice(0)) closeSync(file); };

  const egress = createEgress({ allow: ["127.0.0.0/8"] });
  const there = plain((_, answer) => answer.end("here"));
  const url = new URL("http://127.0.0.1:" + (await listening(there)));
  const ask = () => egress.ask(url, { method: "GET", headers: {}, signal: AbortSignal.timeout(5000), maxBytes: 99 });
  fill();
  said("ask: " + (await ask().then(() => "answered", () => "failed")));
  free();
  said("ask: " + (await ask().then(({ body }) => body.toString(), String)));

  const server = createServer({ fetch: () => new Response("pages") });
  const handle = (first) => new Promise((resolve) => {
    const answer = { destroy: () => resolve("destroyed") };
    server.emit("request", { httpVersion: "1.1", headers: {} }, answer);
  });
  fill();
  said("page: " + (await handle()));
  free();
  const port = await listening(server);
  said("page: " + (await fetch("http://127.0.0.1:" + port).then((answer) => answer.text(), String)));
  await egress.close();
  process.exit(0);
`;

it("what goes out and what is asked for works again once there are files to open", async () => {
  const { stdout } = await promisify(execFile)("sh", [
    "-c",
    'ulimit -n 256; exec "$0" --input-type=module -e "$1"',
    process.execPath,
    WITHOUT_FILES,
  ]);
  expect(stdout.trim().split("\n")).toEqual(["ask: failed", "ask: here", "page: destroyed", "page: pages"]);
});
