import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import {
  MESSAGE_AMOUNT,
  omittedIn,
  PAGE_AMOUNT,
  readableOutput,
  type Section,
} from "../../src/sinks/readable-output.ts";
import { fitLines } from "../../src/sinks/fit-lines.ts";
import { cpuMs } from "../support/cpu.ts";
import { CORPUS, httpValue, loopValue, taskValue } from "./output-corpus.ts";

const read = (output: Json, kind: "task" | "workflow" = "workflow") =>
  fitLines(readableOutput({ kind, output }, MESSAGE_AMOUNT), Infinity);

const wordsIn = (section: Section): string[] => {
  if (section.kind === "text") return [section.text];
  if (section.kind === "fields") return section.fields.flatMap(({ label, value }) => [label, value]);
  return [...section.columns, ...section.rows.flat()];
};

describe("blocks", () => {
  it("the blocks of an output stand in the order from the last to the first, by their labels", () => {
    const { sections } = read({ login_output: { a: 1 }, download_output: { b: 2 }, extracted_information: [] });
    expect(sections.map(({ title }) => title)).toEqual(["download", "login"]);
  });

  it("a block that only says that it worked is shown after those with a result", () => {
    const { sections } = read({
      get_output: { total: 3 },
      mail_output: { success: true },
      wait_output: { success: true },
    });
    expect(sections.map(({ title }) => title)).toEqual(["get", "wait", "mail"]);
    const failed = read({ get_output: { total: 3 }, mail_output: { success: false } });
    expect(failed.sections.map(({ title }) => title)).toEqual(["mail", "get"]);
  });

  it("the blocks of an output are counted where there are too many", () => {
    const { sections, omittedBlocks } = read(
      Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`block_${i}_output`, { n: i }])),
    );
    expect(sections.map(({ title }) => title)).toEqual(["block_7", "block_6", "block_5"]);
    expect(omittedBlocks).toBe(5);
  });

  it("blocks with nothing but bookkeeping are left out, and what was extracted is shown instead", () => {
    const { sections } = read({ a_output: taskValue(null), extracted_information: [{ count: 3 }] });
    expect(sections).toEqual([
      { kind: "fields", title: "extracted information", fields: [{ label: "count", value: "3" }], omitted: 0 },
    ]);
  });
});

describe("a block that only says that it worked", () => {
  it("a block that only says that it worked is done, in words, and so is a child run of such blocks", () => {
    const child = { workflow_run_id: "wr_2", status: "completed", outputs: { pause_output: { success: true } } };
    expect(read({ start_output: child, mail_output: { success: true } }).sections).toEqual([
      { kind: "text", title: "mail", text: "Done." },
      { kind: "text", title: "start", text: "Done." },
    ]);
    expect(read({ mail_output: { success: false } }).sections).toMatchObject([{ fields: [{ value: "no" }] }]);
  });

  it("a pause that a person ended is done, and what they said of it stays", () => {
    const ended = { success: true, reason: "status_changed:running" };
    expect(read({ approve_output: ended }).sections).toEqual([{ kind: "text", title: "approve", text: "Done." }]);
    const said = { success: true, reason: "The amount is right." };
    expect(read({ approve_output: said }).sections).toMatchObject([
      { fields: [{ value: "yes" }, { label: "reason" }] },
    ]);
  });

  it("in a loop's table a block that only says that it worked is done", () => {
    const beside = loopValue([["a", { get: taskValue({ n: 1 }), wait: { success: true } }]]);
    const alone = loopValue([
      ["a", { wait: { success: true } }],
      ["b", { wait: { success: true } }],
    ]);
    expect(read({ each_output: beside }).sections.flatMap(wordsIn)).toContain("done");
    expect(read({ each_output: alone }).sections).toMatchObject([
      {
        columns: ["item", "wait"],
        rows: [
          ["a", "done"],
          ["b", "done"],
        ],
      },
    ]);
  });
});

