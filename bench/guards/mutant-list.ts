/** Guards of docs/security.md, each with the edit that takes it out and the tests that must notice. */
export interface Mutant {
  /** The row of docs/security.md. */
  row: string;
  /** What the edit takes out. */
  guard: string;
  file: string;
  from: string;
  to: string;
  tests: readonly string[];
}

const of = (
  row: string,
  file: string,
  tests: readonly string[],
  edits: readonly [guard: string, from: string, to: string][],
) => edits.map(([guard, from, to]): Mutant => ({ row, guard, file, from, to, tests }));

const RECEIVE = ["test/receive/verify.test.ts", "test/http/webhook.test.ts"];
const CONFIRM = ["test/reconcile/confirm.test.ts"];
const OWNERS = ["test/receive/organizations.test.ts"];
const UNFINISHED = ["test/http/unfinished-requests.test.ts", "test/http/webhook.test.ts"];
const ACCESS = ["test/web/access.test.ts", "test/web/session.test.ts", "test/http/history.test.ts"];
const EGRESS = ["test/net/egress.test.ts"];
const LINKS = ["test/http/links.test.ts", "test/http/artifacts.test.ts"];
const MASK = ["test/skyvern/redact.test.ts", "test/skyvern/mask-text.test.ts", "test/receive/redaction.test.ts"];
const MEDIA = ["test/skyvern/media.test.ts", "test/skyvern/client.test.ts"];

