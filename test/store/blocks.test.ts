/** A receipt's block gives back the state and the body as they were. */
import { brotliCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packBlock, stateIn, unpackBlock } from "../../src/store/receipts/blocks.ts";
import { fixtureBytes, WEBHOOKS } from "../support/fixtures.ts";
import { aRun, aState } from "../support/a-run.ts";
import { ANY_CHARACTER } from "../support/any-character.ts";

describe("a block", () => {
  it.each(WEBHOOKS.map((file) => file.slice("webhook.".length, -".json".length)))(
    "a block of %s gives back every byte, and takes less than the body by itself",
    (name) => {
      const body = fixtureBytes(name);
      const state = JSON.stringify({ run: JSON.parse(Buffer.from(body).toString()) as unknown });
      const block = packBlock(state, body);
      expect(unpackBlock(block)).toEqual({ state, body });
      expect(block.length).toBeLessThan(0.75 * body.length + 50);
    },
  );

  it.each([
    ["no bytes", Buffer.alloc(0)],
    ["every byte there is", Buffer.from(Array.from({ length: 256 }, (_none, i) => i))],
    ["lines", Buffer.from("\n\n{}\n")],
    ["megabytes", Buffer.from("as far as that goes; ".repeat(100_000))],
  ])("a block gives back a body of %s, with a state and without", (_what, body) => {
    for (const state of [null, "{}", JSON.stringify({ run: "x".repeat(100_000) })]) {
      const given = unpackBlock(packBlock(state, body));
      expect([given.state === state, given.body?.equals(body)]).toEqual([true, true]);
    }
  });

  it("a block gives back a state whose body was removed, which is another thing than an empty body", () => {
    expect(unpackBlock(packBlock("{}", null))).toEqual({ state: "{}", body: null });
    expect(unpackBlock(packBlock(null, null))).toEqual({ state: null, body: null });
    expect(unpackBlock(packBlock("{}", Buffer.alloc(0)))).toEqual({ state: "{}", body: Buffer.alloc(0) });
  });

  it("a block gives back whatever a state holds, numbers digit for digit", () => {
    const text = fc.string({ unit: ANY_CHARACTER, maxLength: 60 });
    fc.assert(
      fc.property(text, fc.uint8Array(), (prompt, body) => {
        const state = JSON.stringify(aState(aRun({ prompt, output: [JSON.rawJSON("1e400"), "\n"] })));
        const block = packBlock(state, body);
        expect(JSON.stringify(stateIn(block))).toBe(state);
        expect(unpackBlock(block).body).toEqual(Buffer.from(body));
      }),
    );
  });

  it("a block is Brotli of the state, a line feed and the body, which later releases have to read", () => {
    expect(unpackBlock(brotliCompressSync('{"run":{}}\n{"a":1}'))).toEqual({
      state: '{"run":{}}',
      body: Buffer.from('{"a":1}'),
    });
  });

  it("a block that is cut short or empty is an error, not other bytes", () => {
    const block = packBlock('{"run":{"run_id":"tsk_1"}}', Buffer.from('{"run_id":"tsk_1"}'));
    for (const bad of [block.subarray(0, -1), Buffer.alloc(0), Buffer.from("{}")])
      expect(() => unpackBlock(bad)).toThrow(/decompress|unexpected end/i);
  });

  it("a block without a state is an error, as it belongs to no run", () => {
    expect(() => stateIn(packBlock(null, Buffer.from("{}")))).toThrow(/no state/);
  });
});
