/** What everything is held against: a Hono endpoint that reads the body and answers. It must never change. */
import { serve } from "@hono/node-server";
import { Hono } from "hono";

const app = new Hono();
app.post("/webhook", async (c) => {
  const body = await c.req.arrayBuffer();
  return c.json({ read: body.byteLength });
});
serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: "127.0.0.1" });
