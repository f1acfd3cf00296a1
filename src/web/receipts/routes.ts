/** The receipts of a run, and the unrecognized ones. */
import type { Context } from "hono";
import { HEADERS } from "../layout.ts";
import type { WebEnv, PageContext } from "../page-context.ts";
import { runPath } from "../markup.ts";
import { MAX_ROWS, unrecognizedPage, receiptPage } from "./pages.ts";

export function mountReceipts({ web, deps: { store }, reading, show, notFound }: PageContext): void {
  const loadReceipt = async (runId: string | undefined, id: string) => {
    const receipt = await store.receipt(id);
    return receipt?.run_id === (runId ?? null) ? receipt : null;
  };
  const gone = (c: Context<WebEnv>, runId: string | undefined) =>
    notFound(c, {
      title: "This webhook is not stored here",
      why: [
        runId === undefined
          ? "The relay may have recognized it since: then it is on the page of its run. Old webhooks are removed."
          : "Old webhooks are removed, while the run itself is stored for longer.",
      ],
      next:
        runId === undefined
          ? { href: "/unrecognized", label: "Unrecognized webhooks" }
          : { href: runPath(runId), label: "Back to the run" },
    });
  const shown = async (c: Context<WebEnv>, runId: string | undefined, id: string) => {
    const receipt = await loadReceipt(runId, id);
    if (receipt === null) return gone(c, runId);
    const base = runId === undefined ? "/unrecognized" : `${runPath(runId)}/receipts`;
    const raw = `${base}/${encodeURIComponent(id)}/raw`;
    const body = receiptPage({ receipt, body: await store.body(id), raw });
    return show(c, { title: "What was received", part: runId === undefined ? "unrecognized" : "runs" }, body);
  };
  const bytes = async (c: Context<WebEnv>, runId: string | undefined, id: string) => {
    const receipt = await loadReceipt(runId, id);
    const body = receipt === null ? null : await store.body(receipt.id);
    if (receipt === null || body === null) return gone(c, runId);
    return c.body(new Uint8Array(body), 200, {
      ...HEADERS,
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename="${receipt.id.replace(/[^\w-]/g, "_")}.json"`,
    });
  };

  web.get("/unrecognized", ...reading, async (c) =>
    show(
      c,
      { title: "Unrecognized", part: "unrecognized" },
      unrecognizedPage(await store.unrecognizedReceipts({ limit: MAX_ROWS })),
    ),
  );
  web.get("/unrecognized/:id", ...reading, (c) => shown(c, undefined, c.req.param("id")));
  web.get("/unrecognized/:id/raw", ...reading, (c) => bytes(c, undefined, c.req.param("id")));
  web.get("/runs/:run_id/receipts/:id", ...reading, (c) => shown(c, c.req.param("run_id"), c.req.param("id")));
  web.get("/runs/:run_id/receipts/:id/raw", ...reading, (c) => bytes(c, c.req.param("run_id"), c.req.param("id")));
}
