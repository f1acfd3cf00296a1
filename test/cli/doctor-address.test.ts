/** Which addresses Skyvern takes as a webhook address, by its own rules (contract §2). */
import { expect, it } from "vitest";
import { Secret } from "../../src/platform/secret.ts";
import { createSkyvernClient } from "../../src/skyvern/client.ts";
import { checkForm, checkAddress } from "../../src/cli/doctor/address.ts";

const hosted = (url: string) => checkForm(url, true);

it.each([
  ["http://localhost:8080", "the caller's own machine"],
  ["https://relay.localhost", "the caller's own machine"],
  ["https://127.0.0.1", "not public (loopback)"],
  ["https://[::1]:8080", "not public (loopback)"],
  ["https://10.1.2.3", "not public (private)"],
  ["https://192.168.0.10:8080", "not public (private)"],
  ["https://169.254.169.254", "not public (linkLocal)"],
  ["https://100.64.0.1", "not public (carrierGradeNat)"],
  ["https://relay.internal", "a private network"],
  ["https://skyvern-relay.flycast.internal", "a private network"],
  ["https://printer.local", "a private network"],
  ["https://relay.default.svc", "a private network"],
  ["https://relay.default.svc.cluster.local", "a private network"],
  ["https://metadata.google.internal", "a private network"],
  ["https://relay-123456.us-east-1.elb.amazonaws.com", "AWS load balancer"],
  ["https://relay-0a1b.elb.us-east-1.amazonaws.com", "AWS load balancer"],
  ["https://relay", "no domain"],
])(
  "an address of %s is a fault at Skyvern's cloud and a warning at one's own Skyvern, each with its own fix",
  (url, why) => {
    const [finding, ...rest] = hosted(url);
    expect(rest).toEqual([]);
    expect(finding).toMatchObject({ state: "fault", found: expect.stringContaining(why) as string });
    expect(finding?.state === "fault" && finding.fix).toContain("set PUBLIC_URL");
    const [own] = checkForm(url, false);
    // A name without a domain is what a network of containers has.
    if (url === "https://relay") expect(own).toBeUndefined();
    else expect(own).toMatchObject({ state: "warning", fix: expect.stringContaining("ALLOWED_HOSTS") as string });
  },
);

it.each([
  ["https://relay.example.com"],
  ["https://my-relay.fly.dev"],
  ["https://relay.example.com:8443/in"],
  ["https://8.8.8.8"],
])("doctor finds no fault in the address %s", (url) => expect(hosted(url)).toEqual([]));

it("an address of over 2083 characters is a fault, and one with plain http a warning", () => {
  expect(hosted(`https://relay.example.com/${"a".repeat(2_083 - 34)}`)).toEqual([]);
  expect(hosted(`https://relay.example.com/${"a".repeat(2_083)}`)).toMatchObject([{ state: "fault" }]);
  expect(hosted("http://relay.example.com")).toMatchObject([
    { state: "warning", found: expect.stringContaining("unencrypted") as string },
  ]);
});

/** A Skyvern that has no call to try an address. */
const aSilentSkyvern = createSkyvernClient({
  baseUrl: "https://api.skyvern.com",
  keys: [{ name: "key", key: new Secret("key"), organization: null }],
  request: () => Promise.reject(new Error("it does not answer")),
  fetch: () => Promise.reject(new Error("it does not answer")),
});

it("a public name with a private address, or with none, is a fault at Skyvern's cloud, and is not tried", async () => {
  const config = {
    publicUrl: "https://relay.example.com",
    baseUrl: "https://api.skyvern.com",
    host: "127.0.0.1",
    port: 0,
  };
  const look = (lookup: () => Promise<{ address: string; family: number }[]>) =>
    checkAddress({
      config,
      client: aSilentSkyvern,
      isByAddress: true,
      host: { lookup },
      request: () => Promise.reject(new Error("it was tried")),
      signal: new AbortController().signal,
    });
  expect(await look(() => Promise.resolve([{ address: "10.0.0.7", family: 4 }]))).toMatchObject([
    {
      check: "PUBLIC_URL",
      state: "fault",
      found: "relay.example.com leads to 10.0.0.7, which the internet cannot reach",
    },
  ]);
  expect(await look(() => Promise.reject(new Error("ENOTFOUND")))).toMatchObject([
    { check: "PUBLIC_URL", state: "fault", found: "relay.example.com has no address in the DNS" },
  ]);
});
