/**
 * Reads the bodies of webhooks within limits: the bytes of all bodies together, and the slowest rate of each. A sender
 * that stops in the middle, or sends a byte now and then, must not use up the budget of the others.
 */
import type { IncomingMessage } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";

/** Why a body was not read. `over_budget` includes eviction in favour of others, because it had progressed least. */
export type Unread = "too_large" | "over_budget" | "too_slow" | "broken";

/** Skyvern gives up after 30 s. Within each of these windows a sender must send at least this much. */
const DEADLINE_MS = 30_000;
const WINDOW_MS = 5_000;
const LEAST_BYTES = 5 * 1024;
const CHECK_EVERY_MS = 1_000;

/** Bodies up to this size, which most are, may use the whole budget; larger ones leave them an eighth of it. */
const SMALL_BODY = 256 * 1024;
const FOR_LARGE = 7 / 8;
/** A piece of a few bytes takes this much memory. */
const PIECE_BYTES = 256;
/** A younger body is never evicted for others, because a genuine one is complete by then. */
const SETTLED_MS = 250;

interface Reading {
  startedAt: number;
  /** The bytes it counts for. */
  held: number;
  size: number;
  /** The start of the current rate window. */
  window: { at: number; size: number };
  evicted: Promise<Unread>;
  evict(why: Unread): void;
}

export class Bodies {
  readonly #limit: number;
  #used = 0;
  readonly #reading = new Set<Reading>();
  #checks: ReturnType<typeof setInterval> | undefined;

  /**
   * `limit` is in bytes for all bodies. They count as they arrive, because a request may never send what it declares.
   */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Reads the whole body, chunked or not, and hands it to `use`; its bytes count against the budget until that has
   * ended. Stops, and tells `use` why, as soon as the body exceeds `limit` bytes or does not fit into the budget.
   */
  async read<T>(c: Context, limit: number, use: (body: Buffer | Unread) => T | Promise<T>): Promise<T> {
    const reading = begin();
    this.#reading.add(reading);
    this.#checks ??= setInterval(() => this.#check(), CHECK_EVERY_MS);
    const body = await this.#pieces(c, limit, reading).catch((): Unread => "broken");
    this.#end(reading);
    try {
      return await use(body);
    } finally {
      this.#release(reading);
    }
  }

  async #pieces(c: Context, limit: number, reading: Reading): Promise<Buffer | Unread> {
    const pieces: Uint8Array[] = [];
    const take = (piece: Uint8Array): Unread | null => {
      reading.size += piece.length;
      if (reading.size > limit) return "too_large";
      if (!this.#take(reading, piece.length + PIECE_BYTES)) return "over_budget";
      pieces.push(piece);
      return null;
    };
    const { incoming } = (c.env ?? {}) as Partial<HttpBindings>;
    // Reads straight from Node's socket where there is one: the web stream takes several times the CPU.
    const read = incoming ? readSocket(incoming, take, reading) : readStream(c.req.raw.body, take, reading);
    const unread = await read;
    if (unread !== null) return unread;
    const [first] = pieces;
    return first && pieces.length === 1 ? toBuffer(first) : Buffer.concat(pieces, reading.size);
  }

  /**
   * Counts more bytes of a body, if need be in place of bodies that progressed least for their age. False when the
   * budget is used up.
   */
  #take(reading: Reading, bytes: number): boolean {
    while (!this.#fits(reading, bytes)) {
      const slowest = this.#slowest();
      if (slowest === null) return false;
      this.#evict(slowest, "over_budget");
      if (slowest === reading) return false;
    }
    reading.held += bytes;
    this.#used += bytes;
    return true;
  }

  #fits(reading: Reading, bytes: number): boolean {
    const others = this.#used - reading.held;
    const size = reading.held + bytes;
    // A single body always fits, whatever the limits.
    return others === 0 || others + size <= (size > SMALL_BODY ? this.#limit * FOR_LARGE : this.#limit);
  }

  #slowest(): Reading | null {
    const now = performance.now();
    let slowest: Reading | null = null;
    for (const one of this.#reading) {
      if (one.held === 0 || now - one.startedAt < SETTLED_MS) continue;
      if (slowest === null || rateOf(one, now) < rateOf(slowest, now)) slowest = one;
    }
    return slowest;
  }

  #check(): void {
    const now = performance.now();
    for (const one of this.#reading) {
      if (now - one.startedAt >= DEADLINE_MS) this.#evict(one, "too_slow");
      else if (now - one.window.at >= WINDOW_MS) {
        if (one.size - one.window.size < LEAST_BYTES) this.#evict(one, "too_slow");
        one.window = { at: now, size: one.size };
      }
    }
  }

  #evict(reading: Reading, why: Unread): void {
    this.#end(reading);
    this.#release(reading);
    reading.evict(why);
  }

  #end(reading: Reading): void {
    this.#reading.delete(reading);
    if (this.#reading.size > 0) return;
    clearInterval(this.#checks);
    this.#checks = undefined;
  }

  #release(reading: Reading): void {
    this.#used -= reading.held;
    reading.held = 0;
  }
}

function begin(): Reading {
  const { promise, resolve } = Promise.withResolvers<Unread>();
  const startedAt = performance.now();
  const window = { at: startedAt, size: 0 };
  return { startedAt, held: 0, size: 0, window, evicted: promise, evict: resolve };
}

const rateOf = ({ size, startedAt }: Reading, now: number): number => size / (now - startedAt);

const toBuffer = (piece: Uint8Array): Buffer =>
  Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.length);

type Take = (piece: Uint8Array) => Unread | null;

/** Leaves the connection open with the rest unread, because the answer is sent on it. */
const readSocket = (incoming: IncomingMessage, take: Take, { evicted }: Reading): Promise<Unread | null> =>
  new Promise((resolve) => {
    const end = (unread: Unread | null) => {
      incoming.off("data", onData).off("end", onEnd).off("close", onBroken);
      incoming.pause();
      resolve(unread);
    };
    const onData = (piece: Buffer) => {
      const unread = take(piece);
      if (unread !== null) end(unread);
    };
    const onEnd = () => end(null);
    const onBroken = () => end("broken");
    // The error listener stays, because an error may come when nobody reads any more.
    incoming.on("data", onData).on("end", onEnd).on("error", onBroken).on("close", onBroken);
    void evicted.then(end);
  });

async function readStream(
  body: ReadableStream<Uint8Array> | null,
  take: Take,
  { evicted }: Reading,
): Promise<Unread | null> {
  const reader = body?.getReader();
  if (!reader) return null;
  for (;;) {
    const next = await Promise.race([reader.read(), evicted]);
    if (typeof next !== "string" && next.done) return null;
    const unread = typeof next === "string" ? next : take(next.value);
    if (unread === null) continue;
    void reader.cancel().catch(() => {});
    return unread;
  }
}
