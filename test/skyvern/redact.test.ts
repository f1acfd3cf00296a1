import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRedact, LONGEST_QUERY, REDACTED } from "../../src/skyvern/redact.ts";
import { fixtureText, WEBHOOKS } from "../support/fixtures.ts";
import { cpuMs } from "../support/cpu.ts";

const redact = createRedact();
const masked = (value: unknown): unknown => JSON.parse(redact(JSON.stringify(value)).text);
/** The masked value of one key of a payload. */
const valueOf = (key: string, value: unknown): unknown => (masked({ [key]: value }) as Record<string, unknown>)[key];

describe("what is masked", () => {
  it.each(["extra_http_headers", "cdp_connect_headers", "extraHttpHeaders", "EXTRA_HTTP_HEADERS"])(
    "the mask hides every value under %s, whose keys stay",
    (key) => {
      expect(
        valueOf(key, { authorization: "Bearer x", "x-n": 5, deep: { list: ["a", true, null] }, none: null }),
      ).toEqual({
        authorization: REDACTED,
        "x-n": REDACTED,
        deep: { list: [REDACTED, REDACTED, null] },
        none: null,
      });
      expect(valueOf(key, '{"authorization":"Bearer x"}')).toBe(REDACTED);
    },
  );

  it.each(["totp_identifier", "totp_verification_url", "totp_url", "totp_code", "TOTP_SECRET"])(
    "the mask hides %s",
    (key) => {
      expect(valueOf(key, "https://codes.example/ada")).toBe(REDACTED);
    },
  );

  it.each([
    ["http://user:pa55@proxy.example:8080", `http://${REDACTED}@proxy.example:8080`],
    ["http://user:pa/55@proxy.example:8080/x", `http://${REDACTED}@proxy.example:8080/x`],
    ["http://user:pa@55?#@proxy.example", `http://${REDACTED}@proxy.example`],
    ["socks5://user:pa 55@proxy.example", `socks5://${REDACTED}@proxy.example`],
    ["user:pa55@proxy.example:8080", `${REDACTED}@proxy.example:8080`],
    ["user:pa/55@proxy.example:8080", `${REDACTED}@proxy.example:8080`],
    ["RESIDENTIAL_DE", "RESIDENTIAL_DE"],
    ["US-CA", "US-CA"],
  ])("the mask hides the credentials in the proxy %s", (proxy, shown) => {
    expect(valueOf("proxy_location", proxy)).toBe(shown);
    expect(valueOf("proxy_location", { url: proxy })).toEqual({ url: shown });
    expect(valueOf("proxy_url", proxy)).toBe(shown);
  });

  it("the mask hides the credentials of a proxy given as parts, and of one given as JSON in a text", () => {
    const parts = { server: "proxy.example", username: "acme-session-77", password: "pa55" };
    const shown = { server: "proxy.example", username: REDACTED, password: REDACTED };
    expect(valueOf("proxy_location", parts)).toEqual(shown);
    expect(JSON.parse(String(valueOf("proxy_location", JSON.stringify(parts))))).toEqual(shown);
  });

  it.each([
    "password",
    "Passwort_PASSWORD_2",
    "portalPassword",
    "passwd",
    "pwd",
    "user_pwd",
    "pass",
    "passphrase",
    "PIN",
    "card_pin",
    "client_secret",
    "clientSecret",
    "apiKey",
    "api_key",
    "X-API-Key",
    "API KEY",
    "portalAPIKey2",
    "access_token",
    "token",
    "private-key",
    "Authorization",
    "auth",
    "session_cookie",
    "otp",
    "otp_code",
    "verification_code",
    "one_time_code",
    "mfa",
    "2fa",
    "cvv",
    "cvc2",
    "card_number",
    "ssn",
    "login_credentials",
    "jwt",
  ])("the mask hides the parameter %s, at any depth, in lists, and of a run's request", (key) => {
    const secret = { [key]: "hunter2" };
    const shown = { [key]: REDACTED };
    expect(masked({ parameters: secret })).toEqual({ parameters: shown });
    expect(masked({ run_request: { parameters: { a: [{ b: secret }] } } })).toEqual({
      run_request: { parameters: { a: [{ b: shown }] } },
    });
    expect(masked({ parameters: { [key]: { any: ["hunter2", 4711] } } })).toEqual({
      parameters: { [key]: { any: [REDACTED, REDACTED] } },
    });
  });

  it.each([
    "shipping",
    "compass",
    "author",
    "spinner",
    "passenger",
    "options",
    "classic",
    "hotpot",
    "keyword",
    "company",
  ])("the mask leaves the parameter %s", (key) => {
    expect(masked({ parameters: { [key]: "plain" } })).toEqual({ parameters: { [key]: "plain" } });
  });

  it("the mask hides secret parameters inside JSON that is kept in a text, twice over", () => {
    const inner = JSON.stringify({ password: "hunter2", user: "ada" });
    const outer = JSON.stringify({ login: inner });
    const shown = JSON.parse(
      (masked({ parameters: { config: outer } }) as { parameters: { config: string } }).parameters.config,
    ) as { login: string };
    expect(JSON.parse(shown.login)).toEqual({ password: REDACTED, user: "ada" });
    expect(JSON.stringify(masked({ parameters: inner }))).not.toContain("hunter2");
  });

  it("the mask leaves the id of a stored credential, which opens nothing by itself", () => {
    expect(masked({ parameters: { credential: "cred_500964987805577736" } })).toEqual({
      parameters: { credential: "cred_500964987805577736" },
    });
  });

  it.each([
    [
      "https://relay.example.com/hooks?token=abc&x=1#f=2",
      `https://relay.example.com/hooks?token=${REDACTED}&x=${REDACTED}#f=${REDACTED}`,
    ],
    ["https://relay.example.com/hooks?c0ffee", `https://relay.example.com/hooks?${REDACTED}`],
    ["https://relay.example.com/hooks?a=b'c\"d<e>f g", `https://relay.example.com/hooks?a=${REDACTED}`],
    ["https://user:pa55@relay.example.com/hooks", `https://${REDACTED}@relay.example.com/hooks`],
    ["https://relay.example.com/hooks", "https://relay.example.com/hooks"],
  ])("the mask hides all of the query of a webhook's address, as in %s", (url, shown) => {
    for (const key of ["webhook_callback_url", "webhook_url"]) expect(valueOf(key, url)).toBe(shown);
    expect(masked({ run_request: { webhook_url: url } })).toEqual({ run_request: { webhook_url: shown } });
  });

  it("the mask hides a query of megabytes as a whole, as masking each value would make it three times as long", () => {
    const url = `https://relay.example.com/hooks?${"a=b&".repeat(LONGEST_QUERY / 4 + 1)}`;
    expect(valueOf("webhook_url", url)).toBe(`https://relay.example.com/hooks?${REDACTED}`);
  });

  it.each([
    [
      "https://api.skyvern.com/v1/artifacts/a_1/content?expiry=1&kid=k&sig=SIG",
      `https://api.skyvern.com/v1/artifacts/a_1/content?expiry=1&kid=k&sig=${REDACTED}`,
    ],
    [
      "https://b.s3.amazonaws.com/k?AWSAccessKeyId=SIG&Signature=SIG&x-amz-security-token=SIG&Expires=9",
      `https://b.s3.amazonaws.com/k?AWSAccessKeyId=${REDACTED}&Signature=${REDACTED}&x-amz-security-token=${REDACTED}&Expires=9`,
    ],
    [
      "https://b.s3.amazonaws.com/k?X-Amz-Credential=SIG&X-Amz-Signature=SIG",
      `https://b.s3.amazonaws.com/k?X-Amz-Credential=${REDACTED}&X-Amz-Signature=${REDACTED}`,
    ],
    ["https://x.blob.core.windows.net/c?sv=1&sig=SIG", `https://x.blob.core.windows.net/c?sv=1&sig=${REDACTED}`],
    [
      "https://storage.googleapis.com/b?GoogleAccessId=SIG&X-Goog-Signature=SIG",
      `https://storage.googleapis.com/b?GoogleAccessId=${REDACTED}&X-Goog-Signature=${REDACTED}`,
    ],
    ["wss://cdp.example?apiKey=SIG", `wss://cdp.example?apiKey=${REDACTED}`],
    ["https://p.example/#access_token=SIG&state=1", `https://p.example/#access_token=${REDACTED}&state=1`],
    ["postgres://u:SIG@db.example/x", `postgres://${REDACTED}@db.example/x`],
    [
      "see <https://u:SIG@h.example/?a=1&amp;sig=SIG>, then 'https://h.example/?token=SIG'",
      `see <https://${REDACTED}@h.example/?a=1&amp;sig=${REDACTED}>, then 'https://h.example/?token=${REDACTED}'`,
    ],
    ["https://h.example/?next=/a?token=SI?G", `https://h.example/?next=/a?token=${REDACTED}`],
  ])("the mask hides what gives access in any URL anywhere, as in %s", (url, shown) => {
    expect(masked({ output: { deep: [url] }, prompt: `Go to ${url}` })).toEqual({
      output: { deep: [shown] },
      prompt: `Go to ${shown}`,
    });
  });

  it("the mask hides what gives access in a URL whose slashes are escaped", () => {
    const { text } = redact(
      String.raw`{"output":"https:\/\/h.example\/?sig=SIG","b":"\u0068ttps\u003a//h.example/?sig=SIG"}`,
    );
    expect(text).not.toContain("SIG");
    expect(text).toContain("h.example");
  });

  it.each([
    ['{"otp":"493817"}', '{"otp":"[redacted]"}'],
    ['{"otp":493817}', '{"otp":"[redacted]"}'],
    ['{"verificationCode":"493 817"}', '{"verificationCode":"[redacted]"}'],
    ['{"name":"mfa_code","value":"4938"}', '{"name":"mfa_code","value":"[redacted]"}'],
    ['{"a":"OTP: 493817."}', '{"a":"OTP: [redacted]."}'],
    ['{"otp":"sent by SMS"}', '{"otp":"sent by SMS"}'],
    ['{"otp_length":4938}', '{"otp_length":4938}'],
    ['{"code":"493817","zip_code":"10827"}', '{"code":"493817","zip_code":"10827"}'],
  ])("the mask hides one-time codes, and no other numbers: %s", (given, masked) => {
    expect(redact(`{"output":${given}}`).text).toBe(`{"output":${masked}}`);
  });

  it("the mask hides a secret behind a key that is written in escapes, or comes twice", () => {
    const { text } = redact(
      String.raw`{"\u0074otp_code":"SECRET","parameters":{"pass\u0077ord":"SECRET","password":"SECRET","password":"SECRET"}}`,
    );
    expect(text).not.toContain("SECRET");
  });

  it("the mask hides the keys of redact.keys, as whole words, however they are spelt", () => {
    const own = createRedact(["iban", "tax id"]);
    const body = { iban: "x", customerIban: "x", IBAN_2: "x", taxId: "x", "tax-id": "x", TAXID: "x" };
    const shown = JSON.parse(own(JSON.stringify({ parameters: { ...body, libanon: "y", id: "y" } })).text) as unknown;
    expect(shown).toEqual({
      parameters: {
        ...Object.fromEntries(Object.keys(body).map((key) => [key, REDACTED])),
        libanon: "y",
        id: "y",
      },
    });
    expect(masked({ parameters: { iban: "x" } })).toEqual({ parameters: { iban: "x" } });
  });
});

