import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maskText } from "../../src/skyvern/mask/mask-text.ts";
import { createRedact, REDACTED } from "../../src/skyvern/redact.ts";
import { createReadName } from "../../src/skyvern/mask/secret-names.ts";

const readName = createReadName([]);
const redact = createRedact();

/** Each is masked, with nothing around it that could make the mask look closer. */
const SECRETS = [
  "sk_live_51Hq8aBcDe",
  "rk_test_51Hq8aBcDe",
  "sk-abcdefghij0123456789",
  "AKIAABCDEFGHIJKLMNOP",
  "xoxb-12345678",
  "ghp_abcdefghij0123456789",
  "gho_abcdefghij0123456789",
  "github_pat_abcdefghij0123456789",
  "whsec_abcdefgh",
  "glpat-abcdefghij012345",
  "npm_abcdefghij0123456789abcdefghij",
  "AIzaabcdefghij0123456789abcdefghij",
  "ASIAABCDEFGHIJKLMNOP",
  "SG.abcdefghijklmnop.abcdefghijklmnop",
  "eyJhbGciOiJ9.eyJzdWIi.x",
  "-----BEGIN PRIVATE KEY-----x",
  "bearer S3cr3tM4rk7Q",
  "Basic S3cr3tM4rk7Q",
  "ApiKey S3cr3tM4rk7Q",
  "api-key\tS3cr3tM4rk7Q",
  "token S3cr3tM4rk7Q",
  "--password S3cr3tM4rk7Q",
  "-u bob:S3cr3tM4rk7Q",
  "password=S3cr3tM4rk7Q",
  "password: S3cr3tM4rk7Q",
  "passwordT11:S3cr3tM4rk7Q",
  "https://bob:S3cr3t@h.example",
  "proxy.example:8080:bob:S3cr3tM4rk7Q",
  "password%3DS3cr3tM4rk7Q",
  "password&equals;S3cr3tM4rk7Q",
  "password&#61;S3cr3tM4rk7Q",
  "password\\u003dS3cr3tM4rk7Q",
  "x&newline;password: S3cr3tM4rk7Q",
  "password=\\S3cr3tM4rk7Q",
  "otp=493817",
  "OTP: 493817",
  "verification code: 493817",
  '"mfa_code": "493-817"',
  "<Password>S3cr3tM4rk7Q</Password>",
  '<wsse:Password Type="text">\n  <![CDATA[ S3cr3tM4rk7Q ]]></wsse:Password>',
  "&lt;password&gt;S3cr3tM4rk7Q&lt;/password&gt;",
  '<string name="secret">S3cr3tM4rk7Q</string>',
  '<input type="hidden" name="csrf_token" value="S3cr3tM4rk7Q">',
  "<input value='S3cr3tM4rk7Q' type='password'/>",
  "<input name=csrf_token type=hidden value=S3cr3tM4rk7Q>",
  `<input data-x="a>b" data-y='c>d' name="csrf_token" value="S3cr3tM4rk7Q">`,
  `<input title="it's" name="csrf_token" value="S3cr3tM4rk7Q"/>`,
  `<input title="never closed name=csrf_token value=S3cr3tM4rk7Q>`,
  '<add key="ApiKey" value="S3cr3tM4rk7Q" />',
  '<meta name="csrf-token" content="S3cr3tM4rk7Q">',
  '<input aria-label="API key" value="S3cr3tM4rk7Q">',
  "the password is S3cr3tM4rk7Q",
  "the password was S3cr3tM4rk7Q",
  "password to S3cr3tM4rk7Q",
  "password - S3cr3tM4rk7Q",
  "password -> S3cr3tM4rk7Q",
  "password — S3cr3tM4rk7Q",
  "password 'S3cr3tM4rk7Q'",
  "fill('password', 'S3cr3tM4rk7Q')",
  "S3cr3tM4rk7Q is your password",
  "S3cr3tM4rk7Q as your password",
  "S3cr3tM4rk7Q into the password field",
  "OTP 493817",
  "code 493817 as your OTP",
  "password\tS3cr3tM4rk7Q",
  "password\n\nS3cr3tM4rk7Q",
  "user,password\nbob,S3cr3tM4rk7Q",
  "password  S3cr3tM4rk7Q",
  "password | S3cr3tM4rk7Q",
  "password │ S3cr3tM4rk7Q",
  "<td>password</td><td>S3cr3tM4rk7Q</td>",
];