describe("an HTTP answer", () => {
  it("an HTTP answer that was saved is a file, without its path on Skyvern's machine", () => {
    const saved = { file_path: "/srv/downloads/wr_1/invoice.pdf", file_name: "invoice.pdf", file_size: 91_000 };
    expect(read({ invoice_output: saved }).sections).toEqual([
      { kind: "text", title: "invoice", text: "• invoice.pdf (91 kB)" },
    ]);
  });

  it("an HTTP answer shows its status and its body, and no header", () => {
    const [section] = read({ rates_output: httpValue({ ok: true, n: 2 }) }).sections;
    expect(section).toMatchObject({
      title: "rates – HTTP 200",
      fields: [
        { label: "ok", value: "yes" },
        { label: "n", value: "2" },
      ],
    });
    expect(read({ rates_output: httpValue("no", 404) }).sections).toEqual([
      { kind: "text", title: "rates – HTTP 404", text: "no" },
    ]);
  });

  it("an HTTP answer shows its status where it has no body", () => {
    expect(read({ ping_output: httpValue(null, 204) }).sections).toEqual([
      { kind: "text", title: "ping", text: "HTTP 204" },
    ]);
  });
});

describe("a page in an HTTP answer", () => {
  const page =
    "<!DOCTYPE html><html><head><title>Rates &amp; fees</title><style>p { color: red }</style></head><body>" +
    "<nav>Home</nav><script>if (1 < 2) go('<p>no</p>')</script><!-- <p>old</p> --><h1>Rates &amp; fees</h1>" +
    '<p title="a > b">Valid <b>today</b>.</p><table><tr><td>EUR</td><td>1.08&nbsp;&#36;</td></tr></table></body></html>';

  it("a page in an HTTP answer is shown as its title and its text", () => {
    expect(read({ rates_output: httpValue(page) }).sections).toEqual([
      { kind: "text", title: "rates – HTTP 200, web page", text: "Rates & fees\nValid today.\nEUR 1.08 $" },
    ]);
  });

  it("a page in a cell is its title alone, or its first words", () => {
    const value = loopValue([
      ["a", { get: httpValue(page), note: { said: "ok" } }],
      ["b", { get: httpValue("<p>Not <i>here</i></p>", 404), note: { said: "no" } }],
    ]);
    expect(read({ each_output: value }).sections[0]).toMatchObject({
      rows: [
        ["a", "HTTP 200, web page – Rates & fees", "said: ok"],
        ["b", "HTTP 404, web page – Not here", "said: no"],
      ],
    });
  });

  it("a page without any text is named", () => {
    expect(read({ a_output: httpValue("<html><body><div id=root></div></body></html>") }).sections).toEqual([
      { kind: "text", title: "a", text: "HTTP 200, web page" },
    ]);
  });

  it("a long page is shown by its beginning, in one line too", () => {
    const long = `<html><body>${"<p>word</p>".repeat(3_000)}</body></html>`;
    const [section] = readableOutput({ kind: "workflow", output: { a_output: httpValue(long) } }, PAGE_AMOUNT)
      .blocks[0]!;
    expect(section?.kind === "text" && section.text.length).toBe(600);
    const title = `<html><title>${"t".repeat(5_000)}</title></html>`;
    const [fields] = read({ a: title, b: 1 }, "task").sections;
    expect(fields?.kind === "fields" && fields.fields[0]?.value.length).toBe("web page – ".length + 120);
  });

  it("an HTTP answer in XML is read by its fields", () => {
    const xml =
      '<?xml version="1.0"?><ns:rate><ns:currency>EUR</ns:currency><value unit="USD">1.08</value>' +
      "<note><![CDATA[as of <today>]]></note></ns:rate>";
    expect(read({ rate_output: httpValue(xml) }).sections).toEqual([
      { kind: "text", title: "rate – HTTP 200, XML", text: "currency: EUR\nvalue: 1.08\nnote: as of <today>" },
    ]);
  });

  it("XML whose elements are empty is read by their attributes, and stays as it is where there are none", () => {
    const rates = `<?xml version="1.0"?><x:Cube xmlns:x="urn:a"><Cube currency='USD' x:rate="1.08"/><Cube currency="A&amp;B"/></x:Cube>`;
    expect(read({ rate_output: httpValue(rates) }).sections).toEqual([
      { kind: "text", title: "rate – HTTP 200, XML", text: "Cube: currency: USD, rate: 1.08\nCube: currency: A&B" },
    ]);
    const bare = '<?xml version="1.0"?><ok/>';
    expect(read({ rate_output: httpValue(bare) }).sections).toMatchObject([{ text: bare }]);
  });

  it("a whole page outside an HTTP answer is read as one, and a text that only begins with a tag stays", () => {
    expect(read({ html: page, total: 3 }, "task").sections[0]).toMatchObject({
      fields: [{ value: "web page – Rates & fees" }, { value: "3" }],
    });
    expect(read("<b>12</b>", "task").sections[0]).toMatchObject({ text: "<b>12</b>" });
    for (const text of ["<alice@example.com> wrote", "< 3 items", "<b>bold"])
      expect(read({ a_output: httpValue(text) }).sections[0]).toMatchObject({ text });
  });

  it("a page is read in time that grows with its length alone", () => {
    const hostile = ["<script>", "<!--", "<a '", '<a "', "<![CDATA[", "<p", "<", "</title", "&#", "<a \"'>"];
    hostile.push('<a ">"', "<a \"'>'\"", '<p a="" ', " a", ' a="', "<q b='' />");
    for (const text of hostile) {
      const reading = (): void => {
        read({ a_output: httpValue(`<html>${text.repeat(1_000_000 / text.length)}</html>`) });
        read({ a_output: httpValue(`<?xml version="1.0"?><q ${text.repeat(1_000_000 / text.length)}/>`) });
      };
      expect(cpuMs(reading)).toBeLessThan(1_000);
    }
  });
});

