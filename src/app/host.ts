/** What an app needs of its host. */
import type { createCopies, createArchive } from "../archive/archive.ts";
import type { BlobStore } from "../archive/blob-store.ts";
import type { Config } from "../config/config.ts";
import type { AddressOf } from "../http/auth.ts";
import type { DiskSpace } from "./disk-watch.ts";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { HttpClient, Outbound, Permit } from "../net/http-client.ts";
import type { ReadApart } from "../receive/intake.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Fleet } from "../store/postgres/fleet.ts";
import type { Store } from "../store/store.ts";
import type { AssetTexts } from "../web/assets/assets.ts";

/** What the host gives to an app. Its outgoing requests are guarded. */
export interface AppHost extends Outbound {
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
  store: Store;
  /**
   * The other relays on the same database; null where there can be none. In a fleet the runtime uses the database's
   * clock.
   */
  fleet: Fleet | null;
  /**
   * Also reaches private addresses that the operator named: heartbeat and collector. Nothing from a payload may choose
   * its target.
   */
  operatorRequest: HttpClient;
  /** Whether `fetch` would go to an address that a reader is about to be sent to. */
  permit: Permit;
  /** How and where artifacts are archived; null when they are not. */
  archiving: { blobs: BlobStore; copiesOf: typeof createCopies; createArchive: typeof createArchive } | null;
  /** The disk of the database; null when the database has none of its own. */
  diskSpace: (() => Promise<DiskSpace>) | null;
  /** Reads large bodies in a thread of their own; null where there are no threads. */
  readApart: ReadApart | null;
  /** The files that pages load. */
  assets: AssetTexts;
  addressOf: AddressOf;
  /**
   * The base of links in messages, without a trailing slash. It is a function, because a port may be chosen only at the
   * start.
   */
  publicUrl(): string;
  /** What is wrong with the database's file, or null; the relay is not ready then. */
  damage(): string | null;
  /** True once the relay is shutting down: webhooks are answered 503. */
  isStopping(): boolean;
  /** Wakes the worker after deliveries were queued. */
  nudge(): void;
  /**
   * The keys that verify webhooks now: of the configuration in force, also for bodies that an app before began to read.
   */
  keys(): Config["keys"];
}
