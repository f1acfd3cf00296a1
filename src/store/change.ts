import type { Ledger } from "./stats/rollups.ts";
import type { BulkSql } from "./bulk-sql.ts";
import type { Db } from "./tables.ts";

/** A write transaction, with the roll-ups and index entries that it owes at its end. */
export interface WriteTransaction {
  tx: Db;
  /** The same transaction, for many rows at a time. */
  rows: BulkSql;
  ledger: Ledger;
}