describe("a list in a field", () => {
  const fieldsOf = (output: Json) => {
    const [section] = read(output, "task").sections;
    return section?.kind === "fields" ? section.fields.map(({ value }) => value) : [];
  };

  it("a list of one in a field is shown as that one", () => {
    expect(fieldsOf({ lines: [{ text: "Kaffee", amount: 12.5 }], tags: ["new"], n: 1 })).toEqual([
      "text: Kaffee, amount: 12.5",
      "new",
      "1",
    ]);
    expect(read(["done"], "task").sections).toEqual([{ kind: "text", title: null, text: "done" }]);
    expect(fieldsOf({ order: { id: 7, lines: [{ a: 1 }] }, n: 1 })).toEqual(["id: 7, lines: 1 item", "1"]);
  });

  it("a list of a few plain values is shown as these, within brackets in a line with others", () => {
    expect(fieldsOf({ tags: ["a", "b"], n: 1 })).toEqual(["a, b", "1"]);
    expect(fieldsOf({ order: { id: 7, tags: ["a", "b"], mark: ["x"] }, n: 1 })).toEqual([
      "id: 7, tags: (a, b), mark: x",
      "1",
    ]);
    expect(fieldsOf({ order: { id: 7, tags: [1, 2, 3, 4, 5] }, n: 1 })).toEqual(["id: 7, tags: 5 items", "1"]);
  });

  it("a list of one long row stands apart, with all its fields", () => {
    const row = { a: 1, b: 2, c: 3, d: 4, e: 5 };
    expect(read({ lines: [row], n: 1 }, "task").sections).toMatchObject([
      { title: null, fields: [{ label: "n" }] },
      { kind: "fields", title: "lines", fields: Object.keys(row).map((label) => ({ label })) },
    ]);
  });
});

describe("a loop", () => {
  const rounds = [
    ["a", { look_up: httpValue({ n: 1 }), note: { said: "ok" } }],
    ["b", { look_up: httpValue({ n: 2 }), note: { said: "no" } }],
  ] as const;

  it("a loop is a row a round, with its inner blocks by name", () => {
    expect(read({ each_output: loopValue(rounds) }).sections).toEqual([
      {
        kind: "table",
        title: "each",
        columns: ["item", "look_up", "note"],
        rows: [
          ["a", "HTTP 200 – n: 1", "said: ok"],
          ["b", "HTTP 200 – n: 2", "said: no"],
        ],
        omitted: 0,
        omittedColumns: 0,
      },
    ]);
  });

  it("a loop names the files of an inner block", () => {
    const files = ["a.pdf", "b.pdf"].map((filename) => ({ url: "file:///data/x", filename, file_size: 193 }));
    const value = loopValue([
      ["a", { get: taskValue(null, { downloaded_files: files }) }],
      ["b", { get: taskValue(null) }],
    ]);
    expect(read({ each_output: value }).sections[0]).toMatchObject({
      rows: [
        ["a", "a.pdf (193 B), b.pdf (193 B)"],
        ["b", "–"],
      ],
    });
  });

  it("a loop with one inner block has that block's fields as columns", () => {
    const value = loopValue([
      ["a", { look_up: taskValue({ price: 1, stock: 2 }) }],
      ["b", { look_up: taskValue({ price: 3, stock: 4 }) }],
    ]);
    expect(read({ each_output: value }).sections[0]).toMatchObject({
      columns: ["item", "price", "stock"],
      rows: [
        ["a", "1", "2"],
        ["b", "3", "4"],
      ],
    });
  });

  it("the inner blocks of a loop stand in it alone, and not beside it again", () => {
    const { sections } = read({
      each_output: loopValue(rounds),
      look_up_output: httpValue({ n: 2 }),
      note_output: { said: "no" },
    });
    expect(sections.map(({ title }) => title)).toEqual(["each"]);
  });
});

