/** New deliveries that are claimed by the transaction that makes them, as a relay is ready to begin them. */
import type { Selectable } from "kysely";
import type { ArtifactsStatus } from "../run.ts";
import { deliveryOf } from "./rows.ts";
import type { ClaimedRow, Known, Room } from "./store.ts";
import type { Tables } from "./tables.ts";

type DeliveryRow = Selectable<Tables["deliveries"]>;

/**
 * Makes claimed ones of those for which there is room: first results, beside which nothing of their run waits for the sink. Returns them.
 * `deliveriesOf`: all of a run, these among them.
 */
export function claimAtOnce(
  fresh: readonly DeliveryRow[],
  deliveriesOf: (runId: string) => Known["deliveries"],
  { bySink, leaseMs }: Room,
): DeliveryRow[] {
  const free = new Map(bySink);
  return fresh.filter((row) => {
    const room = free.get(row.sink) ?? 0;
    if (room === 0 || row.cause !== "result") return false;
    const waiting = deliveriesOf(row.run_id).filter(({ sink, state }) => sink === row.sink && WAITING.has(state));
    // Not it alone: something was told before. Not it at all: it was canceled by what came right after.
    if (waiting.length !== 1 || waiting[0]?.id !== row.id) return false;
    free.set(row.sink, room - 1);
    Object.assign(row, { state: "sending", attempts: 1, next_attempt_at: row.created_at + leaseMs });
    return true;
  });
}

const WAITING = new Set<string>(["pending", "sending"]);

/** The claim of a delivery that was just made, of a first result. */
export const firstClaim = (row: DeliveryRow, state: string, artifactsStatus: ArtifactsStatus): ClaimedRow => ({
  delivery: deliveryOf(row),
  maybeSent: false,
  throttled: 0,
  cutShort: 0,
  firstTriedAt: null,
  state,
  artifactsStatus,
  previous: null,
});