describe("what is not masked", () => {
  it.each(WEBHOOKS)("the mask leaves %s byte for byte what it was, but for the masked values", (file) => {
    const text = fixtureText(file.slice("webhook.".length, -".json".length));
    const pieces = redact(text).text.split(REDACTED);
    // Each piece between two masks occurs in the original, in order.
    let from = 0;
    for (const piece of pieces) {
      const at = text.indexOf(piece, from);
      expect(at).toBeGreaterThanOrEqual(from);
      from = at + piece.length;
    }
  });

  it("masking twice is masking once", () => {
    for (const file of WEBHOOKS) {
      const once = redact(fixtureText(file.slice("webhook.".length, -".json".length))).text;
      expect(redact(once).text).toBe(once);
    }
  });

  it("numbers, spaces, escapes and duplicate keys outside of secrets come through untouched", () => {
    const text = String.raw`{ "a" : 1.0e+5 , "a":[ 1e400,-0.0 ,"\u00e9\/" ] , "b":"` + "\u2028\uD83D" + String.raw`" }`;
    expect(redact(text).text).toBe(text);
  });
});

describe("text that is not JSON", () => {
  it.each([
    ["cut off inside a secret", '{"parameters":{"password":"hunt', "hunt"],
    ["cut off before one", '{"a":1,"totp_code":"hunter2"', "hunter2"],
    ["with junk before it", '\uFEFF nonsense {"extra_http_headers":{"a":"hunter2"}}', "hunter2"],
    ["with brackets that do not match", ']]}}{"extra_http_headers":{"a":["hunter2"}],"b":1}', "hunter2"],
  ])("a text that is no JSON, %s, is masked as well", (_what, text, secret) => {
    expect(redact(text).text).not.toContain(secret);
  });

  it.each(["\uFEFF", "\u00A0", "\u2028", "\u3000", "\u0000", "\u000B", "\u0085"])(
    "the character %j outside of strings does not keep a text from being masked",
    (space) => {
      expect(redact(`${space}{"a":${space}1}`).text).toBe(`${space}{"a":${space}1}`);
      expect(
        redact(JSON.stringify({ parameters: { prompt: `{${space}name}`, password: "hunter2" } })).text,
      ).not.toContain("hunter2");
    },
  );

  it("masking ends and never throws, whatever comes in", () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom(...Array.from('{}[]":,\\ aeE01.-+u/@?=&\uFEFF\u00A0\u2028\t')),
          maxLength: 200,
        }),
        (text) => {
          redact(text);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("for any JSON", () => {
  const MARK = "S3CR3T-MARK";
  const secretKey = fc.constantFrom("password", "api_key", "accessToken", "otp", "clientSecret");
  const harmless = fc.jsonValue({ maxDepth: 3 });
  const hidden = fc.oneof(fc.constant(MARK), fc.constant([MARK]), fc.constant({ any: { key: MARK } }));
  const nested = (leaf: fc.Arbitrary<unknown>) =>
    fc.tuple(fc.array(fc.string(), { maxLength: 3 }), leaf).map(([path, value]) =>
      // Not a key that would hide the leaf by itself.
      path.reduce<unknown>((inside, key) => ({ [`p ${key}`]: inside, other: [inside] }), value),
    );

  it("a secret parameter of any JSON never shows, whatever stands around it", () => {
    fc.assert(
      fc.property(
        harmless,
        nested(fc.tuple(secretKey, hidden).map(([key, value]) => ({ [key]: value }))),
        (around, deep) => {
          const text = JSON.stringify({
            around,
            parameters: deep,
            extra_http_headers: { around: MARK },
            output: around,
          });
          const { text: out } = redact(text);
          expect(out).not.toContain(MARK);
          expect(() => JSON.parse(out) as unknown).not.toThrow();
        },
      ),
    );
  });

  it("the mask changes nothing in any JSON but the secrets", () => {
    const keys = fc.constantFrom("a", "title", "output", "name", "n");
    const plain = fc
      .letrec((tie) => ({
        value: fc.oneof(
          { depthSize: "small" },
          fc.integer(),
          fc.double(),
          fc.boolean(),
          fc.string(),
          fc.constant(null),
          fc.array(tie("value")),
          fc.dictionary(keys, tie("value")),
        ),
      }))
      .value.filter((value) => !JSON.stringify(value).includes("://"));
    fc.assert(
      fc.property(plain, (value) => {
        const text = JSON.stringify({ value });
        expect(redact(text).text).toBe(text);
      }),
    );
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A text in which hints, URLs and quotes meet. */
const hinted = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "https://",
        "x://",
        "1://",
        "://",
        "//",
        ":",
        "/",
        "?",
        "&",
        "#",
        ";",
        "=",
        "@",
        "u:p@",
        "host.example",
      ),
      fc.constantFrom("token", "sig", "key", "API_KEY", "kid", "next", "Bearer ", "basic ", "authorization: ", "a1b2"),
      fc.constantFrom("'", '"', "<", ">", " ", "\n", "\\", "\u00a0", "\u2028", "\ufeff", "é", "\ud83d", "🎉", "s3cr3t"),
      fc.string({ maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((pieces) => pieces.join(""));

describe("however a text is spelt", () => {
  const key = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom("a", "title", "totals", "errors", "value", "name", "rs", "s", "", "proxied", "we"),
    },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        "parameters",
        "RUN_METADATA",
        "navigation_payload",
        "totp_code",
        "Proxy_url",
        "username",
        "webhook_callback_url",
        "extra_http_headers",
        "CDP_Connect_Headers",
        "password",
        "pin",
      ),
    },
    // Where it has read a key that begins with a backslash, V8 13.6 takes an escaped one in its place for the same.
    { weight: 1, arbitrary: hinted.filter((text) => !text.startsWith("\\")) },
  );
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "medium" },
      { weight: 4, arbitrary: hinted },
      fc.integer(),
      fc.constantFrom(null, true, 0.5),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    ),
  })).value;
  /** The same JSON with every key and text written in escapes. */
  const escaped = (text: string): string =>
    text.replace(/"((?:[^"\\]|\\.)*)"/g, (literal) => {
      const value = JSON.parse(literal) as string;
      return `"${[...Array(value.length).keys()].map((i) => `\\u${value.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")}"`;
    });

  it("the mask hides the same however a text is spelt", () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = JSON.stringify(value);
        expect(JSON.parse(redact(text).text)).toEqual(JSON.parse(redact(escaped(text)).text));
      }),
      { numRuns: 3000 },
    );
  });

  it("the mask hides what gives access in a URL's query, and nothing else, however the text is spelt", () => {
    const pairs = (query: string) =>
      query.replace(/([?&#;])([^=?&#;]*)=([^&#;]*)/g, (pair: string, mark: string, name: string, value: string) => {
        if (/token|^(sig|key)$|api_?key/i.test(name)) return `${mark}${name}=${value === "" ? "" : REDACTED}`;
        return `${mark}${name}=${pairs(value)}`;
      });
    const query = fc
      .array(
        fc.constantFrom("?", "&", "#", ";", "=", "token", "sig", "key", "API_KEY", "next", "a1b2", "é", "s3cr3t"),
        {
          maxLength: 12,
        },
      )
      .map((pieces) => pieces.join(""))
      // An `=` without a name before it, or within a value, is a comparison to some, and the beginning of a value to
      // others.
      .filter((text) => !/(?:^|[?&#;=])=|=[^?&#;]*=/.test(text));
    fc.assert(
      fc.property(query, (text) => {
        const url = `https://h.example/?${text}`;
        const shown = JSON.parse(redact(JSON.stringify({ a: [url] })).text) as { a: string[] };
        expect(shown.a[0]).toBe(pairs(url));
      }),
      { numRuns: 3000, examples: [["token=&sig=x"]] },
    );
  });

  it.each([30, 31, 300])("credentials in a URL whose scheme has %i letters are hidden", (n) => {
    expect(redact(`["a${"1".repeat(n)}://u:p@host.example"]`).text).toBe(
      `["a${"1".repeat(n)}://${REDACTED}@host.example"]`,
    );
  });
});

