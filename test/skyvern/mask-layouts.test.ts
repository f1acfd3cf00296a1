/** Secrets that stand in words, in tables and on lines of their own, and what looks like these and holds none. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createRedact, REDACTED } from "../../src/skyvern/redact.ts";

const redact = createRedact();

type Write = (name: string, value: string) => string;

const IN_WORDS: Write[] = [
  (n, v) => `the ${n} is ${v}`,
  (n, v) => `The ${n} was "${v}".`,
  (n, v) => `Your ${n} is: ${v}`,
  (n, v) => `Your ${n} is now ${v}`,
  (n, v) => `the ${n} for the customer portal is ${v}.`,
  (n, v) => `${n} of bob@example.com: ${v}`,
  (n, v) => `${n} (temporary) = ${v}`,
  (n, v) => `The ${n} you asked for is '${v}'`,
  (n, v) => `Please use ${v} as your ${n}.`,
  (n, v) => `${v} is your new ${n}`,
  (n, v) => `code: ${v} is your ${n} for today`,
  (n, v) => `Typed "${v}" into the ${n} field`,
  (n, v) => `Enter ${v} into the ${n} box.`,
  (n, v) => `${n} - ${v}`,
  (n, v) => `${n} — ${v}`,
  (n, v) => `${n} -> ${v}`,
  (n, v) => `**${n}**: ${v}`,
  (n, v) => `- **${n}:** \`${v}\``,
  (n, v) => `The **${n}** is **${v}**.`,
  (n, v) => `<strong>${n}</strong>: ${v}`,
  (n, v) => `fill('${n}', '${v}')`,
  (n, v) => `${n}=[${v}]`,
  (n, v) => `page.locator("#${n}").fill("${v}")`,
  (n, v) => `config["${n}"] = "${v}"`,
  (n, v) => `${n} = """${v}"""`,
  (n, v) => `${n}:\u00a0${v}`,
];

const IN_PLACES: Write[] = [
  (n, v) => `${n}\n${v}`,
  (n, v) => `${n}:\r\n${v}\r\n`,
  (n, v) => `Account\nUser\nbob\n${n}\n\n${v}\nCopy`,
  (n, v) => `Your ${n} is:\n\n${v}\n\nIt expires in 10 minutes.`,
  (n, v) => `- ${n} *\n- ${v}`,
  (n, v) => `> ${n}:\n> ${v}`,
  (n, v) => `${n}: >-\n  ${v}\n`,
  (n, v) => `- name: ${n}\n  value: ${v}`,
  (n, v) => `${n}\t${v}`,
  (n, v) => `${n}   ${v}`,
  (n, v) => `user\t${n}\trole\nbob\t-\tadmin\nal\t${v}\tguest`,
  (n, v) => `USER     ${n}      ROLE\nbob      ${v}      admin`,
  (n, v) => `user,${n}\nbob,${v}`,
  (n, v) => `Here they are:\n\nid;"${n}";role\n1;"${v}";admin\n`,
  (n, v) => `field,value\nuser,"Doe, Jane"\n${n},${v}`,
  (n, v) => `| ${n} | ${v} |`,
  (n, v) => `User | ${n}\n--- | ---\nbob | ${v}`,
  (n, v) => `| User | **${n}** |\n| :--- | ---: |\n| bob | \`${v}\` |`,
  (n, v) => `+-----+-----+\n| user | ${n} |\n+-----+-----+\n| bob | ${v} |\n+-----+-----+`,
  (n, v) => `│ ${n} │ ${v} │`,
  (n, v) => `| | ${n} |\n|---|---|\n| bob | ${v} |`,
  (n, v) => `\t${n}:\n\t\t${v}`,
  (n, v) => `<td>${n}</td><td><!-- as shown --> ${v}</td>`,
  (n, v) => `<td>${n}</td><td>${v}</td>`,
  (n, v) => `<tr>\n <th title="a > b"><b>${n}:</b></th>\n <td><code>${v}</code></td>\n</tr>`,
  (n, v) =>
    `<table><tr>\n<th>User</th>\n<th>${n}</th></tr>\n<tr>\n<td></td>\n<td>\n${v}\n</td>\n</tr><tr><td>al</td><td>${v}</td></tr></table>`,
  (n, v) => `<dl>\n<dt>User</dt>\n<dd>bob</dd>\n<dt>${n}</dt>\n<dd>${v}</dd>\n</dl>`,
  (n, v) => `<div><div>${n}</div><div>${v}</div></div>`,
  (n, v) => `<p>Your ${n} is <b>${v}</b>.</p>`,
  (n, v) => `${n}<br>${v}<br>`,
  (n, v) => `### ${n}:\n\`\`\`\n${v}\n\`\`\``,
  (n, v) => `<label>${n}</label>\n<input type="text" value="${v}">`,
  (n, v) => `<input aria-label="${n}" value="${v}">`,
  (n, v) => `<input id=x placeholder="${n}" value='${v}'>`,
];

const ANYWHERE: ((text: string) => string)[] = [
  (text) => text,
  (text) => JSON.stringify({ output: text }),
  (text) => JSON.stringify({ parameters: { note: text } }),
  (text) => JSON.stringify({ failure_reason: `Before it.\n${text}\nAfter it.` }),
  (text) => JSON.stringify({ output: JSON.stringify({ text }) }),
  // The mask does not decode UTF-8 behind percent signs.
  (text) =>
    JSON.stringify({
      output: text.replace(/[!-/:-@[-`{-~\s]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`),
    }),
];

const SECRETS = [
  ["password", "hunter22"],
  ["Admin password", "S3cr3t!Pw9"],
  ["API key", "k3yV4lue9"],
  ["access_token", "9f86d081884c7d659a2feaa0c55ad015"],
  ["verification code", "493817"],
  ["OTP", "493-817"],
  ["one-time password", "493 817"],
] as const;

const left = (write: Write): string[] =>
  SECRETS.flatMap(([name, value]) =>
    ANYWHERE.map((place) => redact(place(write(name, value))).text).filter(
      (text) => text.includes(value) || text.includes(encodeURIComponent(value)),
    ),
  );

it.each(IN_WORDS.map((write) => [write("NAME", "VALUE"), write] as const))(
  "a secret in words is masked: %s",
  (_text, write) => {
    expect(left(write)).toEqual([]);
  },
);

it.each(IN_PLACES.map((write) => [write("NAME", "VALUE"), write] as const))(
  "a secret beside its name or below it is masked: %j",
  (_text, write) => {
    expect(left(write)).toEqual([]);
  },
);

it.each([
  "log in as bob with password hunter22 and go on",
  "enter the password 'hunter22'",
  "ALTER USER bob WITH PASSWORD 'hunter22'",
  "set the password to hunter22",
  "filled the password field with hunter22",
  'set the value of the API key field to "k3yV4lue9"',
  "typed 'hunter22' in the password field",
  "the API key k3yV4lue9 was used",
  "verification code 493817 was not accepted",
  "one-time password: 493 817",
])("a secret directly behind its name is masked: %s", (text) => {
  for (const place of ANYWHERE) {
    const shown = redact(place(text)).text;
    expect(shown).not.toMatch(/hunter22|k3yV4lue9|493817|493 817/);
    expect(decodeURIComponent(shown)).toContain(REDACTED);
  }
});

it("no value of any form is left, whichever way it follows its name", () => {
  const letters = Array.from("abcdefghkmnpqrstuvwxyzABCDEFGHKMNPQRSTUVWXYZ23456789");
  const value = fc
    .string({ unit: fc.constantFrom(...letters), minLength: 8, maxLength: 24 })
    .map((text) => `Zq7${text}x9`);
  const name = fc.constantFrom("password", "Passwort", "API key", "api_key", "Access token", "client secret", "OTP");
  fc.assert(
    fc.property(
      fc.constantFrom(...IN_WORDS, ...IN_PLACES),
      name,
      value,
      fc.constantFrom(...ANYWHERE),
      (write, called, secret, place) => {
        const once = redact(place(write(called, secret))).text;
        expect(once).not.toContain(secret);
        expect(redact(once).text).toBe(once);
      },
    ),
    { numRuns: 3_000 },
  );
});

/** `\n` and `\t` stand for themselves. */
const HARMLESS = readFileSync(new URL("ordinary-layouts.txt", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => line.replaceAll("\\n", "\n").replaceAll("\\t", "\t"));

it("nothing is masked in failures, pages and tables that speak of secrets and hold none", () => {
  expect(HARMLESS.length).toBeGreaterThan(200);
  const places = ANYWHERE.filter((_place, i) => i !== 2);
  const hidden = HARMLESS.flatMap((text) => places.map((place) => place(text))).filter(
    (body) => redact(body).text !== body,
  );
  expect(hidden).toEqual([]);
});
