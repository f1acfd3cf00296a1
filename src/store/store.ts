/**
 * The Store: named atomic operations, in slices by who needs them. Each operation is all or nothing and durable when it
 * resolves. None hands out a transaction, so nobody can wait for the network inside one. Every write rejects with a
 * StorageFault when the storage fails, and then nothing is half-done.
 *
 * A consumer takes the slice that it needs; only the composition and the commands hold the whole.
 */
import type { ArchiveStore } from "./contract/archive.ts";
import type { DeliveryStore } from "./contract/deliveries.ts";
import type { OutboxStore } from "./contract/outbox.ts";
import type { ReceiptStore } from "./contract/receipts.ts";
import type { ReconcileStore } from "./contract/reconcile.ts";
import type { RetentionStore } from "./contract/retention.ts";
import type { RunStore } from "./contract/runs.ts";
import type { StatsStore } from "./contract/stats.ts";
import type { UpkeepStore } from "./contract/upkeep.ts";

export interface Store
  extends
    ReceiptStore,
    RunStore,
    OutboxStore,
    DeliveryStore,
    ReconcileStore,
    StatsStore,
    ArchiveStore,
    UpkeepStore,
    RetentionStore {}
