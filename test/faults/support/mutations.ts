/** Requests nobody meant: the ones the relay knows, bent by chance. */
import { signatureOf } from "../../support/fixtures.ts";
import type { Chance } from "./chance.ts";

export interface Shot {
  method: string;
  /** Path and query, as it goes over the wire. */
  target: string;
  headers: Record<string, string>;
  body: Buffer | null;
  /** It carries a right token or session. */
  isAuthorized: boolean;
  /** It carries a right signature of its body. */
  isSigned: boolean;
}

export interface Known {
  token: string;
  /** A session's cookie. */
  cookie: string;
  runIds: readonly string[];
  receiptIds: readonly string[];
  /** Genuine bodies to start from. */
  bodies: readonly Buffer[];
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE", "post", "QUERY"];
const PATHS = [
  "/webhook",
  "/webhook/",
  "/webhook/invoices",
  "/",
  "/healthz",
  "/readyz",
  "/metrics",
  "/openapi.json",
  "/v1/runs",
  "/v1/runs/RUN",
  "/v1/runs/RUN/receipts/RECEIPT/raw",
  "/v1/runs/RUN/redeliver",
  "/v1/runs/RUN/why",
  "/v1/receipts/unrecognized",
  "/v1/receipts/RECEIPT/raw",
  "/v1/deliveries",
  "/v1/redeliver",
  "/v1/sinks",
  "/v1/sinks/http/resume",
  "/v1/sinks/http/test",
  "/artifacts/RUN/recording",
  "/artifacts/RUN/a_1",
  "/login",
  "/logout",
  "/runs",
  "/runs/RUN",
  "/runs/RUN/output.json",
  "/runs/RUN/media/recording",
  "/runs/RUN/receipts/RECEIPT",
  "/runs/RUN/receipts/RECEIPT/raw",
  "/runs/RUN/redeliver",
  "/unrecognized",
  "/unrecognized/RECEIPT",
  "/sinks",
  "/deliveries",
];
const PARAMETERS = [
  "status",
  "run_type",
  "workflow",
  "sink",
  "delivery",
  "state",
  "since",
  "until",
  "limit",
  "cursor",
  "after",
  "run_id",
  "q",
  "to",
  "exp",
  "sig",
  "queued",
  "__proto__",
  "constructor",
];
/** Texts that break what is careless. None is a right value. */
const NASTY = [
  "",
  " ",
  "0",
  "-1",
  "1e999",
  "NaN",
  "9007199254740993",
  "null",
  "undefined",
  "true",
  "[]",
  "{}",
  "'",
  '"',
  "' OR 1=1 --",
  "%",
  "_%",
  "\u0000",
  "\ud800",
  "\u202e",
  "é😀",
  "../../etc/passwd",
  "//evil.example",
  "http://169.254.169.254/",
  "javascript:alert(1)",
  "<script>alert(1)</script>",
  "${7*7}",
  "2026-13-45T99:99:99Z",
  "+275760-09-13T00:00:00.001Z",
  "2026-01-20T12:00:00Z",
  "WzEsIngiXQ",
  "W251bGwsbnVsbF0",
  "a".repeat(70),
  "a".repeat(5_000),
  "\r\nset-cookie: a=b",
];
const TYPES = [
  "application/json",
  "application/json; charset=utf-16",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "multipart/form-data; boundary=x",
  'multipart/form-data; boundary=""',
  "text/plain",
  "application/octet-stream",
  "nonsense",
  "",
];
const JSON_BODIES = [
  "{}",
  "[]",
  "null",
  "1",
  '"x"',
  '{"sinks":[]}',
  '{"sinks":["http"]}',
  '{"sinks":[null]}',
  '{"state":"dead","dry_run":true}',
  '{"state":"nonsense"}',
  '{"sink":["http"],"since":"2026-01-20","dry_run":true}',
  '{"since":1e999}',
  '{"dry_run":"yes"}',
  '{"__proto__":{"a":1}}',
  '{"a":1,"a":2}',
  "{",
  '{"run_id":"tsk_x"}',
  '{"run_id":"tsk_x","status":"completed"}',
  '{"run_id":{"$gt":""},"status":"completed"}',
  '{"run_id":"tsk_x","status":["completed"],"output":1e400}',
];
const FORMS = [
  "token=wrong",
  "token=",
  "to=//evil.example&token=x",
  "csrf=x&sink=http",
  "a=%",
  "--x\r\n\r\n--x--",
  "--x--",
];

/** One request, bent in as many ways as chance will have it. */
export function aShot(chance: Chance, known: Known): Shot {
  const { method, path } = start(chance);
  const named = path
    .replace("RUN", () => (chance.happens(0.8) ? chance.oneOf(known.runIds) : nastyPart(chance)))
    .replace("RECEIPT", () => (chance.happens(0.8) ? chance.oneOf(known.receiptIds) : nastyPart(chance)));
  const target = `${chance.happens(0.3) ? bentPath(chance, named) : named}${query(chance)}`;
  const body = method === "GET" || method === "HEAD" ? null : bodyOf(chance, known);
  const login = chance.happens(0.4) ? loginOf(chance, known) : { headers: {}, isAuthorized: false };
  const signature = body === null ? { headers: {}, isSigned: false } : signed(chance, body);
  const headers = { ...login.headers, ...signature.headers, ...oddHeaders(chance) };
  return { method, target, headers, body, isAuthorized: login.isAuthorized, isSigned: signature.isSigned };
}

function start(chance: Chance): { method: string; path: string } {
  // A good half are webhooks: they are what strangers can send.
  if (chance.happens(0.45)) {
    return { method: "POST", path: chance.oneOf(["/webhook", "/webhook/", "/", "/webhook/invoices"]) };
  }
  const path = chance.oneOf(PATHS);
  if (chance.happens(0.3)) return { method: chance.oneOf(METHODS), path };
  return { method: /redeliver|resume|test$|log(in|out)/.test(path) ? "POST" : "GET", path };
}

const nastyPart = (chance: Chance): string => encoded(chance.oneOf(NASTY)).slice(0, 2_000) || "%20";

/** Percent-encoded; half a surrogate pair as the bytes a careless client would send. */
const encoded = (text: string): string => encodeURIComponent(text.toWellFormed());

function bentPath(chance: Chance, path: string): string {
  const at = chance.between(1, path.length + 1);
  const piece = chance.oneOf([
    "/",
    "//",
    "/../",
    "%2e%2e/",
    "%2F",
    "%00",
    "%",
    "%E0%A4%A",
    "%ff",
    ";x",
    "/.",
    "\\",
    "*",
    "é",
  ]);
  return chance.happens(0.2) ? path.slice(0, at) : path.slice(0, at) + piece + path.slice(at);
}

function query(chance: Chance): string {
  if (!chance.happens(0.4)) return "";
  const pairs = Array.from({ length: chance.between(1, 5) }, () => {
    const name = chance.happens(0.9) ? chance.oneOf(PARAMETERS) : nastyPart(chance);
    return chance.happens(0.1) ? name : `${name}=${nastyPart(chance)}`;
  });
  return `?${pairs.join(chance.happens(0.9) ? "&" : "&&")}`;
}

function bodyOf(chance: Chance, { bodies }: Known): Buffer {
  const draw = chance.next();
  if (draw < 0.05) return Buffer.alloc(0);
  if (draw < 0.35) return Buffer.from(chance.oneOf(JSON_BODIES));
  if (draw < 0.45) return Buffer.from(chance.oneOf(FORMS));
  if (draw < 0.5) return Buffer.from(Array.from({ length: chance.between(0, 300) }, () => chance.between(0, 256)));
  const genuine = chance.oneOf(bodies);
  return draw < 0.75 ? bentBytes(chance, genuine) : bentValue(chance, genuine);
}

/** Some bytes changed, left out or doubled. */
function bentBytes(chance: Chance, bytes: Buffer): Buffer {
  let bent = Buffer.from(bytes);
  for (let i = chance.between(1, 5); i > 0; i -= 1) {
    const at = chance.between(0, bent.length);
    const length = chance.between(1, 20);
    if (chance.happens(0.4)) bent[at] = chance.between(0, 256);
    else if (chance.happens(0.5)) bent = Buffer.concat([bent.subarray(0, at), bent.subarray(at + length)]);
    else bent = Buffer.concat([bent.subarray(0, at + length), bent.subarray(at)]);
    if (bent.length === 0) return bent;
  }
  return bent;
}

/** One or two of its members with another value, of any type. */
function bentValue(chance: Chance, bytes: Buffer): Buffer {
  const value = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
  for (let i = chance.between(1, 3); i > 0; i -= 1) {
    const name = chance.oneOf(Object.keys(value));
    value[name] = chance.oneOf<() => unknown>([
      () => null,
      () => chance.oneOf(NASTY),
      () => chance.between(-5, 5),
      () => 1e300,
      () => true,
      () => [],
      () => [chance.oneOf(NASTY), null, {}],
      () => ({ [chance.oneOf(NASTY)]: chance.oneOf(NASTY) }),
      () => value,
    ])();
    if (value[name] === value) value[name] = structuredClone({ ...value, [name]: null });
  }
  return Buffer.from(JSON.stringify(value));
}

function loginOf(chance: Chance, { token, cookie }: Known): Pick<Shot, "headers" | "isAuthorized"> {
  const draw = chance.next();
  if (draw < 0.45) return { headers: { authorization: `Bearer ${token}` }, isAuthorized: true };
  if (draw < 0.75) return { headers: { cookie, ...ownForm(chance) }, isAuthorized: true };
  const wrong = chance.oneOf<Record<string, string>>([
    { authorization: "Bearer" },
    { authorization: `Bearer ${token}x` },
    { authorization: `Bearer ${token.slice(0, -1)}` },
    { authorization: `Basic ${Buffer.from(`:${token}`).toString("base64")}` },
    { authorization: token },
    { cookie: cookie.slice(0, -2) },
    { cookie: `${cookie.split("=")[0]}=` },
    { cookie: "__proto__=1; =; ;;" },
  ]);
  return { headers: wrong, isAuthorized: false };
}

const ownForm = (chance: Chance): Record<string, string> =>
  chance.happens(0.7)
    ? { "sec-fetch-site": "same-origin" }
    : { origin: chance.oneOf(["null", "https://evil.example", "%"]) };

function signed(chance: Chance, body: Buffer): Pick<Shot, "headers" | "isSigned"> {
  const draw = chance.next();
  const right = signatureOf(body);
  const stamp: Record<string, string> = chance.happens(0.5)
    ? { "x-skyvern-timestamp": latin(chance.oneOf(NASTY)) }
    : {};
  if (draw < 0.6) return { headers: { ...stamp, "x-skyvern-signature": right }, isSigned: true };
  if (draw < 0.8) return { headers: stamp, isSigned: false };
  const wrong = chance.oneOf([
    right.toUpperCase().replace(/^\d*$/, "A".repeat(64)),
    `sha256=${right}`,
    right.slice(1),
    `${right.slice(1)}${right[0] === "0" ? "1" : "0"}`.replace(right, "0".repeat(64)),
    "0".repeat(64),
    latin(chance.oneOf(NASTY)),
    `${right}, ${right}`,
  ]);
  return { headers: { ...stamp, "x-skyvern-signature": wrong }, isSigned: wrong === right };
}

function oddHeaders(chance: Chance): Record<string, string> {
  const headers: Record<string, string> = {};
  if (chance.happens(0.7)) headers["content-type"] = chance.oneOf(TYPES);
  if (chance.happens(0.1))
    headers["accept"] = chance.oneOf(["image/*", "*/*", "text/html", latin(chance.oneOf(NASTY))]);
  if (chance.happens(0.05)) headers["range"] = chance.oneOf(["bytes=0-", "bytes=9-1", "bytes=-0", "x"]);
  if (chance.happens(0.05)) headers["x-forwarded-for"] = latin(chance.oneOf(NASTY));
  if (chance.happens(0.05)) headers["content-encoding"] = chance.oneOf(["gzip", "br", "x"]);
  if (chance.happens(0.05)) headers["if-none-match"] = latin(chance.oneOf(NASTY));
  return headers;
}

/** What may stand in a header. */
const latin = (text: string): string => text.replace(/[^\t\x20-\x7e\xa0-\xff]/g, "?").trim();

/** As bytes for a socket, with a length that is mostly right, then perhaps cut or with bits turned. */
export function wireOf(chance: Chance, { method, target, headers, body }: Shot): Buffer {
  const length = chance.happens(0.95) ? (body?.length ?? 0) : chance.oneOf([-1, 1e9, 3]);
  const lines = Object.entries({ host: "relay", connection: "close", ...headers, "content-length": String(length) });
  const head = `${method} ${target} HTTP/1.${chance.happens(0.97) ? 1 : 7}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  const bytes = Buffer.concat([Buffer.from(head, "latin1"), body ?? Buffer.alloc(0)]);
  const draw = chance.next();
  if (draw < 0.1) return bytes.subarray(0, chance.between(1, bytes.length + 1));
  if (draw < 0.25) {
    for (let i = chance.between(1, 4); i > 0; i -= 1) bytes[chance.between(0, bytes.length)] = chance.between(0, 256);
  }
  return bytes;
}
