/** Receipts: what was not recognized, and the bytes of each. */
import type { ReceiptStore } from "../../store/contract/receipts.ts";
import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import {
  badParameter,
  closed,
  problemAnswer,
  jsonAnswer,
  raw,
  receiptJson,
  ReceiptSchema,
  ReceiptsQuery,
  RunParams,
  security,
  writeCursor,
} from "./schemas.ts";

export interface ReceiptsDeps {
  store: Pick<ReceiptStore, "receipts" | "unrecognizedReceipts" | "body">;
}

const getRaw = createRoute({
  operationId: "getRunReceiptBytes",
  method: "get",
  path: "/runs/{run_id}/receipts/{id}/raw",
  summary: "The bytes of one receipt, masked as stored",
  security,
  request: { params: RunParams.extend({ id: z.string() }) },
  responses: {
    200: { description: "The bytes.", content: { "application/octet-stream": { schema: z.string() } } },
    404: problemAnswer("No such receipt, or its bytes were pruned."),
    ...closed,
  },
});

const listUnrecognized = createRoute({
  operationId: "listUnrecognizedReceipts",
  method: "get",
  path: "/receipts/unrecognized",
  summary: "List verified webhooks that were not recognized as a run, newest first",
  security,
  request: { query: ReceiptsQuery },
  responses: {
    200: jsonAnswer(
      z.object({ data: z.array(ReceiptSchema), next_cursor: z.string().nullable() }),
      "One page. They are read again after an upgrade.",
    ),
    ...badParameter,
    ...closed,
  },
});

const getUnrecognizedRaw = createRoute({
  operationId: "getReceiptBytes",
  method: "get",
  path: "/receipts/{id}/raw",
  summary: "The bytes of one receipt, masked as stored",
  security,
  request: { params: z.object({ id: z.string() }) },
  responses: {
    200: { description: "The bytes.", content: { "application/octet-stream": { schema: z.string() } } },
    404: problemAnswer("No such receipt, or its bytes were pruned."),
    ...closed,
  },
});

export function mountReceipts(app: OpenAPIHono, { store }: ReceiptsDeps): void {
  app.openapi(getRaw, async (c) => {
    const { run_id: runId, id } = c.req.valid("param");
    const known = (await store.receipts(runId)).some((receipt) => receipt.id === id);
    return raw(c, known ? await store.body(id) : null);
  });

  app.openapi(listUnrecognized, async (c) => {
    const { limit, cursor: after } = c.req.valid("query");
    const receipts = await store.unrecognizedReceipts({ limit: limit + 1, ...(after ? { after } : {}) });
    const page = receipts.slice(0, limit);
    const last = page.at(-1);
    const next = receipts.length > limit && last ? writeCursor({ at: last.received_at, id: last.id }) : null;
    return c.json({ data: page.map(receiptJson), next_cursor: next }, 200);
  });

  app.openapi(getUnrecognizedRaw, async (c) => raw(c, await store.body(c.req.valid("param").id)));
}
