import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "@hono/zod-openapi";

/** An RFC 9457 problem. `errors` names each bad parameter. */
export const ProblemSchema = z.object({
  type: z.string().meta({ description: "`about:blank`: the status code says everything." }),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  errors: z.array(z.object({ parameter: z.string(), message: z.string() })).optional(),
});
export type Problem = z.output<typeof ProblemSchema>;

const TITLES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

export function problem<Status extends ContentfulStatusCode>(
  c: Context,
  status: Status,
  detail: string,
  errors?: Problem["errors"],
) {
  const title = TITLES[status] ?? "Error";
  const body: Problem = { type: "about:blank", title, status, detail, ...(errors ? { errors } : {}) };
  return c.json(body, status, { "content-type": "application/problem+json" });
}
