/** `routes` in relay.yaml: which sinks get a run. */
import { z } from "zod";
import { TERMINAL_STATUSES } from "../domain/run.ts";
import { COUNT_CONDITION, fits, type Field, type Route } from "../domain/routing.ts";

/** Bounds the work for each run: matching takes at most the value's length times this. */
const MAX_PATTERN = 256;

const pattern = z
  .string()
  .min(1)
  .max(MAX_PATTERN)
  .refine((text) => text !== "!", "must have something after the !");

const oneOrMany = (item: typeof pattern) =>
  z.union([item.transform((text) => [text]), z.array(item).min(1)]).meta({ description: PATTERN_HELP });
const PATTERN_HELP = "One text or a list of which one must fit. * stands for any characters, a leading ! negates.";

/** A misspelt status would make a route that never matches, so a pattern that fits no final status is refused. */
const statusPattern = pattern.refine((text) => text.startsWith("!") || TERMINAL_STATUSES.some((s) => fits(text, s)), {
  error: `fits no final status, so the route would never match; these exist: ${TERMINAL_STATUSES.join(", ")}`,
});

const count = z
  .union([z.string(), z.number()])
  .transform(String)
  .refine((text) => COUNT_CONDITION.test(text.replace(/^!/, "")), {
    error: "expected a number or a comparison with one: 2, >1, >=2, <3, <=3, with a leading ! to negate",
  });
const counts = z
  .union([count.transform((text) => [text]), z.array(count).min(1)])
  .meta({ description: "How often Skyvern tried the run: a number, or a comparison with one such as `>1`." });

const conditions = z.strictObject({
  status: oneOrMany(statusPattern).optional(),
  run_type: oneOrMany(pattern).optional(),
  workflow: oneOrMany(pattern).optional().meta({ description: "Permanent id (`wpid_…`) or title." }),
  organization: oneOrMany(pattern).optional().meta({ description: "Skyvern's organization id (`o_…`)." }),
  channel: oneOrMany(pattern).optional().meta({ description: "The label in the webhook's URL." }),
  url: oneOrMany(pattern).optional(),
  title: oneOrMany(pattern).optional(),
  error_code: oneOrMany(pattern).optional(),
  failure_category: oneOrMany(pattern).optional(),
  attempts: counts.optional(),
} satisfies Record<Field, z.ZodType>);

/**
 * One rule. `when` is met if each of its keys is; without `when` every run meets it. `stop` ends the search once this
 * route has matched. A route with `stop` and no sinks silences what it matches.
 */
export const RouteSchema = z.strictObject({
  name: z.string().min(1).max(64).optional().meta({ description: "Default: `route N`, counted from 1." }),
  when: conditions.default({}).meta({ description: "Keys are ANDed, the items of a list ORed. Case is ignored." }),
  to: z
    .union([z.string().transform((name) => [name]), z.array(z.string())])
    .meta({ description: "Names of sinks. An empty list tells nobody." }),
  stop: z.boolean().default(false).meta({ description: "Later routes are not looked at once this one has matched." }),
});

export const RoutesSchema = z
  .array(RouteSchema)
  .transform((routes): Route[] =>
    routes.map((route, index) => ({ ...route, name: route.name ?? `route ${index + 1}` })),
  );
