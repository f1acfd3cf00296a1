/** What limits a load, by what was seen while it was on. Pure. */
import type { Watched } from "./watch.ts";

export interface Loaded extends Pick<Watched, "cores" | "sessions"> {
  /** Webhooks a second. */
  offered: number;
  done: number;
  /** Of the load clients and the receiver. */
  clientCores: number;
  /** Of the machine. */
  coresHere: number;
}

/** Of what was offered; the rest is how a second is cut. */
const ALL = 0.97;
/** Of a core or of all: beyond it there is no room. */
const FULL = 0.92;

/** Names one limit, with the figure it is named by. */
export function limitOf({ offered, done, cores, clientCores, coresHere, sessions }: Loaded): string {
  if (done >= ALL * offered) return "none: all that was offered";
  if (cores.machine >= FULL * coresHere) {
    const rest = Math.max(0, cores.machine - cores.relays - cores.postgres - clientCores);
    const users = Object.entries({
      relays: cores.relays,
      PostgreSQL: cores.postgres,
      clients: clientCores,
      others: rest,
    });
    const shares = users.toSorted(([, a], [, b]) => b - a).map(([who, share]) => `${who} ${share.toFixed(2)}`);
    return `CPU: ${cores.machine.toFixed(2)} of ${coresHere} cores (${shares.join(", ")})`;
  }
  if (cores.thread >= FULL) return `a relay's one thread: ${cores.thread.toFixed(2)} of a core`;
  const [most] = Object.entries(sessions).toSorted(([, a], [, b]) => b - a);
  if (most === undefined) return "unknown: no session was seen at work";
  const all = Object.values(sessions).reduce((sum, n) => sum + n, 0);
  return `${NAMES[most[0]] ?? `waiting for ${most[0]}`}: ${Math.round((100 * most[1]) / all)} % of the sessions' time`;
}

const NAMES: Record<string, string> = {
  relay: "round trips, PostgreSQL waiting for a relay",
  cpu: "statements, one after the other",
  "Lock:advisory": "the lock of the roll-ups",
  "IO:WalSync": "flushes of the log",
  "IO:WALSync": "flushes of the log",
  "LWLock:WALWrite": "flushes of the log",
};
