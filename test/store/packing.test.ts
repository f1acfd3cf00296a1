/** What packing makes of states and bodies, and that it gives them back. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { DICTIONARY, packBody, packState, unpackBody, unpackState } from "../../src/store/packing.ts";
import { fixtureBytes, WEBHOOKS } from "../support/fixtures.ts";

describe("a packed body", () => {
  it.each(WEBHOOKS.map((file) => file.slice("webhook.".length, -".json".length)))(
    "%s comes back byte for byte, in a third of its bytes beside its state",
    (name) => {
      const body = fixtureBytes(name);
      const state = JSON.stringify({ run: JSON.parse(Buffer.from(body).toString()) as unknown });
      const packed = packBody(body, state);
      expect(unpackBody(packed, state).equals(body)).toBe(true);
      expect(packed.length).toBeLessThan(body.length / 3);
      expect(unpackState(packState(state))).toBe(state);
    },
  );

  it.each([
    ["no bytes", Buffer.alloc(0)],
    ["every byte there is", Buffer.from(Array.from({ length: 256 }, (_none, i) => i))],
    ["more than deflate looks back", Buffer.from("as far as that goes; ".repeat(10_000))],
  ])("of %s comes back as it was", (_what, body) => {
    for (const state of ["{}", JSON.stringify({ run: "x".repeat(100_000) })])
      expect(unpackBody(packBody(body, state), state).equals(body)).toBe(true);
  });

  it("beside another state is an error, not other bytes", () => {
    const packed = packBody(Buffer.from('{"run_id":"tsk_1"}'), '{"run":{"run_id":"tsk_1"}}');
    expect(() => unpackBody(packed, '{"run":{"run_id":"tsk_2"}}')).toThrow(/dictionary/i);
  });

  it("that is damaged is an error", () => {
    const packed = packState('{"run":{"run_id":"tsk_1","title":"something else"}}');
    packed[packed.length - 6] = (packed[packed.length - 6] ?? 0) ^ 0xff;
    expect(() => unpackState(packed)).toThrow(/incorrect|invalid/);
  });

  it("needs the dictionary of the release that packed it: this one may never change", () => {
    expect(createHash("sha256").update(DICTIONARY).digest("hex")).toBe(
      "8df31955e9ac2268ac2e10d69e58c1a3d7616b27bf1ddbc2d55338c9b0055d67",
    );
  });
});
