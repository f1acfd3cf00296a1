/**
 * The Worker and its object as they are deployed, but many of them side by side, with the clock of the tests and no
 * alarms.
 */
import { DurableObject, type Namespace } from "cloudflare:workers";
import { createFront } from "../../../src/edge/front.ts";
import { begin, type Life } from "../../../src/edge/object.ts";
import type { Bindings } from "../../../src/edge/settings.ts";
import type { Store } from "../../../src/store/store.ts";
import { aRuntime } from "../../support/runtime.ts";

export class Relay extends DurableObject<object> {
  #life: Promise<Life> | null = null;
  readonly #runtime = aRuntime();

  setClock(now: number): void {
    this.#runtime.advance(now - this.#runtime.now());
  }

  async open(env: Bindings): Promise<string | null> {
    const { storage } = this.ctx;
    const { sql } = storage;
    this.#life = begin(
      {
        sql,
        transaction: (work) => storage.transaction(work),
        get: (key) => storage.get(key),
        put: (key, value) => storage.put(key, value),
        getAlarm: async () => null,
        setAlarm: async () => {},
        deleteAll: () => storage.deleteAll(),
        sync: () => storage.sync(),
      },
      env,
      this.#runtime,
    );
    return this.#life.then(
      () => null,
      (error: unknown) => String(error),
    );
  }

  async fetch(request: Request): Promise<Response> {
    return (await this.life()).app.fetch(request);
  }

  async receive(incoming: Parameters<Life["receive"]>[0]) {
    return (await this.life()).receive(incoming);
  }

  async act(what: "deliverDue" | "reconcile" | "followUp") {
    const { app } = await this.life();
    return (await app[what]()) ?? null;
  }

  async store(method: keyof Store, given: unknown[]): Promise<unknown> {
    const { store } = (await this.life()).app;
    return (await (store[method] as (...all: unknown[]) => Promise<unknown>)(...given)) ?? null;
  }

  life(): Promise<Life> {
    if (this.#life === null) throw new Error("it was not opened");
    return this.#life;
  }
}

const fronts = new Map<string, ReturnType<typeof createFront>>();

export default {
  async fetch(request: Request, { RELAY }: { RELAY: Namespace<Relay> }): Promise<Response> {
    const name = request.headers.get("x-test-relay") ?? "";
    const object = RELAY.getByName(name);
    const now = request.headers.get("x-test-now");
    if (now !== null) await object.setClock(Number(now));
    const act = request.headers.get("x-test-act");
    if (act === "open") {
      const env = (await request.json()) as Bindings;
      fronts.set(name, createFront({ ...env, RELAY: { getByName: () => RELAY.getByName(name) as never } }));
      return Response.json(await object.open(env));
    }
    if (act?.startsWith("store.")) {
      return Response.json(await object.store(act.slice(6) as keyof Store, (await request.json()) as unknown[]));
    }
    if (act !== null) return Response.json(await object.act(act as "deliverDue"));
    const front = fronts.get(name);
    // The front forwards by the same name.
    return front?.fetch(request) ?? new Response("no such relay", { status: 500 });
  },
} satisfies { fetch(request: Request, env: { RELAY: Namespace<Relay> }): Promise<Response> };
