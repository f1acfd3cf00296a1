/** The answers `init` needs: from flags, else from the environment, else asked at the terminal. */
import { KINDS } from "../../sinks/kinds.ts";
import type { Shell } from "../command.ts";

export type Answers = Record<string, string>;

/** Variables that `init` uses besides those of the sinks. */
export const OWN_VARIABLES: Readonly<Record<string, string>> = {
  SKYVERN_API_KEY: "Skyvern's API key",
  SKYVERN_BASE_URL: "Skyvern's API; default: https://api.skyvern.com",
  PUBLIC_URL: "the relay's public address, when it has one",
};

/** Variables of the sinks, by kind. */
export const SINK_VARIABLES: readonly { kind: string; names: readonly string[] }[] = KINDS.flatMap(
  ({ kind, shortcut }) => (shortcut ? [{ kind, names: Object.keys(shortcut.variables) }] : []),
);

/** `SLACK_BOT_TOKEN` is `--slack-bot-token`. */
export const flagOf = (variable: string): string =>
  `--${variable
    .replace(/^SKYVERN_API_KEY$/, "key")
    .replace(/^SKYVERN_BASE_URL$/, "base-url")
    .toLowerCase()
    .replaceAll("_", "-")}`;

/** The terminal was closed in the middle, or Ctrl-C was typed. */
export class Closed extends Error {}

export interface QuestionsDeps {
  ask: NonNullable<Shell["ask"]>;
  say(text: string): void;
}

/** The trimmed answer. Rejects with {@link Closed}. */
async function askText({ ask }: QuestionsDeps, question: string, isSecret = false): Promise<string> {
  const answer = await ask(question, { isSecret });
  if (answer === null) throw new Closed();
  return answer.trim();
}

export const askYes = async (asking: QuestionsDeps, question: string): Promise<boolean> =>
  /^y(es)?$/i.test(await askText(asking, `${question} [y/N] `));

/** Asks for the key until there is one. */
export async function askKey(asking: QuestionsDeps): Promise<string> {
  asking.say("Skyvern's API key is on its settings page: https://app.skyvern.com/settings\n");
  for (;;) {
    const key = await askText(asking, "API key: ", true);
    if (key !== "") return key;
  }
}

/** Asks for each unanswered sink kind whether it is wanted, and for its values. */
export async function askSinks(asking: QuestionsDeps, known: Readonly<Answers>): Promise<Answers> {
  const answers: Answers = {};
  for (const { kind, shortcut } of KINDS) {
    if (!shortcut || Object.keys(shortcut.variables).some((name) => known[name] !== undefined)) continue;
    if (!(await askYes(asking, `Send results to ${kind}?`))) continue;
    if (shortcut.setUp !== undefined) asking.say(`${shortcut.setUp}\n`);
    for (const way of shortcut.ways) {
      const [first, ...rest] = way.needs;
      if (first === undefined) continue;
      const isOnly = way === shortcut.ways.at(-1);
      const secret = (name: string): boolean => shortcut.variables[name]?.isSecret === true;
      const value = await askText(asking, `${first}${isOnly ? "" : " (empty: another way)"}: `, secret(first));
      if (value === "") continue;
      answers[first] = value;
      for (const name of rest) answers[name] = await askText(asking, `${name}: `, secret(name));
      break;
    }
  }
  return answers;
}
