/** Code that is loaded when it is first wanted: what fails once, as every file is open, is tried again. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";

/** In a process of its own, in which no more files can be opened until `free()` is called. */
const WITHOUT_FILES = `
  import { closeSync, openSync } from "node:fs";
  import { createServer as plain } from "node:http";
  import { createEgress } from "${new URL("../src/egress.ts", import.meta.url).href}";
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

  await egress.close();
  process.exit(0);
`;

it("what goes out works again once there are files to open", async () => {
  const { stdout } = await promisify(execFile)("sh", [
    "-c",
    'ulimit -n 256; exec "$0" --input-type=module -e "$1"',
    process.execPath,
    WITHOUT_FILES,
  ]);
  expect(stdout.trim().split("\n")).toEqual(["ask: failed", "ask: here"]);
});
