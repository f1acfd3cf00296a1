/** `/sinks`: each sink, test messages, and resuming. */
import type { Context } from "hono";
import { listSinkHealth } from "../../history/sink-health.ts";
import { latencyWindow, type Window } from "../charts.ts";
import { go, withFlash, type PageContext, type WebDeps, type WebEnv } from "../page-context.ts";
import { line } from "../text.ts";
import { sinksPage, type SinkView } from "./page.ts";

export function mountSinks({ web, deps, reading, acting, show, notFound }: PageContext): void {
  const { store, sinks, runtime, log } = deps;
  const isSink = (name: string): boolean => sinks.some((sink) => sink.name === name);
  const noSink = (c: Context<WebEnv>, name: string) =>
    notFound(c, {
      title: "This sink is gone",
      why: [
        `The relay sends nothing to ${JSON.stringify(line(name, 64))} any more: its configuration does not name it.`,
      ],
      next: { href: "/sinks", label: "All sinks" },
    });

  /** The test that the address names. Its result is read from the store, never from the address. */
  const loadTest = async (name: string | undefined, id: string | undefined) => {
    if (name === undefined || id === undefined || !isSink(name)) return null;
    const newest = await store.deliveries({ sink: [name], state: ["delivered", "canceled"] }, { limit: 100 });
    return newest.find((delivery) => delivery.id === id && delivery.cause === "test") ?? null;
  };

  web.get("/sinks", ...reading, async (c) => {
    const event = store.lastChange();
    const window = latencyWindow(runtime.now());
    const { sink, tested, resumed } = c.req.query();
    const view = {
      sinks: await sinkViews(deps, window),
      window,
      tested: await loadTest(sink, tested),
      resumed: resumed !== undefined && isSink(resumed) ? resumed : null,
      session: c.get("session"),
      event,
      now: runtime.now(),
    };
    return show(c, { title: "Sinks", part: "sinks" }, sinksPage(view));
  });

  web.post("/sinks/:name/test", ...acting, async (c) => {
    const name = c.req.param("name");
    if (!isSink(name)) return noSink(c, name);
    const { delivery } = await deps.sendTest(name);
    return go(c, withFlash("/sinks", { sink: name, tested: delivery.id }));
  });

  web.post("/sinks/:name/resume", ...acting, async (c) => {
    const name = c.req.param("name");
    if (!isSink(name)) return noSink(c, name);
    await deps.resume(name);
    log.info("sink.resumed", { sink: name, session: c.get("session").id });
    return go(c, withFlash("/sinks", { resumed: name }));
  });
}

async function sinkViews(deps: WebDeps, window: Window): Promise<SinkView[]> {
  const { store } = deps;
  const [sinks, times] = await Promise.all([
    listSinkHealth(deps),
    store.deliveryTimes("hour", window.since, window.until),
  ]);
  return Promise.all(
    sinks.map(async (health): Promise<SinkView> => {
      const { name } = health;
      const newest = (state: string[], limit: number) => store.deliveries({ sink: [name], state }, { limit });
      const [delivered, open] = await Promise.all([
        newest(["delivered"], 5),
        newest(["pending", "sending", "dead"], 50),
      ]);
      const failed = open.find(({ last_error }) => last_error !== null);
      const failedAt = failed && (await store.attempts([failed.id])).at(-1)?.finished_at;
      return {
        ...health,
        lastError: failed ? { delivery: failed, at: failedAt ?? failed.created_at } : null,
        // A test belongs to no run, so its event says less than a real message's.
        lastSuccess: delivered.find(({ cause }) => cause !== "test") ?? null,
        times: times.filter(({ sink }) => sink === name),
      };
    }),
  );
}
