/** Answers that are written piece by piece as fast as the other side reads: server-sent events, exports, artifacts. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { ArtifactKey } from "../domain/run.ts";
import type { Log } from "../platform/log.ts";

/** The headers of server-sent events. */
export const EVENT_STREAM = {
  "content-type": "text/event-stream",
  // The connection closes with the stream, so that a stopping relay need not wait for it.
  connection: "close",
  // nginx would otherwise buffer the events.
  "x-accel-buffering": "no",
};

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
 * An answer with an artifact's bytes as they come. When they break off, the log says so, and the reader's connection
 * ends, so that a part is not taken for the whole. The server itself would write the error behind the part, and its
 * trace to standard error. A HEAD request reads no stream, and an unread stream would hold its connection.
 */
export async function passOn(c: Context, answer: Response, { log, ...ids }: PassedOn): Promise<Response> {
  if (answer.body === null) return answer;
  const { status, headers } = answer;
  if (c.req.raw.method === "HEAD") {
    await answer.body.cancel().catch(() => {});
    return new Response(null, { status, headers });
  }
  const reader = answer.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        // A reader who leaves ends the reading, too.
        if (!c.req.raw.signal.aborted) log.warn("artifact.broke_off", { ...ids, error: String(error) });
        const { outgoing } = (c.env ?? {}) as Partial<HttpBindings>;
        if (outgoing === undefined) throw error;
        outgoing.destroy();
        controller.close();
      }
    },
    // What broke off cannot be canceled.
    cancel: (reason) => reader.cancel(reason).catch(() => {}),
  });
  return new Response(body, { status, headers });
}

interface PassedOn {
  log: Pick<Log, "warn">;
  run_id: string;
  artifact: ArtifactKey;
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
