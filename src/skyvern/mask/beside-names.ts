/** Finds what stands beside a name or below it, in the cells of a table or on the lines of a text. */
import { judgeCells } from "./cells.ts";
import { LONGEST_NAME, readPair } from "./name-before.ts";
import { isPlaceholder, isSecretValue, MOST_JUDGED } from "./secret-looks.ts";
import { Named, type ReadName } from "./secret-names.ts";
import { isLetterOrDigit, type Found } from "./text-view.ts";

/** What may stand between a name and the end of its cell: `Your password is:`, `Password (new) *`, `password: >-`. */
const BEHIND_NAME = /(?:[ \t](?:is|was|ist))?(?:[\s=:*>"'\x60-]|[ \t]\([^()]{0,40}\)){0,9}$/;
const ENDS_WITH_VERB = /[ \t](?:is|was|ist)$/;
/** What stands before the last word of a name and belongs to it. */
const WHOLE = /^["']?(?:[\w-]+ ){0,2}$/;
/** What makes a name the subject of a complaint: `wrong password`. */
const COMPLAINT =
  /\b(?:wrong|invalid|incorrect|bad|missing|expired|unknown|no|forgot|forgotten)[ \t]{1,9}(?:\w{1,20}[ \t]{1,9})?$/i;
const MAIL_ADDRESS = /^[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,9}[a-z]{2,}$/i;
/** What may stand around a value in its cell: `**…**`, `value: …`. */
const AROUND_VALUE = /^((?:val(?:ue)?[ \t]{0,3}[:=][ \t]{0,3})?(["'*_\x60]{0,3}))(.+)\2$/;

/** Here the value must look like a secret, even where a name alone is enough elsewhere. */
export function findInCells(text: string, readName: ReadName, spans: Found) {
  judgeCells(text, {
    readName: (start, end, isWhole) => {
      const ending = text.slice(Math.max(start, end - LONGEST_NAME), end);
      const isAtEnd = isLetterOrDigit(ending.charCodeAt(ending.length - 1)) && !ENDS_WITH_VERB.test(ending);
      const at = isAtEnd ? end : end - (BEHIND_NAME.exec(ending)?.[0].length ?? 0);
      const pair = readPair(text, at, end, readName);
      if (pair === null || pair.nameStart < start) return 0;
      const flags = pair.flags & ~Named.query;
      if (pair.nameStart === start) return flags;
      const before = text.slice(Math.max(start, pair.nameStart - 30), pair.nameStart);
      return (isWhole ? WHOLE.test(before) : !COMPLAINT.test(before)) ? flags : 0;
    },
    take: (start, end, flags) => {
      const cell = text.slice(start, Math.min(end, start + MOST_JUDGED));
      const [, before = "", quote = "", value = cell] =
        (isLetterOrDigit(cell.charCodeAt(0)) && !cell.startsWith("val") ? null : AROUND_VALUE.exec(cell)) ?? [];
      if (isPlaceholder(value)) return true;
      if (!isSecretValue(value, flags) || MAIL_ADDRESS.test(value)) return false;
      spans.push([start + before.length, end - (cell.length < MOST_JUDGED ? quote.length : 0)]);
      return true;
    },
  });
}
