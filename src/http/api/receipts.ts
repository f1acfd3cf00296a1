/** Receipts: what was not recognized, and the bytes of each. */
import type { ReceiptStore } from "../../store/contract/receipts.ts";
import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { closed, problemAnswer, jsonAnswer, raw, receiptJson, ReceiptSchema, RunParams, security } from "./schemas.ts";

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
  summary: "List verified webhooks that were not recognized as a run, newest first (at most 200)",
  security,
  responses: {
    200: jsonAnswer(z.object({ data: z.array(ReceiptSchema) }), "They are read again after an upgrade."),
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

  app.openapi(listUnrecognized, async (c) =>
    c.json({ data: (await store.unrecognizedReceipts(200)).map(receiptJson) }, 200),
  );

  app.openapi(getUnrecognizedRaw, async (c) => raw(c, await store.body(c.req.valid("param").id)));
}
