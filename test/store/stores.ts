import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { createSqlStore } from "../../src/store/sql.ts";
import type { Store } from "../../src/store/store.ts";

/** Every Store there is, empty: a suite that promises something runs on each. */
export const stores: Record<string, () => Promise<Store>> = {
  sqlite: async () => {
    const database = openSqlite(":memory:", { exclusive: true });
    await migrate(database);
    return createSqlStore(database);
  },
};