describe("a table", () => {
  const rows = Array.from({ length: 3 }, (_, i) =>
    Object.fromEntries(["a", "b", "c", "d", "e", "f", "g"].map((name) => [name, name < "d" ? "same" : `${name}${i}`])),
  );

  it("a table shows the first columns that differ where not all fit, and counts the rest", () => {
    const [section] = read(rows, "task").sections;
    expect(section).toMatchObject({ columns: ["d", "e", "f", "g"], omittedColumns: 3 });
    expect(section && omittedIn(section)).toBe("… and 3 more columns");
  });

  it("a table of one row reads downwards", () => {
    expect(read([{ id: "INV-1", amount: 12 }], "task").sections[0]).toMatchObject({
      kind: "fields",
      fields: [
        { label: "id", value: "INV-1" },
        { label: "amount", value: "12" },
      ],
    });
  });

  it("a table within an object stands apart from its fields", () => {
    const { sections } = read({ number: "INV-1", lines: [{ a: 1 }, { a: 2 }] }, "task");
    expect(sections.map(({ kind, title }) => [kind, title])).toEqual([
      ["fields", null],
      ["table", "lines"],
    ]);
  });
});

describe("files, texts and child runs", () => {
  it("an output shows files by name and size", () => {
    const files = [{ url: "file:///data/a.pdf", filename: "a.pdf", checksum: "ab", file_size: 193 }];
    expect(read({ get_output: taskValue(null, { downloaded_files: files }) }).sections).toEqual([
      { kind: "text", title: "get", text: "• a.pdf (193 B)" },
    ]);
  });

  it("an output shows what a child run came to, by its blocks", () => {
    const child: JsonObject = {
      workflow_run_id: "wr_2",
      status: "completed",
      outputs: { list_output: taskValue({ n: 1 }), empty_output: taskValue(null) },
    };
    expect(read({ start_output: child }).sections).toMatchObject([{ title: "start" }]);
    const late = { ...child, status: "timed_out", outputs: null, failure_reason: "It took too long." };
    expect(read({ start_output: late }).sections).toMatchObject([
      { title: "start – timed out", text: "It took too long." },
    ]);
    const bare = { ...child, outputs: null, failure_reason: null };
    expect(read({ start_output: bare }).sections).toMatchObject([{ title: "start", text: "Done." }]);
    expect(read({ start_output: child }).sections.flatMap(wordsIn)).toContain("n");
  });

  it("an output keeps numbers digit for digit", () => {
    const output = { order: JSON.rawJSON("12345678901234567890"), tiny: JSON.rawJSON("1e-07") };
    expect(read(output, "task").sections.flatMap(wordsIn)).toEqual(["order", "12345678901234567890", "tiny", "1e-07"]);
  });
});

describe("the corpus", () => {
  it("the corpus has at least 100 outputs", () => {
    expect(CORPUS.size).toBeGreaterThanOrEqual(100);
  });

  it.each([...CORPUS])("the output %s is shown in words, with no empty part and no JSON", (_name, sample) => {
    for (const amount of [MESSAGE_AMOUNT, PAGE_AMOUNT]) {
      const { sections } = fitLines(readableOutput(sample, amount), Infinity);
      for (const section of sections) {
        expect(section.title ?? "").not.toMatch(/_output$/);
        // Nothing is an empty part, and no line is an object of JavaScript or a piece of JSON.
        const words = wordsIn(section);
        expect(words.length).toBeGreaterThan(0);
        for (const word of words) expect(word).not.toMatch(/\[object |^\{"|request_headers|response_headers/);
        if (section.kind !== "table") continue;
        expect(section.columns.length).toBeLessThanOrEqual(amount.columns);
        expect(section.rows.length).toBeLessThanOrEqual(amount.rows);
        expect(section.rows.every((row) => row.length === section.columns.length)).toBe(true);
        expect(section.rows.every((row) => row.some((cell) => cell !== "–"))).toBe(true);
      }
    }
  });
});
