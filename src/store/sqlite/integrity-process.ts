/**
 * `node integrity-process.ts <path>`: reads a whole SQLite file, in its own time, and prints what is wrong as a JSON
 * list.
 */
import { setPriority } from "node:os";
import Sqlite from "better-sqlite3";
import { findDamage } from "./integrity.ts";

setPriority(19);
const sqlite = new Sqlite(process.argv[2] ?? "", { readonly: true, fileMustExist: true });
process.stdout.write(JSON.stringify(findDamage(sqlite)));