const PIECES = [
  ...SECRETS,
  "token",
  "Bearer",
  "ApiKey",
  "--password",
  "-p",
  "-u",
  "API key",
  "authorization",
  "cookie",
  " is ",
  " was ",
  " as your ",
  " into the ",
  " to ",
  " for ",
  "  ",
  "|",
  "OTP ",
  "493817",
  "password",
  "</td>",
  "<td>",
  "passwordT11:",
  "=",
  ":",
  "://",
  ": ",
  " = ",
  " ",
  "-",
  ".",
  "/",
  "?",
  "&",
  ";",
  "#",
  ",",
  "\n",
  "\t",
  "(",
  "'",
  '"',
  "@",
  "T11:52:29",
  "12:30",
  ":8080:",
  "proxy.example",
  "https://",
  "bob:pw1x",
  "1T33",
  "22",
  "%3D",
  "\\",
  "hello",
  "é",
];
const text = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 3 })), { maxLength: 7 })
  .map((pieces) => pieces.join(""));

describe("the quick look at a text", () => {
  it.each(SECRETS)("the quick check finds %j, alone and in brackets, in a text and in JSON", (secret) => {
    for (const given of [secret, `(${secret})`, `hello,${secret}`]) {
      expect(maskText(given, { readName, byName: false })).toContain(REDACTED);
      expect(redact(JSON.stringify([given])).text).toContain(REDACTED);
      expect(redact(JSON.stringify({ a: given })).text).toContain(REDACTED);
      if (!/["\\\t]/.test(given)) expect(redact(JSON.stringify({ [given]: 1 })).text).toContain(REDACTED);
    }
  });

  /** These make the mask look for everything, and are no part of anything that stands before them. */
  const CLOSER = ["\n@", "\n%41"];

  it.each([true, false])(
    "the quick check passes over no text that the whole mask would change (by name: %s)",
    (byName) => {
      fc.assert(
        fc.property(text, fc.constantFrom(...CLOSER), (plain, closer) => {
          if (maskText(plain, { readName, byName }) !== plain) return;
          expect(maskText(plain + closer, { readName, byName })).toBe(plain + closer);
        }),
        { numRuns: 20_000 },
      );
    },
  );

  it("the quick check passes over no text of two pieces that the whole mask would change", () => {
    const changed: string[] = [];
    for (const first of PIECES)
      for (const second of PIECES) {
        const plain = first + second;
        if (maskText(plain, { readName, byName: true }) !== plain) continue;
        for (const closer of CLOSER)
          if (maskText(plain + closer, { readName, byName: true }) !== plain + closer) changed.push(plain);
      }
    expect(changed).toEqual([]);
  });

  it("the quick check finds in a string of JSON what it finds in the same string written in escapes", () => {
    const spell = (value: string): string =>
      Array.from({ length: value.length }, (_, i) => `\\u${value.charCodeAt(i).toString(16).padStart(4, "0")}`).join(
        "",
      );
    fc.assert(
      fc.property(text, text, (first, second) => {
        const shown = JSON.parse(redact(JSON.stringify({ a: first, parameters: [second] })).text) as unknown;
        const spelled = `{"a":"${spell(first)}","parameters":["${spell(second)}"]}`;
        expect(shown).toEqual(JSON.parse(redact(spelled).text));
      }),
      { numRuns: 10_000 },
    );
  });
});

it.each(["a word ", "é à ", "東京 ", "🎉 "])(
  "a wrapped secret is masked in a long text of %j, at its place",
  (filler) => {
    const around = filler.repeat(3_000);
    const text = (value: string): string => `${around}p%61ssword%3D${value} ${around}\\u0070in=${value} ${around}`;
    expect(maskText(text("hunter22"), { readName, byName: false })).toBe(text(REDACTED));
  },
);
