/** Answers that are written piece by piece, as fast as the other side reads: server-sent events, exports. */

/**
 * The body of an answer: what `pieces` yields, asked for when the reader has room. When the reader goes away, or `signal`
 * aborts, the signal that `pieces` got does too and nothing more is asked of it.
 */
export function toStream(
  pieces: (signal: AbortSignal) => AsyncGenerator<string, void>,
  signal: AbortSignal,
): ReadableStream<Uint8Array> {
  const gone = new AbortController();
  const iterator = pieces(AbortSignal.any([gone.signal, signal]));
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await iterator.next();
        if (done === true) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel: async () => {
        gone.abort();
        await iterator.return();
      },
    },
    // Nothing is read ahead of its reader.
    { highWaterMark: 0 },
  );
}

/** Streams that may be open at one time. A stream counts once it is read: a HEAD, or a client that went at once, never gets so far. */
export class StreamPlaces {
  readonly #max: number;
  #open = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#open >= this.#max;
  }

  async *take<T>(pieces: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
    this.#open += 1;
    try {
      yield* pieces;
    } finally {
      this.#open -= 1;
    }
  }
}
