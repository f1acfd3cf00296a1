import { createHmac } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { verify, type VerifyKey } from "../../src/receive/verify.ts";
import { Secret } from "../../src/platform/secret.ts";

const fixtures = join(import.meta.dirname, "../fixtures");
const signatures = JSON.parse(readFileSync(join(fixtures, "_signatures.json"), "utf8")) as {
  key: string;
  files: Record<string, { "x-skyvern-signature": string }>;
};

const key = (name: string, value: string): VerifyKey => ({ name, key: new Secret(value), organization: null });
const sign = (body: Buffer, secret: string) => createHmac("sha256", secret).update(body).digest("hex");

const check = (bytes: Buffer, signature: string | null | undefined, keys: readonly VerifyKey[]) => {
  const about = { sentAt: null, channel: null, query: null, from: "127.0.0.1" };
  return verify({ bytes, signature: signature as string | null, ...about }, keys);
};

describe("known answers (contract §1)", () => {
  it.each([
    {
      secret: "sk_docs_snippet_test_key",
      body: Buffer.from('{"run_id":"tsk_1","status":"completed","step_count":3}'),
      signature: "609e0364a92ed3cc92753bcc1b0c53f78b77d2b7782c5f2f0c9f92cfa255d875",
    },
    {
      secret: "relay-test-key-1",
      body: Buffer.from(
        "7b2272756e5f6964223a2277725f31222c226f7574707574223a7b22746f74616c223a332c22766174223a302e31392c226e616d65223a224b61666665656dc3bc686c6520e282ac222c226f6b223a747275652c226e6f6e65223a6e756c6c2c22736d616c6c223a31652d30372c22626967223a31303030303030303030303030303030303030303030307d7d",
        "hex",
      ),
      signature: "5d98293940c138a1492c6ee4280f63f5df8692c4946579f40611086e6da06e47",
    },
    {
      secret: "clé-ü",
      body: Buffer.from(
        "7b2272756e5f6964223a2274736b5f76325f31222c2273756d6d617279223a226c696e65315c6e6c696e6532e280a8205c22715c22205c5c203c2f783e20f09f9880222c226c697374223a5b312c302c322e355d7d",
        "hex",
      ),
      signature: "3645c14bf9331aa4b14c16f32767f6229006cbed329708c5a177d892daab7394",
    },
  ])("a known signature by the key $secret is right (contract §1)", ({ secret, body, signature }) => {
    expect(check(body, signature, [key("k", secret)])).toMatchObject({ key: "k" });
  });

  it.each(readdirSync(fixtures).filter((file) => file.startsWith("webhook.")))(
    "the signature of %s is right (contract §1)",
    (file) => {
      const body = readFileSync(join(fixtures, file));
      const signature = signatures.files[file]?.["x-skyvern-signature"];
      expect(check(body, signature, [key("other", "x"), key("fixture", signatures.key)])).toMatchObject({
        key: "fixture",
      });
    },
  );
});

describe("refused signatures", () => {
  const body = Buffer.from('{"run_id":"tsk_1","status":"completed"}');
  const good = sign(body, "right");
  const keys = [key("k", "right")];
  it.each([
    ["missing", null, "missing_signature"],
    ["undefined", undefined, "missing_signature"],
    ["empty", "", "missing_signature"],
    ["short", good.slice(1), "malformed_signature"],
    ["long", `${good}0`, "malformed_signature"],
    ["uppercase", good.toUpperCase(), "malformed_signature"],
    ["not ASCII", `é${good.slice(1)}`, "malformed_signature"],
    ["with a prefix", `sha256=${good}`, "malformed_signature"],
    ["two of them", `${good}, ${good}`, "malformed_signature"],
    ["of another key", sign(body, "wrong"), "wrong_signature"],
    ["of another body", sign(Buffer.from("{}"), "right"), "wrong_signature"],
  ])("a signature is refused: %s", (_case, signature, reason) => {
    expect(check(body, signature, keys)).toBe(reason);
  });

  it("a signature made with an empty key is refused, even if an empty key is configured", () => {
    expect(check(body, sign(body, ""), [key("empty", "")])).toBe("wrong_signature");
  });

  it("any signature is refused when no key is configured", () => {
    expect(check(body, good, [])).toBe("wrong_signature");
  });
});

it("a body that several keys fit names the first of them", () => {
  const body = Buffer.from("{}");
  const keys = [key("a", "one"), key("b", "two"), key("c", "two")];
  expect(check(body, sign(body, "two"), keys)).toMatchObject({ key: "b" });
});
