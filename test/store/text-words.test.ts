import Sqlite from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isWholeCharacter, readable, toWords } from "../../src/store/search/text-words.ts";

const readableWords = (text: string): string[] => toWords(text).map(readable);

describe("the words of a text", () => {
  it.each<[what: string, text: string, words: string]>([
    ["letters and digits without case", "Invoice INV-2026-0042, paid: 1250.50", "invoice inv 2026 0042 paid 1250 50"],
    ["without accents, however they are spelled", "Café Cafe\u0301 żółw NAÏVE", "cafe cafe zołw naive"],
    ["Greek, as in capitals", "Αθήνα ΑΘΗΝΑ οδός ΟΔΟΣ", "αθηνα αθηνα οδοσ οδοσ"],
    ["Cyrillic, where й is a letter and ё is mostly written е", "мой мои Счёт", "мой мои счет"],
    ["й that is composed of two characters", "мои\u0306", "мой"],
    ["German and Turkish, as in capitals", "Straße STRASSE IŞIK ışık", "strasse strasse isik isik"],
    ["Arabic and Hebrew without points", "مُحَمَّد שָׁלוֹם", "محمد שלום"],
    ["Hindi, whose vowel signs belong to the word", "हिन्दी हिन्दू", "हिन्दी हिन्दू"],
    ["Chinese by the character", "东京都的發票", "东 京 都 的 發 票"],
    ["Japanese by the character", "第4四半期の領収書データ、々〆", "第 4 四 半 期 の 領 収 書 デ ー タ 々 〆"],
    ["Japanese that is composed of two characters", "か\u3099か\u309A", "が か \u309A"],
    ["Korean by the syllable, however it is spelled", "송장을 \u1112\u1161\u11AB", "송 장 을 한"],
    ["Thai by the character, vowel signs and tones too", "ใบแจ้งหนี้", "ใ บ แ จ ้ ง ห น ี ้"],
    ["Lao, Khmer and Myanmar likewise", "ລາວ ខ្មែរ မြန်", "ລ າ ວ ខ ្ ម ែ រ မ ြ န ်"],
    ["alphabets beside characters", "Q3東京INVヶ月", "q3 東 京 inv ヶ 月"],
    ["no emoji, new ones neither", "🧾Receipt🥳done\u2705", "receipt done"],
    ["no soft hyphen and no variation selector", "Rech\u00ADnung 1\uFE0F\u20E3", "rechnung 1"],
    ["nothing that may be taken for a mark of the index", "a\uE000b \u{F0E31} \u{100000}c \uD800d\0e", "a b c d e"],
  ])("the words of a text are %s", (_what, text, words) => {
    expect(readableWords(text)).toEqual(words.split(" "));
  });

  it("words are whole characters only in scripts without spaces", () => {
    const whole = toWords("東 の ー 한 ไ ี a 1 é जी ö ἀ").map((word) => [readable(word), isWholeCharacter(word)]);
    expect(whole.filter(([, is]) => is).map(([word]) => word)).toEqual(Array.from("東のー한ไี"));
  });
});

/** Every character that has a name, between two letters, some thousand a document. */
const STEP = 4096;
const CHUNKS = Array.from({ length: 0x110000 / STEP }, (_none, i) =>
  Array.from({ length: STEP }, (_any, k) => String.fromCodePoint(i * STEP + k)).filter(
    (c) => !/[\p{Cn}\p{Co}\p{Cs}\0]/u.test(c),
  ),
);

describe("FTS5's unicode61", () => {
  const sqlite = new Sqlite(":memory:");
  beforeAll(() => {
    sqlite.exec(`create virtual table found using fts5 (text, content = '', tokenize = "unicode61 remove_diacritics 2");
      create virtual table vocabulary using fts5vocab (found, instance)`);
  });
  afterAll(() => sqlite.close());

  const tokensOf = (texts: readonly string[]): string[][] => {
    sqlite.exec("insert into found (found) values ('delete-all')");
    const insert = sqlite.prepare("insert into found (rowid, text) values (?, ?)");
    sqlite.transaction(() => texts.forEach((text, i) => insert.run(i, text)))();
    const tokens: string[][] = texts.map(() => []);
    const rows = sqlite.prepare<[], [string, number, number]>("select term, doc, offset from vocabulary").raw();
    for (const [term, doc, offset] of rows.iterate()) (tokens[doc] ??= [])[offset] = term;
    return tokens;
  };

  it("FTS5's unicode61 leaves each word as it is, whatever its characters are", () => {
    const words = CHUNKS.map((some) => some.flatMap((c) => toWords(`a${c}b`)));
    expect(words.flat().length).toBeGreaterThan(200_000);
    const tokens = tokensOf(words.map((some) => some.join(" ")));
    for (const [i, some] of words.entries()) expect(tokens[i]?.join(" ")).toBe(some.join(" "));
  });

  it("FTS5's unicode61 splits ASCII text, which it is given as it was received, into the same words", () => {
    const texts = Array.from({ length: 127 }, (_none, i) => `A${String.fromCodePoint(i + 1)}b9`);
    expect(tokensOf(texts)).toEqual(texts.map(toWords));
  });

  it("FTS5's unicode61 has the same letters in words, and holds none for equal that differ here, in scripts with spaces", () => {
    const letters = CHUNKS.flat().filter(
      (c) => /[\p{L}\p{N}]/u.test(c) && toWords(c).every((word) => !isWholeCharacter(word)),
    );
    const tokens = tokensOf(letters.map((c) => `a${c}b`));
    const [known, unknown] = [0, 1].map((other) =>
      letters.filter((_c, i) => (tokens[i]?.length === 1) === (other === 0)),
    );
    expect(known?.length).toBeGreaterThan(20_000);
    // Vowel signs that are letters since Unicode 8.
    expect(unknown?.join("")).toMatch(/^[\u19B0-\u19C9\u1CF2\u1CF3]*$/);
    const wordsOf = (text: string) => toWords(text).join(" ");
    const differing = letters.filter(
      (c, i) => tokens[i]?.length === 1 && wordsOf(tokens[i].join("")) !== wordsOf(`a${c}b`),
    );
    expect(differing).toEqual([]);
  });
});
