import { readFileSync } from "node:fs";
import type { Database } from "./database.ts";

/** The end state: schema.sql, and beside it what this dialect alone needs. */
export const schemaSql = (dialect: Database["dialect"]): string =>
  ["schema.sql", `schema.${dialect}.sql`]
    .map((file) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8"))
    .join("\n");
