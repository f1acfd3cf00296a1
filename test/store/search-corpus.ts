/** Runs in nine scripts, and what is asked of them. The same each time: a seed decides. */
import { parseJson, type Json } from "../../src/platform/json.ts";
import type { Run } from "../../src/domain/run.ts";
import type { RunFilter } from "../../src/store/contract/runs.ts";
import { aRun } from "../support/a-run.ts";

type Filter = Omit<RunFilter, "search">;
export interface Question {
  kind: string;
  q: string;
  filter: Filter;
}

/** Words as they are in texts; what joins them. */
const SCRIPTS = {
  Latin: {
    between: [" ", ", ", " – ", "/"],
    words:
      "Rechnung Überweisung Straße bestätigt überfällig Café déjà payée façade réglée facture señor añadió mañana pingüino não informação Łódź żółty płatność Škoda příliš köpük ıhlamur İstanbul naïve coöperatie invoice invoices invoiced involved ledger refund payment pay overdue",
  },
  Cyrillic: {
    between: [" ", ", ", " — "],
    words:
      "Счёт счета счётчик оплачен мой мои твой твои Йод йога ёлка отчёт договор платёж просрочен накладная подпись їжак їдальня ґанок ўсё Београд ћирилица",
  },
  Greek: {
    between: [" ", ", ", "· "],
    words:
      "Τιμολόγιο τιμολόγια πληρωμή οδός Αθήνα εκπρόθεσμο παραγγελία λογαριασμός υπογραφή ΦΠΑ προϊόν εξοφλήθηκε άλλος ρυθμός Ὀδυσσεύς",
  },
  Hebrew: {
    between: [" ", ", ", "־"],
    words: "חשבונית שולמה תשלום לקוח הזמנה שָׁלוֹם סִפְרִיָּה אישור תאריך סכום מספר",
  },
  Arabic: {
    between: [" ", "، "],
    words: "فاتورة مدفوعة الدفع العميل مُحَمَّد كِتَاب تاريخ المبلغ الطلب رقم تأكيد",
  },
  Devanagari: {
    between: [" ", "। "],
    words: "चालान भुगतान हिन्दी हिन्दू ग्राहक राशि तारीख बिल आदेश कार्य",
  },
  Chinese: {
    between: ["", "", "", "，", "。"],
    words: "发票 已付款 逾期 客户 訂單 請求 金额 北京 東京都 银行转账 编号 确认 𠮷野家 第三季度",
  },
  Japanese: {
    between: ["", "", "", "、", "。"],
    words:
      "請求書 の 支払い は 完了 しました データ ダウンロード 東京 京都 領収書 ヴェルサイユ を 々 期限 ｶﾞｽ 株式会社 が",
  },
  Korean: {
    between: [" ", " ", ", "],
    words: "송장을 송장이 결제가 완료되었습니다 고객의 연체 서울에서 금액은 확인 주문번호 한국어",
  },
  Thai: {
    between: ["", "", "", " "],
    words: "ใบแจ้งหนี้ ชำระเงิน แล้ว ลูกค้า เกินกำหนด กรุงเทพ น้ำ การ์ด การ ที่ วันที่ จำนวนเงิน เลขที่",
  },
} satisfies Record<string, { between: string[]; words: string }>;
type Script = keyof typeof SCRIPTS;
const NAMES = Object.keys(SCRIPTS) as Script[];
const SPACELESS: readonly Script[] = ["Chinese", "Japanese", "Korean", "Thai"];

