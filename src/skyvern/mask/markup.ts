/** Finds what the elements of XML and HTML hold, and the fields of their forms. */
import { ATTRIBUTES, BROKEN_ATTRIBUTES, trimmed } from "./cells.ts";
import { isPlaceholder, isSecretValue } from "./secret-looks.ts";
import { Named, type ReadName } from "./secret-names.ts";
import { REDACTED, type Found, type MaskTextOptions, type TextSpan } from "./text-view.ts";

/**
 * `<AccessToken>`, `<wsse:Password Type="text">`, `<input name="pin" …>`, with the CDATA section behind it. A `>` in
 * quotes does not end the tag, unless a quote was never closed.
 */
const TAG = new RegExp(
  String.raw`<([A-Za-z][\w.:-]{0,79})(?:(${ATTRIBUTES})|(${BROKEN_ATTRIBUTES}))?\/?>(?:\s{0,99}(<!\[CDATA\[))?`,
  "g",
);
/** Its value in quotes, or without, as minified pages have it. */
const ATTRIBUTE = /([\w:-]{1,40})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|((?!&)[^\s"'`=<>\\]+))/g;
/** Attributes that name what the element holds, and those that hold it. */
const NAMING = /^(?:name|key|property|itemprop|http-equiv|type|id|placeholder|aria-label|title|autocomplete)$/i;
const HOLDING = /^(?:value|content)$/i;
/** An element with a longer text holds no secret. */
const MOST_TEXT = 2_000;

/** `byName`: a name alone makes a value secret. */
export function findInMarkup(text: string, { readName, byName }: MaskTextOptions, spans: Found) {
  TAG.lastIndex = 0;
  for (let tag = TAG.exec(text); tag !== null; tag = TAG.exec(text)) {
    const { flags, values } = readTag(tag, readName);
    if ((flags & Named.secret) === 0) continue;
    for (const given of [...values, elementText(text, TAG.lastIndex, tag[4] !== undefined)]) {
      const [start, end] = trimmed(text, ...given);
      const value = text.slice(start, end);
      const isSecret = byName ? !isPlaceholder(value) : isSecretValue(value, flags);
      if (value !== "" && isSecret && !value.includes(REDACTED)) spans.push([start, end]);
    }
  }
}

function readTag(tag: RegExpExecArray, readName: ReadName) {
  const [, name = "", whole, cut] = tag;
  const attributes = whole ?? cut ?? "";
  let flags = readName(name.slice(name.lastIndexOf(":") + 1));
  const values: TextSpan[] = [];
  for (const attribute of attributes.matchAll(ATTRIBUTE)) {
    const [pair, key = "", double, single, bare] = attribute;
    const value = double ?? single ?? bare ?? "";
    const end = tag.index + 1 + name.length + attribute.index + pair.length - (bare === undefined ? 1 : 0);
    if (NAMING.test(key)) flags |= readName(value);
    else if (HOLDING.test(key)) values.push([end - value.length, end]);
  }
  return { flags, values };
}

/** What stands between a tag and the one that closes it; nothing where another element comes first. */
function elementText(text: string, start: number, isCdata: boolean): TextSpan {
  const beginning = text.slice(start, start + MOST_TEXT);
  const length = beginning.indexOf(isCdata ? "]]>" : "<");
  const isWhole = length >= 0 && (isCdata || text.startsWith("</", start + length));
  return [start, isWhole ? start + length : start];
}
