import type { Env, Hono } from "hono";
import { problem } from "./problem.ts";

/**
 * Answers 405 with the `allow` header, at each address that an app has so far. HEAD is answered wherever GET is.
 */
export function refuseOtherMethods<E extends Env>(app: Hono<E>): void {
  const byPath = Map.groupBy(
    app.routes.filter(({ method }) => method !== "ALL"),
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
