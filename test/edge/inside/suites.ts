/** The Worker that runs the Store's suites, one case a request, each in a new object. */
import { DurableObject, type Namespace } from "cloudflare:workers";
import { useStorage } from "./storage.ts";
import { cases } from "./vitest.ts";

await import("../../store/contract.test.ts");
await import("../../store/archive.test.ts");
await import("../../store/history.test.ts");
await import("../../store/retention.test.ts");
await import("../../store/states.test.ts");
await import("./rollback.test.ts");

export class Relay extends DurableObject<object> {
  async run(n: number): Promise<string | null> {
    useStorage(this.ctx.storage);
    try {
      await cases[n]?.run();
      return null;
    } catch (error) {
      const { message, stack, diff } = error as Error & { diff?: string };
      return `${message}\n${diff ?? ""}\n${stack ?? ""}`;
    }
  }
}

export default {
  async fetch(request: Request, { RELAY }: { RELAY: Namespace<Relay> }): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/cases") return Response.json(cases.map(({ name }) => name));
    const n = Number(pathname.slice(1));
    return Response.json(await RELAY.getByName(`case ${n}`).run(n));
  },
};
