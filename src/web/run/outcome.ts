/** What came of a run: why it failed and how that looked, or its output. */
import { html } from "hono/html";
import { isJsonObject } from "../../platform/json.ts";
import { isTerminal } from "../../domain/run.ts";
import type { Content } from "../../sinks/content.ts";
import { omittedWords } from "../../sinks/readable-output.ts";
import { runPath, type Html, type Part } from "../markup.ts";
import { fact, jsonActions, jsonHtml, longText, sectionHtml, treeHtml } from "../output.ts";
import { block, jsonText, line, many } from "../text.ts";
import { card } from "./card.ts";
import { decisivePicture } from "./pictures.ts";
import type { RunView } from "./view.ts";

export function outcomeCards(view: RunView, content: Content): Part {
  const { status, output, summary } = view.report;
  const picture = decisivePicture(view);
  const said = summary === null || summary === "" ? "" : longText(summary);
  const failed = content.failure === null ? "" : failureCard(content.failure, status, picture);
  if (output !== null) {
    const isFailed = content.failure !== null;
    return [failed, outputCard(view, content, { said, picture: isFailed ? "" : picture, isFailed })];
  }
  if (content.failure !== null) return [failed, said === "" ? "" : card("summary", "Summary", said)];
  const nothing = isTerminal(status) ? noOutput(view) : "The run has not ended yet.";
  return card("outcome", "What came of it", [said === "" ? html`<p class="soft">${nothing}</p>` : said, picture]);
}

const noOutput = ({ report }: RunView): string =>
  report.files.length === 0 ? "The run has no output." : "What came of it are the files below.";

/** What was canceled did not go wrong. */
function failureCard(failure: NonNullable<Content["failure"]>, status: string, picture: Part): Html {
  return html`<section class="card ${status === "canceled" ? "" : "bad-card"}" aria-labelledby="failure">
    <h2 id="failure">Why it did not complete</h2>
    ${longText(failure.reason)} ${labels("Error codes", failure.codes)} ${labels("Categories", failure.categories)}
    ${picture}
    ${
      failure.errors.length === 0
        ? ""
        : html`<details>
            <summary>
              ${many(failure.errors.length, "error")} as Skyvern reports ${failure.errors.length === 1 ? "it" : "them"}
            </summary>
            ${failure.errors.slice(0, 20).map(errorHtml)}
          </details>`
    }
  </section>`;
}

const labels = (title: string, values: readonly string[]): Part =>
  values.length === 0
    ? ""
    : html`<p class="labels">
        <span class="soft">${title}</span>
        ${values.slice(0, 30).map((value) => html`<code>${line(value, 128)}</code> `)}
      </p>`;

function errorHtml(error: RunView["report"]["output"]): Html {
  if (!isJsonObject(error)) return treeHtml(error);
  return html`<dl class="facts">
    ${Object.entries(error).map(([name, value]) =>
      fact(line(name, 60), typeof value === "string" ? block(value, 2_000) : treeHtml(value)),
    )}
  </dl>`;
}

interface OutputParts {
  /** The run's summary of itself. */
  said: Part;
  picture: Part;
  isFailed: boolean;
}

/** The last block's output, the picture, then the rest. */
function outputCard(view: RunView, content: Content, { said, picture, isFailed }: OutputParts): Html {
  const { report } = view;
  const more = omittedWords([content.omittedBlocks, "block"]);
  const json = jsonText(report.output);
  const download = `${runPath(report.run_id)}/output.json`;
  const [first, ...rest] = content.output;
  const everything = html`<details>
      <summary>Everything, as a tree</summary>
      ${treeHtml(report.output)}
    </details>
    <details>
      <summary>JSON</summary>
      ${jsonActions(json, "output-json", download)} ${jsonHtml(json, "output-json")}
    </details>`;
  if (isFailed && first === undefined && said === "") {
    return html`<details class="card fold">
      <summary>The whole output</summary>
      ${everything}
    </details>`;
  }
  const parts = [
    said,
    first === undefined ? html`<p class="soft">${noOutput(view)}</p>` : sectionHtml(first),
    picture,
    rest.map(sectionHtml),
    more === null ? "" : html`<p class="soft">${more} in the tree below.</p>`,
    everything,
  ];
  return card("output", isFailed ? "Output until then" : "What came of it", parts);
}

export const attemptsCard = ({ attempts }: Content): Part =>
  attempts === null ? "" : card("attempts", "Attempts", sectionHtml({ ...attempts, title: null }));
