/**
 * What somebody writes first: Hono, the signature, one INSERT into PostgreSQL for each request, and 200 when it is
 * committed.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import pg from "pg";

const key = process.env.BENCH_KEY ?? "";
const pool = new pg.Pool({ connectionString: process.env.BENCH_DATABASE, max: 10 });
await pool.query(
  "CREATE TABLE received (run_id text PRIMARY KEY, status text NOT NULL, received_at bigint NOT NULL, body text NOT NULL)",
);

const app = new Hono();
app.post("/webhook", async (c) => {
  const body = Buffer.from(await c.req.arrayBuffer());
  const given = Buffer.from(c.req.header("x-skyvern-signature") ?? "", "hex");
  const wanted = createHmac("sha256", key).update(body).digest();
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
    return c.json({ error: "wrong signature" }, 401);
  const text = body.toString("utf8");
  const { run_id: id, status } = JSON.parse(text) as { run_id: string; status: string };
  await pool.query({
    name: "insert",
    text: "INSERT INTO received VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    values: [id, status, Date.now(), text],
  });
  return c.json({ run_id: id });
});
serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: "127.0.0.1" });
