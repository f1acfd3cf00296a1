/** What is measured: a program that receives webhooks, and how to start it as its users do. */
import type { Target } from "./load.ts";
import type { Started } from "./process.ts";
import type { Receiver } from "./receiver.ts";

export interface Place {
  /** A fresh folder for this one start: database, configuration, log. */
  folder: string;
  /** Where it shall relay to, and Skyvern's API. */
  receiver: Receiver;
  /** The load client's file of bodies in one shape. */
  bodies(shape: "skyvern" | "alertmanager"): string;
}

export interface Running extends Started {
  target: Target;
  /** The number of the first body that it has not seen; 0 unless told. */
  firstSeq?: number;
  /** Event-loop delay since the last call, ms; null for programs that are not Node. */
  loopDelay(): Promise<{ p50: number; p99: number; max: number } | null>;
  /** Processes of its own beside the one that listens, such as a database server. */
  beside?: readonly number[];
  /** What it has written so far in the store's own units, as far as that can be counted. */
  written?(): Written;
  /** After it was stopped: what its database holds. */
  kept?(): Kept;
  /** Whether what it puts off until there is room is done. */
  isSettled?(): boolean;
  /** After it was stopped: what it holds on disk. Throws when it is not what was accepted. */
  stored?(accepted: number): Stored;
}

export interface Written {
  /** Rows inserted, updated and deleted. */
  rows?: number;
  /** Transactions that wrote. */
  commits?: number;
}

export interface Kept {
  /** Of the database's files, bytes. */
  bytes: number;
  /** Rows of each table. */
  rows: Record<string, number>;
}

export interface Stored {
  runs: number;
  /** Of the database with its indexes, bytes. */
  bytes: number;
  /** Of it not used at the moment, bytes. */
  unused: number;
  /** Of the bodies as they came, bytes. */
  bodyBytes: number;
  /** Of each table and index, bytes, the largest first. */
  parts: Record<string, number>;
}

export interface Subject {
  name: string;
  /** Whether it relays what it receives. */
  delivers: boolean;
  start(place: Place): Promise<Running>;
  /** Why it cannot be measured here, or null. May install it. */
  unavailable?(): string | null;
}
