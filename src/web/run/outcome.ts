/** What came of a run: why it failed and how that looked, or its output. */
import { html } from "hono/html";
import { isJsonObject } from "../../platform/json.ts";
import { isTerminal, RETRYING } from "../../domain/run.ts";
import { lookOf } from "../../domain/status-look.ts";
import { categoriesLabel, codesLabel, plainWord, type Content } from "../../sinks/content.ts";
import { omittedWords } from "../../sinks/readable-output.ts";
import { runPath, type Html, type Part } from "../markup.ts";
import { fact, jsonActions, jsonHtml, longText, sectionHtml, treeHtml } from "../output.ts";
import { plural } from "../../platform/amounts.ts";
import { block, jsonText, line } from "../text.ts";
import { card } from "./card.ts";
import { filesSection } from "./files.ts";
import { decisivePicture } from "./pictures.ts";
import type { RunView } from "./view.ts";

/** A failure comes first, with its picture. */
export function outcomeCards(view: RunView, content: Content): Part {
  const picture = decisivePicture(view);
  const { failure } = content;
  if (failure === null) return answerCard(view, content, picture);
  if (failure.isOvercome) return [answerCard(view, content, picture), failureCard(failure, view.report.status, "")];
  return [failureCard(failure, view.report.status, picture), answerCard(view, content, "")];
}

/** Red only where the run ended so: what was canceled did not go wrong, and what Skyvern tries again may succeed. */
function failureCard(failure: NonNullable<Content["failure"]>, status: string, picture: Part): Html {
  const what = status === RETRYING ? "the attempt" : "it";
  const title = failure.isOvercome ? failure.title : `Why ${what} did not complete`;
  return html`<section class="card ${lookOf(status).tone === "bad" ? "bad-card" : ""}" aria-labelledby="failure">
    <h2 id="failure">${title}</h2>
    ${failure.reason === "" ? "" : longText(failure.reason)} ${labels(codesLabel(failure), failure.codes)}
    ${categories(failure)} ${picture}
    ${
      failure.errors.length === 0
        ? ""
        : html`<details>
            <summary>
              ${plural(failure.errors.length, "error")} as Skyvern reports
              ${failure.errors.length === 1 ? "it" : "them"}
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
        <span class="soft">${title}:</span>
        ${values.slice(0, 30).map((value) => html`<code>${line(value, 128)}</code> `)}
      </p>`;

/** Skyvern's own words, as people write them. */
const categories = (failure: NonNullable<Content["failure"]>): Part =>
  failure.categories.length === 0
    ? ""
    : html`<p class="labels">
        <span class="soft">${categoriesLabel(failure)}:</span>
        ${failure.categories
          .slice(0, 30)
          .map((word) => line(plainWord(word), 128))
          .join(", ")}
      </p>`;

function errorHtml(error: RunView["report"]["output"]): Html {
  if (!isJsonObject(error)) return treeHtml(error);
  return html`<dl class="facts">
    ${Object.entries(error).map(([name, value]) =>
      fact(line(name, 60), typeof value === "string" ? block(value, 2_000) : treeHtml(value)),
    )}
  </dl>`;
}

/** What the run says of itself, the last block's output and the files, the picture, then the rest. */
function answerCard(view: RunView, content: Content, picture: Part): Part {
  const { output, summary, status } = view.report;
  const isFailed = content.failure !== null && !content.failure.isOvercome;
  const [first, ...rest] = content.output;
  const answer: Part[] = [
    summary === null || summary === "" ? "" : longText(summary),
    first === undefined ? "" : sectionHtml(first),
    filesSection(content),
  ].filter((part) => part !== "");
  const everything = output === null ? "" : everythingHtml(view);
  if (isFailed && answer.length === 0) {
    return everything === ""
      ? ""
      : html`<details class="card fold">
          <summary>The whole output</summary>
          ${everything}
        </details>`;
  }
  const more = omittedWords([content.omittedBlocks, "block"]);
  const nothing = isTerminal(status) ? "The run has no output." : "The run has not ended yet.";
  return card("output", isFailed ? "What came of it until then" : "What came of it", [
    answer.length === 0 ? html`<p class="soft">${nothing}</p>` : answer,
    picture,
    rest.map(sectionHtml),
    more === null ? "" : html`<p class="soft">${more} in the tree below.</p>`,
    everything,
  ]);
}

function everythingHtml({ report }: RunView): Html {
  const json = jsonText(report.output);
  return html`<details>
      <summary>Everything, as a tree</summary>
      ${treeHtml(report.output)}
    </details>
    <details>
      <summary>JSON</summary>
      ${jsonActions(json, "output-json", `${runPath(report.run_id)}/output.json`)} ${jsonHtml(json, "output-json")}
    </details>`;
}
