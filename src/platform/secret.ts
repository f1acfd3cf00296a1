import { inspect } from "node:util";

/** A value that must not be printed: every conversion to text gives `[secret]`. `reveal()` returns the value. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return "[secret]";
  }
  toJSON(): string {
    return "[secret]";
  }
  [inspect.custom](): string {
    return "[secret]";
  }
}

/** A value as text with its secrets, for comparison only. */
export const toComparableText = (value: unknown): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, key: string, item: unknown) {
    const given = this[key];
    return given instanceof Secret ? `secret ${given.reveal()}` : item;
  }) ?? "";

/** A token without the name that may stand before it in RELAY_TOKEN: `ops:…`. */
export const withoutName = (token: string): string => token.replace(/^[\w-]{1,40}:/, "");
