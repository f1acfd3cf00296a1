/** A few small values by name. */
import type { Db } from "./tables.ts";

/** The value stored under a name; null when there is none. */
export async function setting(db: Db, name: string): Promise<string | null> {
  const known = await db.selectFrom("settings").select("value").where("name", "=", name).executeTakeFirst();
  return known?.value ?? null;
}

/** Stores the value unless there is one, within the transaction. Returns the stored value. */
export async function initializeSetting(tx: Db, name: string, initial: string): Promise<string> {
  await tx
    .insertInto("settings")
    .values({ name, value: initial })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  return (await setting(tx, name)) ?? initial;
}

export async function saveSetting(tx: Db, name: string, value: string): Promise<void> {
  await tx
    .insertInto("settings")
    .values({ name, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
}
