import { onTestFinished } from "vitest";
import { TOKEN } from "./app.ts";

export interface StreamEvent {
  id: string;
  event: string;
  data: unknown;
}

export interface EventStream {
  status: number;
  headers: Headers;
  /** What `Last-Event-ID` would be now, as the standard says: also an id without data counts. */
  lastEventId: string;
  /** Comments so far. */
  comments: string[];
  /** The next event; rejects when the stream ends before. */
  next(): Promise<StreamEvent>;
  /** The next event if it has come already. */
  taken(): StreamEvent | undefined;
  /** The next so many. */
  take(count: number): Promise<StreamEvent[]>;
  /** Hangs up. */
  close(): void;
  /** Resolves when the relay ended it. */
  ended: Promise<void>;
}

/**
 * A client of server-sent events, as the HTML standard describes it:
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export async function anEventStream(
  url: string,
  { lastEventId, headers = {} }: { lastEventId?: string; headers?: Record<string, string> } = {},
): Promise<EventStream> {
  const gone = new AbortController();
  onTestFinished(() => gone.abort());
  const response = await fetch(url, {
    signal: gone.signal,
    headers: {
      authorization: `Bearer ${TOKEN}`,
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
      ...headers,
    },
  });
  const events: StreamEvent[] = [];
  let isOver = false;
  let wake = () => {};
  let idBuffer = lastEventId ?? "";
  const stream: EventStream = {
    status: response.status,
    headers: response.headers,
    lastEventId: idBuffer,
    comments: [],
    next: async () => {
      for (;;) {
        const event = events.shift();
        if (event) return event;
        if (isOver) throw new Error("the stream ended");
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    taken: () => events.shift(),
    take: async (count) => {
      const taken: StreamEvent[] = [];
      while (taken.length < count) taken.push(await stream.next());
      return taken;
    },
    close: () => gone.abort(),
    ended: Promise.resolve(),
  };
  const dispatch = (block: string): void => {
    let event = "message";
    const data: string[] = [];
    for (const text of block.split("\n")) {
      if (text.startsWith(":")) stream.comments.push(text.slice(1).trim());
      const [, field, value = ""] = /^([^:]+)(?:: ?(.*))?$/s.exec(text) ?? [];
      if (field === "event") event = value;
      else if (field === "data") data.push(value);
      else if (field === "id") idBuffer = value;
    }
    stream.lastEventId = idBuffer;
    if (data.length > 0) events.push({ id: idBuffer, event, data: JSON.parse(data.join("\n")) });
  };
  const read = async (): Promise<void> => {
    let text = "";
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          dispatch(text.slice(0, end));
          text = text.slice(end + 2);
        }
        wake();
      }
    } catch {
      // Hung up.
    }
    isOver = true;
    wake();
  };
  stream.ended = read();
  return stream;
}
