import { readFileSync } from "node:fs";
import type { Dialect } from "../bulk-sql.ts";
import { withClauses } from "./clauses.ts";

/** The complete schema: schema.sql and what only this dialect needs. */
export function schemaSql(dialect: Dialect): string {
  const [common = "", own = ""] = ["schema.sql", `schema.${dialect}.sql`].map((file) =>
    readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8"),
  );
  return `${dialect === "sqlite" ? withClauses(common) : common}\n${own}`;
}
