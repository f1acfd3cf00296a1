/** What many webhooks a second would need, reckoned from what one cost here. Pure. */

/** For each run. CPU in microseconds. */
export interface Cost {
  relayUs: number;
  postgresUs: number;
  walBytes: number;
  diskBytes: number;
  inserted: number;
  /** Rows updated or deleted: each leaves one behind that autovacuum takes away. */
  dead: number;
  /** ms in the server for one transaction's roll-ups. */
  rollupMs: number;
}

export interface Paper {
  rate: number;
  /** Storing alone, and storing and delivering once. */
  stored: Cost;
  delivered: Cost;
  /** ms for one flush of the log. */
  flushMs: number;
}

/** Of a core that a relay may be busy, so that a burst finds room. */
const USE = 0.7;
const CONNECTIONS = 11;
const BATCH = 200;
const DAY = 86_400;

/** Rows of a table: what, how much, by what. */
export function paper({ rate, stored, delivered, flushMs }: Paper): string[][] {
  const cores = (us: number) => (rate * us) / 1e6;
  const relays = Math.ceil(cores(delivered.relayUs) / USE);
  const batches = rate / BATCH;
  // A record of deliveries takes the lock of the roll-ups too, in groups about as large.
  const lockMs = 2 * batches * (delivered.rollupMs + flushMs);
  return [
    [
      "relays",
      `${relays}`,
      `${cores(stored.relayUs).toFixed(1)} cores to receive, ${cores(delivered.relayUs).toFixed(1)} with one delivery each; a relay is one thread, ${USE * 100} % of it in use`,
    ],
    [
      "cores of PostgreSQL",
      cores(delivered.postgresUs).toFixed(1),
      `${cores(stored.postgresUs).toFixed(1)} of them to receive`,
    ],
    ["connections", `${relays * CONNECTIONS}`, `${CONNECTIONS} a relay: set \`max_connections\` above it; no pooler`],
    [
      "the lock of the roll-ups",
      `${(lockMs / 10).toFixed(0)} %`,
      `in batches of ${BATCH}: ${(2 * batches).toFixed(0)} a second, ${delivered.rollupMs.toFixed(1)} ms of statements and ${flushMs.toFixed(1)} ms for a flush each`,
    ],
    [
      "log (WAL)",
      `${mega(rate * delivered.walBytes)} MB/s`,
      `${mega(rate * delivered.walBytes * DAY, 1e12)} TB a day; ${mega(delivered.walBytes, 1e3)} kB a run. A local NVMe, \`max_wal_size\` for some minutes of it, \`wal_compression\``,
    ],
    [
      "disk before retention",
      `${mega(rate * delivered.diskBytes * DAY, 1e12)} TB a day`,
      `${mega(delivered.diskBytes, 1e3)} kB a run: keep raw bodies for hours, not days`,
    ],
    [
      "rows",
      `${mega(rate * delivered.inserted, 1e3)} thousand a second`,
      `${mega(rate * DAY, 1e6)} million runs a day: \`retention.runs\` of days, as there are no partitions`,
    ],
    [
      "autovacuum",
      `${mega(rate * delivered.dead, 1e3)} thousand rows a second`,
      `${delivered.dead.toFixed(1)} rows left behind a run by updates and deletes: \`autovacuum_vacuum_cost_limit\` of some thousand and a lower \`autovacuum_vacuum_scale_factor\` on \`deliveries\``,
    ],
  ];
}

const mega = (value: number, unit = 1e6): string => Number((value / unit).toPrecision(2)).toLocaleString("en-US");
