/**
 * What a person reads of HTML or XML: a page's title and text, or a document's fields. Pure. The text is a hostile
 * server's, so that reading it takes time in proportion to its length.
 */
import { cut } from "./cut.ts";

export interface MarkupText {
  kind: "web page" | "XML";
  title: string | null;
  /** None is empty. */
  lines: string[];
}

/** Characters that are read: a page has its title and its first words at its beginning. */
const MAX_READ = 200_000;

const DOCUMENT = /^\uFEFF?\s*<(?:!doctype\s+html|html|\?xml)[\s>]/i;
const FRAGMENT = /^\uFEFF?\s*<(?:[a-z][\w:.-]{0,60}[\s/>]|!--)/i;

/** Null for a text that is no markup. `part`: what is a part of a page counts too, as an HTTP answer may be. */
export function readMarkup(text: string, { part = false } = {}): MarkupText | null {
  const isPart = part && FRAGMENT.test(text) && text.includes("</") && text.trimEnd().endsWith(">");
  if (!isPart && !DOCUMENT.test(text)) return null;
  const { pieces, isPage } = splitMarkup(text.slice(0, MAX_READ));
  if (isPage) return readPage(pieces);
  const xml = readXml(pieces);
  return xml.lines.length === 0 ? null : xml;
}

/** Characters of a page's text: its beginning says which page it is. */
const MAX_TEXT = 600;

/** The title and the text, a line each, as far as {@link MAX_TEXT} goes. */
export const excerpt = ({ title, lines }: MarkupText): string =>
  cut((title === null ? lines : [title, ...lines]).join("\n"), MAX_TEXT);

// --- pieces ---------------------------------------------------------------------------------------------------------

type Piece = { kind: "text"; text: string } | { kind: "open" | "close"; name: string };

/** Markup whose first element is one of these is a page; any other is XML. */
const OF_PAGE = new Set(
  (
    "html head body title meta link div p span h1 h2 h3 h4 h5 h6 table tr td ul ol li a b br i em strong img pre form " +
    "center script style header main section article nav footer"
  ).split(" "),
);
/** Elements of a page whose content is not text, or not what the page is about. */
const UNSHOWN = new Set("script style noscript template svg iframe textarea select nav footer".split(" "));

