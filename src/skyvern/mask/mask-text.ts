/**
 * Masks a text that is not JSON, or that JSON holds as a string. One grammar covers whatever it contains. It finds
 *
 * - pairs: `name=value`, `name: value`, `"name": "value"`, `--name value`, with the name judged by the list of names;
 * - the same in words: `the name is value`, `name of the portal: value`, `value is your name`;
 * - what stands in the cell of a table, or on the line, behind or below a name ({@link findInCells});
 * - the credentials of URLs, and in their query and fragment what gives access;
 * - what follows `Authorization`, `Cookie`, `Bearer` and the like;
 * - what the elements and form fields of XML and HTML hold, with the name judged as in a pair;
 * - tokens that are recognized by their form, such as `ghp_…` or a JWT.
 *
 * The text is searched as it stands, and once more without its wrappings ({@link unwrap}). Each search moves forward
 * only and looks back a bounded distance, so the time is proportional to the length.
 */
import { discard } from "../../platform/memory/discard.ts";
import { findInCells } from "./beside-names.ts";
import { CELL_SIGNS } from "./cells.ts";
import { findAfterWords, OPTION_HINT, SCHEME_HINT } from "./headers.ts";
import { findInMarkup } from "./markup.ts";
import { findPairs, VERB } from "./pairs.ts";
import { SECRET_FORMS, SECRET_FORMS_HINT } from "./secret-looks.ts";
import { replaceSpans, Spans, type Found, type MaskTextOptions, type TextSpan, type TextView } from "./text-view.ts";
import { unwrap, WRAPPING_HINT } from "./unwrap.ts";
import { BEHIND_COLON_OF_PROXY, findCredentialsInUrls, findProxies } from "./urls.ts";

/** What follows the colon of a pair, and not that of `://`, nor one of the first two of `T11:52:29`. */
const BEHIND_COLON = String.raw`(?!\/\/|(?<=[T:]\d\d:)\d)`;
const TAG_HINT = "<(?=[A-Za-z/])";

/**
 * The blank of a pair in words, between cells, and behind a scheme: one search for all of them is the fastest. A letter
 * or a comma here would make the search of each body three times as slow.
 */
const BLANK_HINT = String.raw`[ \t](?:${VERB}|[ ]|["'(#]?\d{3}(?<=[eEpPaAhHoO].{4,5})|'(?<=,.')|(?<=(?i:token|api[-_ ]?key|bearer|basic|password|passwort|passwd).))`;

const OTHER_HINTS = `${OPTION_HINT}|${TAG_HINT}|${SECRET_FORMS_HINT}|${WRAPPING_HINT}`;
/** The characters without which a text holds nothing to mask except pairs. */
const RARE_HINT = `[@${CELL_SIGNS}]|${SCHEME_HINT}| (?= )|:${BEHIND_COLON_OF_PROXY}|${OTHER_HINTS}`;

/**
 * Matches one character of every string of JSON that {@link maskText} changes; most have none. It does not stop at the
 * colons between the strings, so that one search goes through a whole body.
 */
export const HINT_IN_JSON = new RegExp(
  `:(?:(?<!":)${BEHIND_COLON}|${BEHIND_COLON_OF_PROXY})|${BLANK_HINT}|[=@${CELL_SIGNS}]|${OTHER_HINTS}`,
  "g",
);
const RARE = new RegExp(RARE_HINT);
const HAS_WORD = new RegExp(`${SCHEME_HINT}|${OPTION_HINT}`);
const HAS_CELLS = new RegExp(`[${CELL_SIGNS}]| (?= )|${TAG_HINT}`);
const HAS_PROXY = new RegExp(`:${BEHIND_COLON_OF_PROXY}`);
const HAS_FORM = new RegExp(SECRET_FORMS_HINT);

export function maskText(text: string, options: MaskTextOptions): string {
  let masked = text;
  // Removing one secret may reveal another; each round but the last makes the text shorter or stops.
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const spans = new Spans();
    const hasOnlyPairs = !RARE.test(masked);
    const unwrapped = hasOnlyPairs ? null : unwrap(masked);
    findSecrets({ text: masked, depths: null, isAlone: unwrapped === null }, options, hasOnlyPairs, spans);
    // Both searches use the same text, because what one replaced could hide a name from the other.
    if (unwrapped !== null) {
      const { starts, depths } = unwrapped;
      const found = { push: ([start, end]: TextSpan) => spans.push([starts[start] ?? start, starts[end] ?? end]) };
      findSecrets({ text: unwrapped.text, depths, isAlone: false }, options, false, found);
      discard(starts);
      discard(depths);
    }
    const next = spans.isEmpty ? masked : replaceSpans(masked, spans);
    if (next === masked || hasOnlyPairs) return next;
    masked = next;
  }
  return masked;
}

const MOST_ROUNDS = 4;

function findSecrets(view: TextView, options: MaskTextOptions, hasOnlyPairs: boolean, spans: Found) {
  findPairs(view, options, spans);
  if (hasOnlyPairs) return;
  const { text } = view;
  if (text.includes("@")) findCredentialsInUrls(text, spans);
  if (text.includes("<")) findInMarkup(text, options, spans);
  if (HAS_CELLS.test(text)) findInCells(text, options.readName, spans);
  if (HAS_WORD.test(text)) findAfterWords(text, options, spans);
  if (HAS_PROXY.test(text)) findProxies(text, spans);
  if (HAS_FORM.test(text)) findForms(text, spans);
}

function findForms(text: string, spans: Found) {
  SECRET_FORMS.lastIndex = 0;
  for (let found = SECRET_FORMS.exec(text); found !== null; found = SECRET_FORMS.exec(text))
    spans.push([found.index, found.index + found[0].length]);
}
