/** B15: the place of the relay on PostgreSQL, for when it can run there. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { atLeast, verdict, type Bench } from "./bench.ts";
import { ROOT } from "./subjects/relay.ts";

export const postgres: Bench = {
  name: "postgres",
  goals: ["B15"],
  what: "PostgreSQL: batched against one insert a request, and one relay against three",
  run: async () => {
    const why = existsSync(join(ROOT, "src", "store", "postgres.ts"))
      ? "the bench for it is still to be written"
      : "the relay does not run on PostgreSQL yet";
    return {
      table: {},
      verdicts: [verdict("B15", "PostgreSQL, batched / one insert a request", null, atLeast(2), why)],
    };
  },
};
