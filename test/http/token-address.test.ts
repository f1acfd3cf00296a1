/** Where there are sockets: a host without any says in its own way who asks. */
import { expect, it } from "vitest";
import { anApp } from "../support/app.ts";

it("the relay counts wrong tokens by the other end of the connection, which no header changes", async () => {
  const relay = await anApp();
  const ask = async (remoteAddress: string, forwarded: string) => {
    const headers = { authorization: "Bearer a-wrong-token-of-somebody", "x-forwarded-for": forwarded };
    const request = new Request("http://relay.test/v1/runs", { headers });
    return (await relay.app.fetch(request, { incoming: { socket: { remoteAddress } } })).status;
  };
  for (let i = 0; i < 10; i += 1) expect(await ask("192.0.2.1", `198.51.100.${i}`)).toBe(401);
  expect(await ask("192.0.2.1", "198.51.100.99")).toBe(429);
  expect(await ask("192.0.2.2", "192.0.2.1")).toBe(401);
});
