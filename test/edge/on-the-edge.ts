import { afterAll } from "vitest";
import type { App } from "../../src/app/app.ts";
import { startWorkerd, type Workerd } from "../../scripts/edge/workerd.ts";
import { useHost, type OpenApp } from "../support/app.ts";
import { aFolderUntil, bundleInside, inside } from "./support.ts";

/** Of a machine with a disk and a listener. */
const NOT_THERE = new Set(["DATABASE_URL", "HOST", "PORT"]);

let count = 0;

/** From now on all relays of this file run inside workerd, as they are deployed there. One process for all of them. */
export async function relaysInWorkerd(): Promise<void> {
  const workerd = await startWorkerd({
    folder: aFolderUntil(afterAll),
    worker: await bundleInside(inside("relays.ts")),
    env: {},
  });
  afterAll(() => workerd.kill());
  useHost(openIn(workerd));
}

interface Ask extends Omit<RequestInit, "headers"> {
  headers: Record<string, string>;
}

const openIn =
  (workerd: Workerd): OpenApp =>
  async ({ env, options }) => {
    const name = `relay ${++count}`;
    const from = workerd.output().length;
    /** Its clock shows what the test's does. */
    const clock = () => (options.runtime ? { "x-test-now": String(options.runtime.now()) } : {});
    const ask = (path: string, { headers, ...init }: Ask) =>
      fetch(workerd.url + path, {
        redirect: "manual",
        ...init,
        headers: { ...headers, "x-test-relay": name, ...clock() },
      });
    const act = async (what: string, body: string | null = null): Promise<unknown> => {
      const answer = await ask("/", { method: "POST", headers: { "x-test-act": what }, body });
      if (answer.status !== 200) throw new Error(`workerd answered ${answer.status}: ${await answer.text()}`);
      return answer.json();
    };
    const bindings = Object.fromEntries(Object.entries(env).filter(([key]) => !NOT_THERE.has(key)));
    const yaml = options.file === undefined ? {} : { RELAY_YAML: options.file };
    const failure = await act("open", JSON.stringify({ LOG_LEVEL: "debug", ...bindings, ...yaml }));
    if (failure !== null) throw new Error(String(failure));
    const app: Partial<App> = {
      fetch: async (request) => {
        const { pathname, search } = new URL(request.url);
        const body = request.body === null ? null : Buffer.from(await request.arrayBuffer());
        return ask(pathname + search, { method: request.method, headers: Object.fromEntries(request.headers), body });
      },
      deliverDue: async () => void (await act("deliverDue")),
      reconcile: async () => (await act("reconcile")) as never,
      followUp: async () => (await act("followUp")) as never,
      // What of it can be said in JSON.
      store: new Proxy({} as App["store"], {
        get:
          (_none, method) =>
          (...given: unknown[]) =>
            act(`store.${String(method)}`, JSON.stringify(given)),
      }),
    };
    return {
      app: app as App,
      log: () => workerd.output().slice(from),
      start: () => Promise.reject(new Error("nothing listens inside workerd but itself")),
      stop: async () => {},
    };
  };
