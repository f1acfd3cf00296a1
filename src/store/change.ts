import type { Ledger } from "./stats/rollups.ts";
import type { BulkSql } from "./bulk-sql.ts";
import type { Db } from "./tables.ts";

/** A transaction, and what it changes beside its own rows. */
export interface WriteTransaction {
  tx: Db;
  /** The same transaction, for many rows at a time. */
  rows: BulkSql;
  ledger: Ledger;
}
