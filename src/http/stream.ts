/** Answers that are written piece by piece as fast as the other side reads: server-sent events, exports. */

/**
 * A body that yields `pieces` when the reader can take more. When the reader leaves, or `signal` aborts, the signal
 * that `pieces` got aborts too and nothing more is requested from it.
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
    // Nothing is buffered ahead of the reader.
    { highWaterMark: 0 },
  );
}

/**
 * Limits the streams that are open at one time. A stream counts once it is read: a HEAD, or a client that left at once,
 * never gets there.
 */
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
