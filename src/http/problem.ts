import { STATUS_CODES } from "node:http";
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

export function problem<Status extends ContentfulStatusCode>(
  c: Context,
  status: Status,
  detail: string,
  errors?: Problem["errors"],
) {
  const title = STATUS_CODES[status] ?? "Error";
  const body: Problem = { type: "about:blank", title, status, detail, ...(errors ? { errors } : {}) };
  return c.json(body, status, { "content-type": "application/problem+json" });
}

export const wrongParameters = (c: Context, errors: NonNullable<Problem["errors"]>) =>
  problem(c, 400, "A parameter is wrong.", errors);
