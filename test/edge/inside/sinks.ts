/** Sinks inside workerd, made as the relay makes them there: each delivery is a request. */
import { DurableObject, type Namespace } from "cloudflare:workers";
import { viaFetch } from "../../../src/net/http-client.ts";
import { edgeFetch } from "../../../src/edge/egress.ts";
import type { Log } from "../../../src/platform/log.ts";
import type { Outcome } from "../../../src/domain/run.ts";
import { findKind } from "../../../src/sinks/kinds.ts";
import type { Job, Sink } from "../../../src/sinks/sink.ts";
import { NOW } from "../../sinks/a-report.ts";
import type { Kind } from "../../sinks/maker.ts";

export interface Order {
  sink: number;
  call: number;
  kind: Kind;
  config: Record<string, unknown>;
  job: Job;
  /** The name of what the signal was aborted with before the call, or null. */
  aborted: string | null;
}

export interface Done {
  outcome: Outcome;
  lines: unknown[];
}

export class Relay extends DurableObject<object> {
  readonly #sinks = new Map<number, Sink>();
  readonly #calls = new Map<number, AbortController>();
  readonly #lines: unknown[] = [];

  async fetch(request: Request): Promise<Response> {
    const given = (await request.json()) as Order;
    if (!request.url.endsWith("/abort")) return Response.json(await this.deliver(given));
    this.abort(given.call, given.aborted ?? "AbortError");
    return Response.json(null);
  }

  async deliver({ sink, call, kind, config, job, aborted }: Order): Promise<Done> {
    const controller = new AbortController();
    this.#calls.set(call, controller);
    if (aborted !== null) this.abort(call, aborted);
    const outcome = await this.#sink(sink, kind, config).deliver(job, controller.signal);
    return { outcome, lines: this.#lines.splice(0) };
  }

  abort(call: number, name: string): void {
    this.#calls.get(call)?.abort(new DOMException("aborted by the test", name));
  }

  #sink(id: number, kind: Kind, config: Record<string, unknown>): Sink {
    const known = this.#sinks.get(id);
    if (known) return known;
    const keep = (...line: unknown[]) => void this.#lines.push(line);
    const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
    const { create, config: schema } = findKind(kind);
    const fetch = edgeFetch({ allow: ["127.0.0.1"], trusted: [] });
    const sink = create("it", schema.parse(config), { fetch, request: viaFetch(fetch), now: () => NOW, log });
    this.#sinks.set(id, sink);
    return sink;
  }
}

export default {
  // Not by a call of a method: a report may be larger than those may be.
  fetch: (request: Request, { RELAY }: { RELAY: Namespace<Relay> }): Promise<Response> =>
    RELAY.getByName("sinks").fetch(request),
};
