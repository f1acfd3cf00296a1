import { readFileSync } from "node:fs";
import type { Database } from "./database.ts";
import { withClauses } from "./schema-clauses.ts";

/** The end state: schema.sql, and beside it what this dialect alone needs. */
export function schemaSql(dialect: Database["dialect"]): string {
  const [common = "", own = ""] = ["schema.sql", `schema.${dialect}.sql`].map((file) =>
    readFileSync(new URL(`../../${file}`, import.meta.url), "utf8"),
  );
  return `${dialect === "sqlite" ? withClauses(common) : common}\n${own}`;
}
