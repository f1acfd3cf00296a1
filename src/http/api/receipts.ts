/** Receipts: what was not recognized, and the bytes of each receipt. */
import type { ReceiptStore } from "../../store/contract/receipts.ts";
import type { Page } from "../../store/contract/runs.ts";
import type { Context } from "hono";
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import {
  badParameter,
  problemAnswer,
  jsonAnswer,
  raw,
  readPage,
  receiptJson,
  ReceiptSchema,
  ReceiptsQuery,
  RunParams,
  guarded,
} from "./schemas.ts";

export interface ReceiptsDeps {
  store: Pick<ReceiptStore, "receipt" | "unrecognizedReceipts" | "body">;
}

const getRaw = guarded({
  operationId: "getRunReceiptBytes",
  method: "get",
  path: "/runs/{run_id}/receipts/{id}/raw",
  summary: "The bytes of one receipt, masked as stored",
  request: { params: RunParams.extend({ id: z.string() }) },
  responses: {
    200: { description: "The bytes.", content: { "application/octet-stream": { schema: z.string() } } },
    404: problemAnswer("No such receipt, or its bytes were pruned."),
  },
});

const listUnrecognized = guarded({
  operationId: "listUnrecognizedReceipts",
  method: "get",
  path: "/receipts/unrecognized",
  summary: "List verified webhooks that were not recognized as a run, newest first",
  request: { query: ReceiptsQuery },
  responses: {
    200: jsonAnswer(
      z.object({ data: z.array(ReceiptSchema), next_cursor: z.string().nullable() }),
      "One page. They are read again after an upgrade.",
    ),
    ...badParameter,
  },
});

const getUnrecognizedRaw = guarded({
  operationId: "getReceiptBytes",
  method: "get",
  path: "/receipts/{id}/raw",
  summary: "The bytes of one unrecognized receipt, masked as stored",
  request: { params: z.object({ id: z.string() }) },
  responses: {
    200: { description: "The bytes.", content: { "application/octet-stream": { schema: z.string() } } },
    404: problemAnswer("No such unrecognized receipt, or its bytes were pruned."),
  },
});

export function mountReceipts(app: OpenAPIHono, { store }: ReceiptsDeps): void {
  const bytesOf = async (c: Context, id: string, runId: string | null) =>
    raw(c, (await store.receipt(id))?.run_id === runId ? await store.body(id) : null);

  app.openapi(getRaw, async (c) => {
    const { run_id: runId, id } = c.req.valid("param");
    return bytesOf(c, id, runId);
  });

  app.openapi(listUnrecognized, async (c) => {
    const read = (asked: Page) => store.unrecognizedReceipts(asked);
    const { rows, next } = await readPage(c.req.valid("query"), read, ({ received_at }) => received_at);
    return c.json({ data: rows.map(receiptJson), next_cursor: next }, 200);
  });

  app.openapi(getUnrecognizedRaw, async (c) => bytesOf(c, c.req.valid("param").id, null));
}
