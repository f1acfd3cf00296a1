import type { Kysely } from "kysely";
import type { Ledger } from "./stats/rollups.ts";
import type { BulkSql } from "./bulk-sql.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

/** A transaction, and what it changes beside its own rows. */
export interface Change {
  tx: Db;
  /** The same transaction, for many rows at a time. */
  rows: BulkSql;
  ledger: Ledger;
}
