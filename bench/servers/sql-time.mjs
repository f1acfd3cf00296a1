// Imported before the relay: how often each SQL statement was prepared and run, and how long that took. Written to
// BENCH_SQL_FILE at exit.
import { writeFileSync } from "node:fs";
import { isMainThread, threadId } from "node:worker_threads";
import { loadBetterSqlite } from "./better-sqlite.mjs";

const file = process.env.BENCH_SQL_FILE;
const Database = file ? loadBetterSqlite() : null;
if (Database) {
  const seen = new Map();
  const of = (sql) => {
    const name = sql.replace(/\s+/g, " ").slice(0, 200);
    let entry = seen.get(name);
    if (!entry) seen.set(name, (entry = { sql: name, prepared: 0, prepareMs: 0, runs: 0, runMs: 0 }));
    return entry;
  };
  const { prepare, exec } = Database.prototype;
  Database.prototype.prepare = function (sql) {
    const entry = of(sql);
    const from = performance.now();
    const statement = prepare.call(this, sql);
    entry.prepareMs += performance.now() - from;
    entry.prepared++;
    for (const method of ["run", "get", "all"]) {
      const original = statement[method];
      statement[method] = function (...args) {
        const from = performance.now();
        try {
          return original.apply(this, args);
        } finally {
          entry.runMs += performance.now() - from;
          entry.runs++;
        }
      };
    }
    return statement;
  };
  Database.prototype.exec = function (sql) {
    const from = performance.now();
    try {
      return exec.call(this, sql);
    } finally {
      const entry = of(sql);
      entry.runMs += performance.now() - from;
      entry.runs++;
    }
  };
  process.on("exit", () =>
    writeFileSync(`${file}.${isMainThread ? "main" : threadId}`, JSON.stringify([...seen.values()])),
  );
}
