/** Few and small values by name. */
import type { Kysely } from "kysely";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

/** Read first: what is there can be had from a database that must not be written. */
export async function setting(db: Db, name: string, initial: string): Promise<string> {
  const known = await db.selectFrom("settings").select("value").where("name", "=", name).executeTakeFirst();
  if (known) return known.value;
  await db
    .insertInto("settings")
    .values({ name, value: initial })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await db.selectFrom("settings").select("value").where("name", "=", name).executeTakeFirstOrThrow();
  return row.value;
}

export const saveSetting = (db: Db, name: string, value: string) =>
  db
    .insertInto("settings")
    .values({ name, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
