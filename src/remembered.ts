/** What is made of texts that come again and again, such as keys of JSON, is made once and kept in memory, within bounds. */

/** Texts beyond this are forgotten, all at once: they are whatever a sender likes. */
const MAX_TEXTS = 2_000;
/** UTF-16 units of a text that is worth it. */
const MAX_LENGTH = 100;

/** `make`: pure, and of nothing but the text. */
export function remembered<Made>(make: (text: string) => Made): (text: string) => Made {
  const known = new Map<string, Made>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const made = make(text);
    if (text.length > MAX_LENGTH) return made;
    if (known.size >= MAX_TEXTS) known.clear();
    known.set(copyOf(text), made);
    return made;
  };
}

/** Of its own: a piece of a text keeps all of the text in memory. */
const copyOf = (piece: string): string => Buffer.from(piece, "utf16le").toString("utf16le");
