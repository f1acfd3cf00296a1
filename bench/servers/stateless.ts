/**
 * What somebody writes who stores nothing: Hono, the signature over the raw bytes, a zod schema of the payload. The
 * schema is the bench's own, so that it stays the same whatever the relay does.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { z } from "zod";

const text = z.string().nullish();
const file = z.looseObject({
  url: text,
  checksum: text,
  filename: text,
  file_size: z.number().nullish(),
  artifact_id: text,
});
const Payload = z.looseObject({
  run_id: z.string(),
  task_id: text,
  workflow_run_id: text,
  run_type: text,
  status: z.string(),
  output: z.unknown().optional(),
  outputs: z.unknown().optional(),
  extracted_information: z.unknown().optional(),
  failure_reason: text,
  failure_category: z.array(z.looseObject({ category: z.string() })).nullish(),
  errors: z.array(z.unknown()).nullish(),
  downloaded_files: z.array(file).nullish(),
  downloaded_file_urls: z.array(z.string()).nullish(),
  recording_url: text,
  screenshot_url: text,
  screenshot_urls: z.array(z.string()).nullish(),
  action_screenshot_urls: z.array(z.string()).nullish(),
  app_url: text,
  created_at: text,
  modified_at: text,
  queued_at: text,
  started_at: text,
  finished_at: text,
  step_count: z.number().nullish(),
  total_steps: z.number().nullish(),
  organization_id: text,
  summary: text,
  prompt: text,
  url: text,
  title: text,
  workflow_id: text,
  workflow_permanent_id: text,
  workflow_title: text,
  parameters: z.record(z.string(), z.unknown()).nullish(),
  proxy_location: z.unknown().optional(),
  webhook_callback_url: text,
  webhook_failure_reason: text,
  run_with: text,
});

const key = process.env.BENCH_KEY ?? "";
const app = new Hono();
app.post("/webhook", async (c) => {
  const body = Buffer.from(await c.req.arrayBuffer());
  const given = Buffer.from(c.req.header("x-skyvern-signature") ?? "", "hex");
  const wanted = createHmac("sha256", key).update(body).digest();
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
    return c.json({ error: "wrong signature" }, 401);
  const parsed = Payload.safeParse(JSON.parse(body.toString("utf8")));
  if (!parsed.success) return c.json({ error: "not a run" }, 422);
  return c.json({ run_id: parsed.data.run_id });
});
serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: "127.0.0.1" });