/** Quoted attributes may hold `>`. */
const TAG = /<(\/?)([a-z][\w:.-]{0,60})(?:[^"'>]|"[^"]*"|'[^']*')*>/iy;
const UNQUOTED_TAG = /<(\/?)([a-z][\w:.-]{0,60})[^>]*>/iy;
const ENDS = [
  ["<!--", "-->"],
  ["<![CDATA[", "]]>"],
  ["<", ">"],
] as const;

/** What stands after a tag, comment or element that does not end is left out. */
function splitMarkup(text: string): { pieces: Piece[]; isPage: boolean } {
  const pieces: Piece[] = [];
  let isPage: boolean | null = /^\uFEFF?\s*<!doctype\s+html/i.test(text) ? true : null;
  let pattern = TAG;
  for (let at = 0; at < text.length;) {
    const start = text.indexOf("<", at);
    const words = text.slice(at, start === -1 ? text.length : start);
    if (words !== "") pieces.push({ kind: "text", text: decode(words) });
    if (start === -1) break;
    let tag = execAt(pattern, text, start);
    if (tag === null) {
      tag = execAt(UNQUOTED_TAG, text, start);
      // The whole text was searched for the end of a quote. That is done once: no quote counts any more.
      if (tag !== null) pattern = UNQUOTED_TAG;
    }
    if (tag === null) {
      const [mark, end] = ENDS.find(([begin]) => text.startsWith(begin, start))!;
      const found = text.indexOf(end, start + mark.length);
      if (found === -1) break;
      if (mark === "<![CDATA[") pieces.push({ kind: "text", text: text.slice(start + mark.length, found) });
      at = found + end.length;
      continue;
    }
    const [whole, slash, name = ""] = tag;
    at = start + whole.length;
    isPage ??= OF_PAGE.has(name.toLowerCase());
    const isUnshown = isPage && UNSHOWN.has(name.toLowerCase());
    if (slash !== "") pieces.push({ kind: "close", name });
    else if (!isUnshown) pieces.push({ kind: "open", name });
    if (!isPage && whole.endsWith("/>"))
      pieces.push({ kind: "text", text: readAttributes(whole) }, { kind: "close", name });
    if (slash !== "" || !isUnshown || whole.endsWith("/>")) continue;
    const close = new RegExp(`</${name}(?=[\\s>])`, "gi");
    close.lastIndex = at;
    const closing = close.exec(text);
    if (closing === null) break;
    at = closing.index;
  }
  return { pieces, isPage: isPage === true };
}

/** What an empty element says: `currency: EUR, rate: 1.08`. */
const readAttributes = (tag: string): string =>
  Array.from(tag.matchAll(ATTRIBUTE), ([, name = "", twice, once]) => `${name}: ${decode(twice ?? once ?? "")}`).join(
    ", ",
  );

const ATTRIBUTE = /\s(?!xmlns)(?:[\w.-]{1,60}:)?([\w.-]{1,60})=(?:"([^"]*)"|'([^']*)')/g;

function execAt(sticky: RegExp, text: string, at: number): RegExpExecArray | null {
  sticky.lastIndex = at;
  return sticky.exec(text);
}

/** The entities that pages of business software have; any other stays as it is written. */
const ENTITIES = new Map(
  Object.entries({
    amp: "&",
    lt: "<",
    gt: ">",
    quot: '"',
    apos: "'",
    nbsp: " ",
    copy: "©",
    reg: "®",
    euro: "€",
    pound: "£",
    ndash: "–",
    mdash: "—",
    hellip: "…",
    middot: "·",
    bull: "•",
    laquo: "«",
    raquo: "»",
    rarr: "→",
    auml: "ä",
    ouml: "ö",
    uuml: "ü",
    Auml: "Ä",
    Ouml: "Ö",
    Uuml: "Ü",
    szlig: "ß",
    eacute: "é",
    egrave: "è",
    agrave: "à",
  }),
);

const decode = (text: string): string =>
  text.replace(
    /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi,
    (whole, decimal?: string, hex?: string, name?: string) => {
      if (name !== undefined) return ENTITIES.get(name) ?? whole;
      const code = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code).toWellFormed() : whole;
    },
  );

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim();

// --- a page ---------------------------------------------------------------------------------------------------------

/** Elements within a line; all others end it. */
const INLINE = new Set(
  (
    "a abbr b bdi bdo big cite code data em font i kbd label mark q s samp small span strong sub sup tt time u var wbr " +
    "td th"
  ).split(" "),
);
/** Cells of a row stand in one line, with a blank between them. */
const CELLS = new Set(["td", "th"]);

function readPage(pieces: readonly Piece[]): MarkupText {
  let title: string | null = null;
  let isTitle = false;
  const text: string[] = [];
  for (const piece of pieces) {
    if (piece.kind === "text") {
      if (isTitle) title ??= oneLine(piece.text) || null;
      else text.push(piece.text.replace(/\s+/g, " "));
      continue;
    }
    const name = piece.name.toLowerCase();
    if (name === "title") isTitle = piece.kind === "open";
    else text.push(CELLS.has(name) ? " " : INLINE.has(name) ? "" : "\n");
  }
  const lines = text.join("").split("\n").map(oneLine);
  return { kind: "web page", title, lines: lines.filter((line) => line !== "" && line !== title) };
}

// --- XML ------------------------------------------------------------------------------------------------------------

/** `currency: EUR`: a line for each element that holds text, without its namespace. */
function readXml(pieces: readonly Piece[]): MarkupText {
  const lines: string[] = [];
  let name = "";
  for (const piece of pieces) {
    if (piece.kind !== "text") name = piece.kind === "open" ? piece.name.replace(/^.*:/, "") : "";
    else if (oneLine(piece.text) !== "") lines.push(`${name === "" ? "" : `${name}: `}${oneLine(piece.text)}`);
  }
  return { kind: "XML", title: null, lines };
}
