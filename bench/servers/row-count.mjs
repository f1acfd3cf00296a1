// Imported before a program: how many rows SQLite has written on all of its connections, as `total_changes()` counts
// them, with the rows of triggers and of the tables inside a full-text index. Every thread writes its sum to a file of
// its own beside BENCH_ROWS_FILE.
import { writeFileSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { loadBetterSqlite } from "./better-sqlite.mjs";

const WRITE_MS = 100;
const file = process.env.BENCH_ROWS_FILE;
const Database = file ? loadBetterSqlite() : null;
if (Database) {
  const connections = new Map();
  const { prepare } = Database.prototype;
  Database.prototype.prepare = function (sql) {
    if (!connections.has(this)) {
      connections.set(this, { total: prepare.call(this, "SELECT total_changes()").pluck(), rows: 0 });
    }
    return prepare.call(this, sql);
  };
  let written = -1;
  setInterval(() => {
    let sum = 0;
    for (const connection of connections.values()) {
      try {
        connection.rows = connection.total.get();
      } catch {
        // The connection is closed, and its last sum stays.
      }
      sum += connection.rows;
    }
    if (connections.size === 0 || sum === written) return;
    written = sum;
    writeFileSync(`${file}.${process.pid}.${threadId}`, `${sum}`);
  }, WRITE_MS).unref();
}