/** A number from 0 to n - 1 (xorshift). */
function chance(seed: number): (n: number) => number {
  let x = seed;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

const STATUSES = ["completed", "failed", "terminated"] as const;
const CHANNELS = ["billing", "support", null];
const MINUTE = 60_000;

export function corpus(runs: number, questions: number): { runs: Run[]; questions: Question[] } {
  const next = chance(20_260_120);
  const pick = <T>(from: readonly T[]): T => from[next(from.length)] as T;
  const wordsOf = (script: Script): string[] => SCRIPTS[script].words.split(" ");
  /** As people and programs write it: in capitals too, and decomposed. */
  const written = (word: string): string => {
    const cased = pick([word, word, word.toLocaleUpperCase("und"), word.toLocaleLowerCase("und")]);
    return pick([cased, cased, cased.normalize("NFD"), cased.normalize("NFC")]);
  };
  const sentence = (script: Script): string => {
    const { between } = SCRIPTS[script];
    return Array.from({ length: 2 + next(9) }, () => written(pick(wordsOf(script)))).reduce(
      (text, word) => text + pick(between) + word,
    );
  };
  const digits = (n: number): string => Array.from({ length: n }, () => next(10)).join("");
  const order = (): string => `${pick(["INV", "PO", "請求"])}-2026-${String(next(900)).padStart(4, "0")}`;
  const amount = (): string => `${next(3_000)}.${pick(["00", "5", "50", "99"])}`;

  const aRandomRun = (i: number): Run => {
    const script = pick(NAMES);
    const other = pick(NAMES);
    const fields: string[] = [
      `"order_no":${JSON.stringify(order())}`,
      `"total":${amount()}`,
      `"lines":[${[next(60), next(60), amount()].join()}]`,
      `"paid":${pick(["true", "null", '""'])}`,
      ...(next(3) === 0 ? [`${JSON.stringify(pick(wordsOf(other)))}:${JSON.stringify(sentence(other))}`] : []),
    ].filter(() => next(4) > 0);
    const text = (): string | null => (next(3) === 0 ? null : sentence(pick([script, other])));
    const failed = next(3) === 0;
    return aRun({
      run_id: next(2) === 0 ? `tsk_v2_5653${digits(14)}` : `wr_${digits(6)}${i}`,
      received_at: 1_000 + i * MINUTE,
      status: failed ? pick(["failed", "terminated"] as const) : "completed",
      channel: pick(CHANNELS),
      title: text(),
      prompt: text(),
      summary: next(2) === 0 ? `${sentence(script)} ${order()} 🧾${pick(wordsOf(other))}🥳` : null,
      workflow:
        next(3) === 0
          ? { run_id: `wr_${i}`, permanent_id: `wpid_${next(9)}`, id: null, title: pick(wordsOf("Latin")) }
          : null,
      failure: failed
        ? { reason: sentence(other), codes: [pick(["LOGIN_FAILED", "TIMEOUT"])], categories: ["AUTH"], errors: [] }
        : null,
      output: next(5) === 0 ? null : (parseJson(`{${fields.join()}}`) as Json),
    });
  };
  const all = Array.from({ length: runs }, (_none, i) => aRandomRun(i));

  const half = (word: string): string => {
    const letters = Array.from(word.normalize("NFC"));
    return letters.slice(0, Math.max(3, 1 + next(letters.length))).join("");
  };
  const textOf = (): string => {
    const { title, prompt, summary } = pick(all);
    return title ?? prompt ?? summary ?? textOf();
  };
  const filters = (): Filter => ({
    ...(next(2) === 0 ? { status: [pick(STATUSES), pick(STATUSES)] } : {}),
    ...(next(2) === 0 ? { channel: ["billing"] } : {}),
    ...(next(3) === 0 ? { workflow: [`wpid_${next(9)}`, "invoice"] } : {}),
    ...(next(3) === 0 ? { since: next(runs) * MINUTE } : {}),
    ...(next(3) === 0 ? { until: next(runs) * MINUTE } : {}),
  });
  const word = (): string => written(pick(wordsOf(pick(NAMES))));
  const prefixed = (): string => {
    const found = word().normalize("NFC").replace(/\p{M}/gu, "");
    return /^[\p{L}]{3}/u.test(found) ? `${half(found)}*` : prefixed();
  };
  const inside = (): string => {
    const text = sentence(pick(SPACELESS)).normalize("NFC");
    const letters = Array.from(text.replace(/[ ,.、。，]/g, ""));
    const from = next(Math.max(1, letters.length - 2));
    return letters.slice(from, from + 2 + next(3)).join("");
  };
  const asked: Record<string, () => string> = {
    "a word": word,
    "two words": () => `${word()} ${word()}`,
    "words in a row": () => {
      const words = textOf().split(" ");
      const from = next(words.length);
      return `"${words.slice(from, from + 2 + next(2)).join(" ")}"`;
    },
    "a prefix": prefixed,
    "a prefix and a word": () => `${prefixed()} ${word()}`,
    "inside of a text": inside,
    "an id": () => pick([pick(all).run_id, pick(all).run_id.replace(/^.*_/, ""), pick(all).run_id.slice(0, -1)]),
    "the beginning of an id": () => {
      const id = pick(all).run_id;
      return `${id.slice(0, id.lastIndexOf("_") + 4 + next(8))}*`;
    },
    "an order": () => pick([order(), `2026 ${next(900)}`, `"total ${amount()}"`, `${order().slice(0, -1)}*`]),
    "a number": () => pick([amount(), `${next(60)}`, `${next(60)}.${next(60)}`, digits(2)]),
  };
  const kinds = Object.entries(asked);
  const list = Array.from({ length: questions }, (_none, i): Question => {
    const [kind = "", ask = word] = kinds[i % kinds.length] ?? [];
    return { kind, q: ask(), filter: i % 3 === 0 ? filters() : {} };
  });
  return { runs: all, questions: list };
}
