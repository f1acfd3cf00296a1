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
const PATTERN_HELP = "One pattern or a list of them.";

/** A misspelt status would make a route that never matches, so a pattern that fits no final status is refused. */
const statusPattern = pattern.refine((text) => text.startsWith("!") || TERMINAL_STATUSES.some((s) => fits(text, s)), {
  error: `is no outcome of a run, so the route would never match; use ${TERMINAL_STATUSES.join(", ").replace(/, ([^,]*)$/, " or $1")}`,
});

const count = z
  .union([z.string(), z.number()])
  .transform(String)
  .refine((text) => COUNT_CONDITION.test(text.replace(/^!/, "")), {
    error: "expected a number or a comparison with one: 2, >1, >=2, <3, <=3, with a leading ! to negate",
  });
const counts = z
  .union([count.transform((text) => [text]), z.array(count).min(1)])
  .meta({ description: "How often Skyvern tried the run: `2` or `>1`." });

const conditions = z.strictObject({
  status: oneOrMany(statusPattern)
    .optional()
    .meta({ description: "The run's outcome: `completed`, `failed`, `terminated`, `timed_out` or `canceled`." }),
  run_type: oneOrMany(pattern)
    .optional()
    .meta({ description: "Skyvern's run type, such as `task_v2` or `workflow_run`." }),
  workflow: oneOrMany(pattern).optional().meta({ description: "The workflow's permanent id (`wpid_…`) or title." }),
  organization: oneOrMany(pattern).optional().meta({ description: "Skyvern's organization id (`o_…`)." }),
  channel: oneOrMany(pattern)
    .optional()
    .meta({ description: "The channel in the webhook's address: `invoices` of `/webhook/invoices`." }),
  url: oneOrMany(pattern).optional().meta({ description: "The address at which the run began." }),
  title: oneOrMany(pattern).optional().meta({ description: "Title of the run." }),
  error_code: oneOrMany(pattern).optional().meta({ description: "One of the error codes of the failure." }),
  failure_category: oneOrMany(pattern).optional().meta({ description: "One of Skyvern's categories of the failure." }),
  attempts: counts.optional(),
  trigger: oneOrMany(pattern)
    .optional()
    .meta({ description: "What started a workflow run: `api`, `manual`, `scheduled`, …" }),
  schedule: oneOrMany(pattern).optional().meta({ description: "Id of the schedule that started it (`wfs_…`)." }),
  parent: oneOrMany(pattern).optional().meta({ description: "Id of the run that started it; `!*`: no other run did." }),
  tags: oneOrMany(pattern)
    .optional()
    .meta({ description: "One of its tags in Skyvern: `customer:42`, or a label alone." }),
  labels: z
    .record(z.string().min(1), oneOrMany(pattern))
    .optional()
    .meta({ description: "Labels of the run, and what each must be." }),
} satisfies Record<Field, z.ZodType>);

/**
 * One rule. `when` is met if each of its keys is; without `when` every run meets it. `stop` ends the search once this
 * route has matched. A route with `stop` and no sinks silences what it matches.
 */
const RouteSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .meta({ description: "Name of the route in `why` and `check`. Default: `route N`, counted from 1." }),
  when: conditions.default({}).meta({
    description:
      "Every key must match, by one item if it has a list. `*` stands for any characters, a leading `!` negates.",
  }),
  to: z
    .union([z.string().transform((name) => [name]), z.array(z.string())])
    .meta({ description: "Names of sinks; `[]` delivers nothing." }),
  stop: z.boolean().default(false).meta({ description: "Whether later routes are skipped if this one matches." }),
});

export const RoutesSchema = z
  .array(RouteSchema)
  .transform((routes): Route[] =>
    routes.map((route, index) => ({ ...route, name: route.name ?? `route ${index + 1}` })),
  );