describe("what it tells of the text", () => {
  it.each([
    ["1", 0],
    ["{}", 1],
    ['{"a":[{"b":[]}]}', 4],
    ["[".repeat(10_000), 10_000],
    ['"[[[["', 0],
  ])("the mask finds in %.20s a nesting of %i", (text, depth) => {
    expect(redact(text).depth).toBe(depth);
  });
});

describe("hostile text of half a megabyte", () => {
  const SIZE = 500_000;
  it.each([
    ["question marks in a URL", `"x://a?${"?".repeat(SIZE)}"`],
    ["ampersands in a URL", `"x://a?${"&a".repeat(SIZE / 2)}"`],
    ["names without values", `"x://a?${"a".repeat(SIZE)}"`],
    ["secrets in a URL", `"x://a?${"&sig=x".repeat(SIZE / 6)}"`],
    ["queries in queries", `"x://a?${"?a=".repeat(SIZE / 3)}"`],
    ["at signs", `{"proxy_location":"${"@".repeat(SIZE)}"}`],
    ["no at sign", `{"proxy_location":"${"a:".repeat(SIZE / 2)}"}`],
    ["almost schemes", `"://${"a".repeat(SIZE)}:/"`],
    ["schemes", `"${"a://".repeat(SIZE / 4)}"`],
    ["backslashes", `"${"\\".repeat(SIZE)}"`],
    ["escaped quotes", `"${'\\"'.repeat(SIZE / 2)}"`],
    ["quotes", '"'.repeat(SIZE)],
    ["spaces", `"a"${" ".repeat(SIZE)}"b"`],
    ["brackets", "[".repeat(SIZE)],
    ["keys", `{${'"a":'.repeat(SIZE / 4)}`],
    ["one long key", `{"${"aB".repeat(SIZE / 2)}":1}`],
    ["JSON in text in parameters", `{"parameters":${JSON.stringify("[".repeat(SIZE))}}`],
    ["digits", "1".repeat(SIZE)],
    ["URLs without a query", `["${"x://a ".repeat(SIZE / 12)}","${"x://a ".repeat(SIZE / 12)}"]`],
    ["strings with a URL each", `[${'"x://a",'.repeat(SIZE / 8)}0]`],
    ["one at sign before many URLs", `"x://@${" x://a".repeat(SIZE / 6)}"`],
    ["slashes", `"${"/".repeat(SIZE)}"`],
    ["a webhook's address", `{"webhook_url":"x://a?${"?&#;=".repeat(SIZE / 5)}"}`],
  ])("a hostile text of half a megabyte is masked in time in proportion to its length: %s", (_what, text) => {
    // A quadratic step would take minutes; this bound leaves room for a slow machine.
    expect(cpuMs(() => redact(text))).toBeLessThan(10_000);
  });
});

