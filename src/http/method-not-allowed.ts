import type { Env, Hono } from "hono";
import { problem } from "./problem.ts";

/**
 * Answers 405 with the `allow` header, at the addresses that an app has so far. `isMeant` selects some of them by the
 * paths given to the app. HEAD is answered wherever GET is.
 */
export function refuseOtherMethods<E extends Env>(app: Hono<E>, isMeant: (path: string) => boolean = () => true): void {
  const byPath = Map.groupBy(
    app.routes.filter(({ method, path }) => method !== "ALL" && isMeant(path)),
    ({ path }) => path,
  );
  for (const [path, routes] of byPath) {
    const methods = new Set(routes.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])));
    const allow = [...methods].join(", ");
    app.all(path, (c) => {
      c.header("allow", allow);
      return problem(c, 405, `${c.req.method} is not allowed here; use ${allow.replace(/, (\w+)$/, " or $1")}.`);
    });
  }
}
