/** The pages that the runs of a real Skyvern go to. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Portal {
  url: string;
  close(): void;
}

const PAGE = `<!doctype html><title>Portal</title><h1>Invoice INV-2026-0042</h1>
  <p><a id="invoice" href="/invoice.pdf" download>Invoice</a></p>`;

/**
 * `/page`; `/invoice.pdf`; `/code`, a one-time code; `/flaky/KEY` fails the first time and works after that; anything
 * else is not found.
 */
export async function startPortal(): Promise<Portal> {
  const seen = new Set<string>();
  const server = createServer(({ url = "/" }, response) => {
    if (url === "/page") return void response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    if (url === "/code") {
      const body = JSON.stringify({ verification_code: "123456" });
      return void response.writeHead(200, { "content-type": "application/json" }).end(body);
    }
    if (url === "/invoice.pdf") {
      const headers = {
        "content-type": "application/pdf",
        "content-disposition": 'attachment; filename="invoice.pdf"',
      };
      return void response.writeHead(200, headers).end("%PDF-1.4\n%%EOF\n");
    }
    const isFlaky = url.startsWith("/flaky/");
    const isFirst = isFlaky && !seen.has(url);
    if (isFlaky) seen.add(url);
    const [status, body] = !isFlaky
      ? [404, { error: "no such page" }]
      : isFirst
        ? [500, { error: "try later" }]
        : [200, { ok: true }];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}