describe("secrets in unusual places", () => {
  const redact = createRedact();
  it.each([
    [
      '{"parameters":{"pw":"S3cret!1","login_pw":"S3cret!1","session_id":"S3cret!1","code2fa":"S3cret!1","user-key":"S3cret!1"}}',
    ],
    ['{"parameters":{"headers":[{"name":"api_key","value":"S3cret!1"},{"key":"password","value":"S3cret!1"}]}}'],
    [
      '{"parameters":{"headers":[{"value":"S3cret!1","name":"api_key"},{ "value" : "S3cret!1" , "key" : "password" }]}}',
    ],
    [String.raw`{"parameters":{"headers":[{"value":"S3cret!1","\u006e\u0061\u006d\u0065":"api_key"}]}}`],
    ['{"parameters":{"note":"Authorization: Bearer S3cret1"}}'],
    ['{"failure_reason":"the page answered 401 to Authorization: Bearer S3cret1.x/y="}'],
    ['{"failure_reason":"sent bearer S3cret1abc"}'],
    ['{"parameters":{"path":"/p?token=S3cret1&page=2"}}'],
    ['{"request":{"navigation_payload":{"password":"S3cret!1"}}}'],
  ])("a secret in an unusual place is masked: %s", (body) => {
    const { text } = redact(body);
    expect(text).not.toContain("S3cret");
    expect(() => JSON.parse(text)).not.toThrow();
  });

  it.each([
    ['{"parameters":{"fields":[{"name":"city","value":"Berlin"}],"path":"/p?page=2"}}'],
    ['{"parameters":{"fields":[{"value":"Berlin","name":"city"},{"value":"Bonn"},{"name":"password","value":null}]}}'],
    ['{"failure_reason":"Basic information was missing, and the bearer of the card too."}'],
    ['{"output":[{"name":"api_key","value":"what a page said"}]}'],
  ])("a text that only resembles a secret in an unusual place is left: %s", (body) => {
    expect(redact(body).text).toBe(body);
  });

  const S = "S3cr3tM4rk7Q";
  it.each([
    [`see https://h/?token=${S} now`],
    [`{"https://h/?sig=${S}":1}`],
    [`{"login_form":"password=${S}&user=bob"}`],
    [`{"a":"https://bob:it's${S}@h/"}`],
    [`{"a":"https://bob:a/${S}@h/"}`],
    [`{"a":"Authorization: ApiKey ${S}"}`],
    [`{"a":"Cookie: sid=${S}; theme=${S}"}`],
    [`{"a":"https://h/?next=https%3A%2F%2Fs3%2F%3FX-Amz-Signature%3D${S}"}`],
    [`{"a":"https://h/?n=%3Fpassword%3Dab%2526${S}%26x%3D1"}`],
    [`{"proxy_location":"host:8080:user:${S}"}`],
    [`{"parameters":{"http_proxy":"user:${S}:host:8080"}}`],
    [`{"a":["--password","${S}"]}`],
    [`{"a":"${String.raw`{\"password\":\"`}${S}${String.raw`\"}`}"}`],
    [`{"a":"%7B%22password%22%3A%22${S}%22%7D"}`],
    [`{"a":"&quot;password&quot;: &quot;${S}&quot;"}`],
    [`{"a":"pass%77ord=${S}"}`],
    [`{"a":"Response: ${String.raw`{\"extra_http_headers\":{\"x\":\"`}${S}${String.raw`\"}}`}"}`],
    [`{'extra_http_headers': {'a': '${S}'}}`],
    [`{"request_headers":{"X-Tenant":"${S}"},"headers":["X-Foo: ${S}",["X-Bar","${S}"]]}`],
    [`{"request_body":"password=${S}&a=b","b":{"request_body":{"pin":"${S}"}}}`],
    [`{"parameters":{"webhook_url":{"password":"${S}"},"proxy":{"parameters":{"token":"${S}"}}}}`],
    [`{"parameters":{"fields":[{"value":"${S}","type":"text","name":"password"}]}}`],
    [`{"a":"curl -u bob:${S} --token ${S} -H 'X-Api-Key: ${S}' https://h"}`],
    [`{"output":{"password":"${S}"}}`],
    [`{"output":[{"question":"What is the API key","answer":"${S}"},{"title":"Password","content":"${S}"}]}`],
    ["the key is ghp_" + S.repeat(3)],
  ])("a secret is masked in whatever wrapping: %s", (body) => {
    const { text } = redact(body);
    expect(text).not.toContain(S);
    expect(redact(text).text).toBe(text);
    if (isJson(body)) expect(isJson(text)).toBe(true);
  });

  it.each([
    [String.raw`{\"pin\":\"a1b2c3d4\",\"user\":\"bob\"}`, String.raw`{\"pin\":\"[redacted]\",\"user\":\"bob\"}`],
    [`{"parameters":{"password":"hunt`, `{"parameters":{"password":"[redacted]`],
    [String.raw`["password=a1b2c3d4 \q"]`, String.raw`["password=[redacted] \q"]`],
  ])("a secret is masked in what is no JSON, and the rest stays as it is spelt: %s", (body, shown) => {
    expect(redact(body).text).toBe(shown);
    expect(redact(JSON.stringify({ output: body })).text).toBe(JSON.stringify({ output: shown }));
  });

  it("secrets of Skyvern's HTTP blocks are masked: header values, and the body as parameters are", () => {
    const { text } = redact(
      readFileSync(
        new URL("../fixtures/webhook.workflow_run.completed-http-request-secrets-1.0.56.json", import.meta.url),
        "utf8",
      ),
    );
    for (const secret of [
      "sk_live_51Hq8aBcDeFgHiJ",
      "pk_8f2b6c1d9e3a4750",
      "4Zt0pQv9Lk",
      "correct-horse-battery",
      "tok_7d1f0b9e2c",
    ])
      expect(text).not.toContain(secret);
    expect(text).toContain('"request_body":{"password":"[redacted]","name":"x"}');
    expect(text).toContain('"response_body":{"ok":true,"rate":1,"rows":[{"id":1},{"id":2}]}');
  });

  const SIZE = 300_000;
  it.each([
    ["authorization: "],
    ["token:"],
    ["token='x "],
    ["https://a:b"],
    ["a.b:80:"],
    ["eyJ"],
    ["--a "],
    ["%25"],
    ["&amp;"],
    [String.raw`\\`],
    ["token={"],
    ["headers:{'"],
    ["cookie: a=b; "],
    ["-----BEGIN PRIVATE KEY-----"],
    ["password\n"],
    ["password\thunter22\n"],
    ["user,password\nbob,hunter22\n"],
    ["<tr><td>password</td><td>hunter22</td>"],
    ["<input value='x' "],
    ['<a title="'],
    ["password ("],
    ["password for "],
    ["the password is "],
    ["493817 is your code "],
    ["</b>: "],
    ["| "],
    ["a,"],
    [" \n"],
  ])("masking takes linear time, however often %j is repeated", (piece) => {
    redact(piece.repeat(SIZE / piece.length));
    redact(JSON.stringify({ parameters: { a: piece.repeat(SIZE / piece.length) } }));
    // A search that goes over the same text again and again would not end within the test's time.
  });

  it("masking takes linear time on texts made of hints", () => {
    const body = JSON.stringify({ failure_reason: "bearer ".repeat(200_000) + "authorization: ".repeat(50_000) });
    redact(body);
    // A search that goes over the same text again and again would not end within the test's time.
  });
});
