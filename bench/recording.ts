/** `bench/archive` under the roof of the others: what archiving a large recording costs while webhooks come in. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Bench } from "./bench.ts";
import { ROOT } from "./subjects/relay.ts";

const MEGABYTES = 500;

export const recording: Bench = {
  name: "archive",
  goals: [],
  what: "what archiving a large recording costs while webhooks come in",
  run: async () => {
    const program = join(ROOT, "bench", "archive.ts");
    const said = execFileSync(process.execPath, [program, `${MEGABYTES}`], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    return { table: {}, verdicts: [], notes: said.trimEnd().split("\n") };
  },
};