export const MUTANTS: readonly Mutant[] = [
  ...of("Signature", "src/receive/verify.ts", RECEIVE, [
    ["the comparison", "if (timingSafeEqual(wanted, given)) match", "if (wanted.length === given.length) match"],
    ["the form of a signature", "const SIGNATURE = /^[0-9a-f]{64}$/", "const SIGNATURE = /^[0-9a-fA-F]{64}$/"],
    ["empty keys verify nothing", 'if (candidate.key.reveal() === "") continue;', ""],
    ["a missing signature", 'return "missing_signature";', "return null;"],
  ]),
  ...of("Signature", "src/receive/receive.ts", RECEIVE, [
    ["a wrong signature is refused", 'if (typeof webhook === "string")', 'if (typeof webhook === "string" && false)'],
  ]),
  ...of(
    "Signature",
    "src/http/webhook.ts",
    [...RECEIVE, ...UNFINISHED],
    [
      [
        "floods without a right signature are slowed",
        "if (refusals.waitMs(address) > 0)",
        "if (refusals.waitMs(address) > 1e12)",
      ],
      [
        "the channel's characters",
        "if (channel !== null && !CHANNEL.test(channel))",
        "if (channel !== null && CHANNEL.test(channel) && false)",
      ],
      ["a declared length over the limit", "if (declared > limit) return tooLarge(c, channel, deps, limit);", ""],
    ],
  ),
  ...of(
    "Unsigned webhooks",
    "src/receive/verify.ts",
    [...CONFIRM, ...UNFINISHED],
    [
      [
        "an unsigned body is refused unread",
        "return confirms ? MAX_UNSIGNED_BYTES : fault;",
        "return MAX_UNSIGNED_BYTES;",
      ],
      [
        "an unsigned body has 1 MB",
        "const MAX_UNSIGNED_BYTES = 1024 * 1024",
        "const MAX_UNSIGNED_BYTES = 64 * 1024 * 1024",
      ],
    ],
  ),
  ...of("Unsigned webhooks", "src/reconcile/confirm.ts", CONFIRM, [
    ["an address's budget", 'if (!claims.take(from)) return { kind: "unavailable" };', ""],
    ["the budget of questions", 'if (!mayAsk) return { kind: "unavailable" };', ""],
    [
      "the part kept for proven addresses",
      '(proven.has(network) && questions.take("proven"))',
      '(questions.take("proven"))',
    ],
    ["an unknown id is remembered for a minute", "const UNKNOWN_MS = 60_000", "const UNKNOWN_MS = 600_000"],
    ["only Skyvern's no is a no", 'return fault === null ? null : { kind: "unavailable" }', "return null"],
    ["a run that leads elsewhere", 'if (scope !== "all" && !addresses.pointsHere(webhookUrlOf(run))) return null;', ""],
  ]),
  ...of("Unsigned webhooks", "src/reconcile/claimed-run.ts", CONFIRM, [
    ["an id's characters", 'const ID = /^"([A-Za-z0-9_-]{1,100})"$/', 'const ID = /^"([^"]{1,100})"$/'],
  ]),
  ...of(
    "Unsigned webhooks",
    "src/skyvern/api-call.ts",
    [...CONFIRM, "test/skyvern/client.test.ts"],
    [["a proxy's 404", "const isOther = status === 404 && call.notFound?.(body) === false;", "const isOther = false;"]],
  ),
  ...of(
    "Where Skyvern sends",
    "src/receive/intake.ts",
    ["test/receive/test-webhook.test.ts"],
    [["doctor's address reaches no sink", "run.channel === DOCTOR_CHANNEL ? [] : ", ""]],
  ),
  ...of("Organizations", "src/receive/decide.ts", OWNERS, [
    ["another organization's receipt is not settled", "if (!isTheirs)", "if (!isTheirs && false)"],
    ["who is not shown the run settles nothing", "if (!shownTo.includes(organization)) return", "if (false) return"],
    ["the owner's word replaces the lie", "decide(known, isUsurped)", "decide(known, false)"],
    ["sinks of the usurper hear nothing", "if (isUsurped) planned.deliveries", "if (false) planned.deliveries"],
    [
      "an unknown key makes no run another's",
      "deps.organizations.includes(run.organization_id)) run.organization_id = null",
      "false) run.organization_id = null",
    ],
  ]),
  ...of("Organizations", "src/skyvern/normalize.ts", OWNERS, [
    [
      "the key says whose a run is",
      "origin.organization ?? cleanText(payload.organization_id)",
      "cleanText(payload.organization_id) ?? origin.organization",
    ],
  ]),
  ...of("Organizations", "src/store/receipts/accept.ts", OWNERS, [
    [
      "the same bytes by another key are another receipt",
      '`${bodyHash} ${keyName ?? ""}`',
      "`${bodyHash} ${keyName === null}`",
    ],
  ]),
  ...of("Organizations", "src/reconcile/owners.ts", OWNERS, [
    ["no answer decides nothing", "if (fault !== null) {", "if (fault !== null && answers.size > 9) {"],
  ]),
  ...of("Organizations", "src/reconcile/reconcile.ts", OWNERS, [
    [
      "another's word is not known of the owner",
      "!maySpeakFor(outcome, organization, configured)) return false;",
      "false) return false;",
    ],
  ]),
  ...of(
    "Heavy bodies",
    "src/skyvern/large-output.ts",
    ["test/receive/heavy-bodies.test.ts"],
    [
      [
        "an output with too many values is opaque",
        "if (value.values <= MAX_VALUES) continue;",
        "if (value.values > 0) continue;",
      ],
      ["values beside the output", "> MAX_VALUES_BESIDE) return null;", "> 1e12) return null;"],
    ],
  ),
  ...of(
    "Heavy bodies",
    "src/skyvern/redact.ts",
    ["test/receive/heavy-bodies.test.ts"],
    [["deep levels share a frame", "const DEEPEST_FRAME = 10_000", "const DEEPEST_FRAME = 10_000_000_000"]],
  ),
  ...of(
    "Heavy bodies",
    "src/receive/intake.ts",
    ["test/receive/heavy-bodies.test.ts"],
    [
      ["a large body holds up no other", "if (readApart === null ||", "if (readApart !== null ||"],
      ["without a thread it is still read", ".catch(() => maskBody(bytes, redact))", ""],
    ],
  ),
  ...of(
    "Heavy bodies",
    "src/skyvern/payload.ts",
    ["test/receive/bad-input.test.ts", "test/skyvern/payload.test.ts"],
    [["nesting", "if (masked.depth > MAX_DEPTH)", "if (masked.depth > 1e9)"]],
  ),
  ...of("Unfinished requests", "src/http/listen.ts", UNFINISHED, [
    ["time for headers", "headersTimeout: 15_000", "headersTimeout: 0"],
    ["time for a request", "requestTimeout: 30_000", "requestTimeout: 0"],
    ["an answered connection is destroyed", "if (!incoming.complete) destroyLater(incoming.socket, incoming);", ""],
    ["a timed-out connection is destroyed", "    destroyLater(socket, socket);\n", ""],
  ]),
  ...of("Unfinished requests", "src/http/bodies.ts", UNFINISHED, [
    ["a body's deadline", "const DEADLINE_MS = 30_000", "const DEADLINE_MS = 30_000_000"],
    ["a body's least rate", "const LEAST_BYTES = 5 * 1024", "const LEAST_BYTES = 0"],
    ["the budget of bytes", "others === 0 || others + size <=", "others >= 0 || others + size <="],
    ["one body's limit", 'if (reading.size > limit) return "too_large";', ""],
  ]),
  ...of(
    "Probes",
    "src/http/probes.ts",
    ["test/http/probes.test.ts"],
    [
      [
        "those who ask share a write",
        "performance.now() - last.endedAt >= PING_FRESH_MS",
        "performance.now() >= last.endedAt",
      ],
      ["a stalled loop is not ready", 'if (isStalled()) return "the delivery loop has stalled";', ""],
    ],
  ),
  ...of("Tokens", "src/http/auth.ts", ACCESS, [
    [
      "a token is compared",
      "found = timingSafeEqual(one, given) || found",
      "found = one.length === given.length || found",
    ],
    ["without a token nobody gets in", "if (!gate.isOpen) return problem(c, 403, CLOSED);", ""],
    [
      "every address below /v1 asks for it",
      "if (admission.isRight) return next();",
      "if (admission.isRight || token === null) return next();",
    ],
  ]),
  ...of(
    "Tokens",
    "src/config/environment.ts",
    ["test/config/faults.test.ts"],
    [["a token's length", "token.length >= 16", "token.length >= 0"]],
  ),
  ...of("Wrong tokens", "src/http/auth.ts", ACCESS, [
    ["wrong tokens are slowed", "this.#wrong.count(address);", ""],
    ["a throttled flood is logged once", "const LINES_OF_ONE = { burst: 11,", "const LINES_OF_ONE = { burst: 1_000,"],
    [
      "a right token passes at once",
      "return this.#isToken(token) ? { isRight: true, token }",
      "return this.#isToken(token) && this.#wrong.waitMs(this.#addressOf(c)) === 0 ? { isRight: true, token }",
    ],
  ]),
  ...of(
    "Wrong tokens",
    "src/http/listen.ts",
    ["test/http/token-address.test.ts"],
    [
      [
        "an address is the host's",
        "const { incoming } =",
        'const forwarded = c.req.header("x-forwarded-for");\n  if (forwarded !== undefined) return forwarded;\n  const { incoming } =',
      ],
    ],
  ),
  ...of("Sessions", "src/web/login/session.ts", ACCESS, [
    ["a session's signature", 'isEqual(mac(one, ["session", id, expires]), signature)', "signature.length === 32"],
    ["a session's end", "Number(expires) <= runtime.now() ||", ""],
    ["a log-out", "|| (await ended.has(id))", ""],
    ["a form's own token", "isEqual(Buffer.from(csrf), Buffer.from(field))", "field.length > 0"],
  ]),
  ...of("Sessions", "src/web/page-context.ts", ACCESS, [
    ["pages ask for a session", "if (session === null) return toLogin(c);", ""],
    [
      "forms from elsewhere",
      "if (isOwnOrigin({ fetchSite, origin, host }, deps.publicUrl)) return next();",
      "return next();",
    ],
    ["a form's size", "const FORM_LIMIT = 16_384", "const FORM_LIMIT = 16_384_000"],
  ]),
  ...of("Sessions", "src/web/login/origin.ts", ACCESS, [
    [
      "a login leads to the relay's pages alone",
      "origin === NOWHERE && PAGES.test(path) ? path",
      "origin !== null ? path",
    ],
  ]),
  ...of("Sessions", "src/web/live.ts", ACCESS, [
    ["places of live streams", "after === null || places.isFull", "after === null"],
    ["a stream ends with its session", "if (await isOver()) return;", ""],
  ]),
  ...of(
    "A removed token or key",
    "src/app/relay.ts",
    ["test/app/reload.test.ts"],
    [
      ["keys in force verify", "keys: () => this.#current.app.config.keys", "keys: () => config.keys"],
      ["a change does not wait for the one before", "await turn;", "await turn;\n    await this.#handover;"],
    ],
  ),
  ...of("Requests", "src/net/egress.ts", EGRESS, [
    ["addresses are checked", "if (range !== null) throw", "if (range !== null && false) throw"],
    ["the checked addresses are connected to", "lookup: pinnedTo(addresses),", ""],
    ["other schemes", 'if (protocol !== "http:" && protocol !== "https:")', "if (protocol === null)"],
    ["redirects are not followed", 'redirect: "manual", dispatcher', 'redirect: "follow", dispatcher'],
    ["an answer's length", "if (size > maxBytes) giveUp(new BodyTooLong());", ""],
    ["certificates", "rejectUnauthorized: true,\n", "rejectUnauthorized: false,\n"],
  ]),
  ...of(
    "Requests",
    "src/net/egress.ts",
    ["test/net/proxy.test.ts"],
    [["certificates behind a proxy", "rejectUnauthorized: true })", "rejectUnauthorized: false })"]],
  ),
  ...of("Requests", "src/net/networks.ts", EGRESS, [
    [
      "IPv6 outside of what is assigned",
      'ip.kind() === "ipv4" || ip.match(GLOBAL_UNICAST) ? null',
      'ip.kind() !== "x" ? null',
    ],
    ["what is not unicast", 'if (range !== "unicast") return range;', ""],
  ]),
  ...of("Requests", "src/skyvern/api-call.ts", MEDIA, [
    ["the key goes to Skyvern's origin alone", "isOurs &&= url.origin === context.base.origin;", ""],
  ]),
  ...of("Links to artifacts", "src/http/links.ts", LINKS, [
    ["a link's signature", "timingSafeEqual(given, wanted)", "true"],
    ["a link's end", "&& Number(exp) * 1000 > now()", ""],
    [
      "a link opens one artifact",
      'JSON.stringify(["artifact", runId, artifact, exp])',
      'JSON.stringify(["artifact", runId, exp])',
    ],
  ]),
  ...of("Links to artifacts", "src/skyvern/artifacts/media.ts", MEDIA, [
    ["a reader is sent nowhere that the relay would not go", "permit(url, inTime)", "Promise.resolve()"],
    [
      "a copy goes first",
      "if (isArtifactId(key)) return (await this.#openCopy",
      'if (key === "") return (await this.#openCopy',
    ],
    ["a part that nobody asked for", "status === 206 && (range === undefined ||", "status === 206 && (false ||"],
  ]),
  ...of("Links to artifacts", "src/skyvern/artifacts/artifact-url.ts", MEDIA, [
    ["a URL that poses as another", 'parsed.username !== "" || parsed.password !== ""', "parsed.href === url + url"],
  ]),
  ...of("Links to artifacts", "src/http/artifacts.ts", LINKS, [
    ["an artifact asks for one", "if (!(await mayOpen(c, deps, runId, key)))", "if (false)"],
  ]),
  ...of(
    "Text",
    "src/platform/hostile-text.ts",
    ["test/platform/hostile-text.test.ts", "test/sinks/contract.test.ts"],
    [
      ["deceiving characters", '.replace(EACH, "")', ""],
      [
        "links that clients make",
        "withoutDeceiving(text).replace(AUTOLINK_JOINTS, WORD_JOINER)",
        "withoutDeceiving(text)",
      ],
    ],
  ),
  ...of(
    "Text",
    "src/sinks/slack/text.ts",
    ["test/sinks/slack/blocks.test.ts", "test/sinks/contract.test.ts"],
    [
      ["Slack's markup", '.replaceAll("<", "&lt;")', ""],
      ["links in Slack's fallback", 'defuse(text).replaceAll("\\t", " ")', 'text.replaceAll("\\t", " ")'],
    ],
  ),
  ...of(
    "Text",
    "src/http/api/csv.ts",
    ["test/http/exports.test.ts"],
    [["formulas in CSV", "? `'${value}` : value", "? value : value"]],
  ),
  ...of(
    "Text",
    "src/web/layout.ts",
    ["test/web/access.test.ts", "test/web/hostile.test.ts"],
    [["no inline script", "\"script-src 'self'\"", "\"script-src 'self' 'unsafe-inline'\""]],
  ),
  ...of(
    "Text",
    "src/sinks/attachments.ts",
    ["test/sinks/attachments.test.ts", "test/http/artifacts.test.ts"],
    [["separators in file names", "\\n\\t\\/", "\\n\\t"]],
  ),
  ...of("What is masked before the disk", "src/skyvern/redact.ts", MASK, [
    ["header values", "if (/(http|connect)_?headers$/.test(lower)", "if (/(nothing)_?headers$/.test(lower)"],
    ["one-time codes", 'lower.startsWith("totp")', 'lower.startsWith("nothing")'],
    ["parameters", "/^(?:parameters|run_metadata", "/^(?:nothing|run_metadata"],
    ["proxies", 'if (lower.startsWith("proxy")', 'if (lower.startsWith("nothing")'],
    ["webhook addresses", "if (/^webhook.*url$/.test(lower)) return WEBHOOK;", ""],
    ["bodies that are no JSON", "isJson ? text : maskText(text, { readName, byName: false })", "text"],
    ["keys", "if (key.masked !== name) this.edits", "if (false) this.edits"],
  ]),
  ...of("What is masked before the disk", "src/skyvern/mask/mask-text.ts", MASK, [
    ["tokens of a known form", "if (HAS_FORM.test(text)) findForms(text, spans);", ""],
    ["credentials in URLs", 'if (text.includes("@")) findCredentialsInUrls(text, spans);', ""],
    ["what stands behind Authorization", "if (HAS_WORD.test(text)) findAfterWords(text, options, spans);", ""],
    ["proxies in texts", "if (HAS_PROXY.test(text)) findProxies(text, spans);", ""],
    ["cells and lines", "if (HAS_CELLS.test(text)) findInCells(text, options.readName, spans);", ""],
    ["wrappings", "hasOnlyPairs ? null : unwrap(masked)", "null as ReturnType<typeof unwrap> | null"],
  ]),
  ...of("What is masked before the disk", "src/skyvern/mask/pairs.ts", MASK, [
    ["pairs in words", "HAS_BLANK.test(text) ? SIGN_OR_WORD : SIGN;", "SIGN;"],
  ]),
  ...of(
    "On disk, and in the package",
    "src/main.ts",
    ["test/app/files.test.ts"],
    [["umask", "process.umask(0o077);", ""]],
  ),
  ...of(
    "On disk, and in the package",
    "src/app/trusted-file.ts",
    ["test/app/trusted-files.test.ts"],
    [
      ["a file that others can write", "if (own?.isFile() && isOpen(own)) return path;", ""],
      ["a folder that others can write", "if (!isOurs) return folder;", ""],
    ],
  ),
  ...of(
    "On disk, and in the package",
    "src/app/relay.ts",
    ["test/app/trusted-files.test.ts"],
    [
      [
        "a database that others could replace",
        "if (exposed !== null) log.warn",
        "if (exposed === database.kind) log.warn",
      ],
    ],
  ),
  ...of(
    "On disk, and in the package",
    "scripts/node-env.sh",
    ["test/app/trusted-files.test.ts"],
    [["a Node that others can write", 'if [ -n "$relay_open" ]; then', "if false; then"]],
  ),
];
