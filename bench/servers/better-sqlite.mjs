// better-sqlite3 as the program loads it that is started in this folder; null for one that has none, such as npm.
import { createRequire } from "node:module";
import { join } from "node:path";

export function loadBetterSqlite() {
  try {
    return createRequire(join(process.cwd(), "package.json"))("better-sqlite3");
  } catch {
    return null;
  }
}
