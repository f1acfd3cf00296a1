/** The state of each sink, and its actions. */
import { html } from "hono/html";
import { emptyCard, liveHead } from "../list-parts.ts";
import { DELIVERY_STATES, type Delivery } from "../../domain/run.ts";
import type { SinkHealth } from "../../history/sink-health.ts";
import { duration } from "../../sinks/content.ts";
import { firstWays } from "../../sinks/kinds.ts";
import type { DeliveryTimes } from "../../store/contract/stats.ts";
import { latencyChart, type Window } from "../charts.ts";
import {
  badge,
  buttonForm,
  flash,
  follow,
  icon,
  runPath,
  STATES,
  time,
  type Html,
  type BadgeLook,
  type Part,
} from "../markup.ts";
import { fact, proofHtml } from "../output.ts";
import type { Session } from "../login/session.ts";
import { count, plural } from "../../platform/amounts.ts";
import { block, line } from "../text.ts";

export interface SinkView extends SinkHealth {
  /** The newest delivery with an error, and when that error came. */
  lastError: { delivery: Delivery; at: number } | null;
  lastSuccess: Delivery | null;
  /** Durations of deliveries that arrived within the chart's window. */
  times: readonly DeliveryTimes[];
}

export interface SinksView {
  sinks: readonly SinkView[];
  /** The window of the charts. */
  window: Window;
  /** A test that was just sent. */
  tested: Delivery | null;
  /** A sink that was just resumed. */
  resumed: string | null;
  session: Session;
  /** The id of the last change that the page shows. */
  event: string;
  now: number;
}

export function sinksPage(view: SinksView): Part {
  const { sinks, tested, resumed, event } = view;
  return [
    resumed === null ? "" : flash("again", html`${line(resumed, 64)} is resumed: pending deliveries are tried now.`),
    tested === null ? "" : testSaid(tested),
    liveHead("Sinks"),
    sinks.length === 0
      ? emptyCard(
          "No sink is configured",
          html`Runs are only stored. Set ${firstWays().map((names) => [variables(names), ", or "])}name sinks in
            <code>relay.yaml</code>; then restart the relay.`,
        )
      : html`<div class="sinks" ${follow({ id: "sinks", address: "/sinks", event })}>
          ${sinks.map((sink) => sinkCard(sink, view))}
        </div>`,
  ];
}

/** `A`, `A and B`, `A, B and C` */
const variables = (names: readonly string[]): Part =>
  names.map((name, i) => [i === 0 ? "" : i === names.length - 1 ? " and " : ", ", html`<code>${name}</code>`]);

function testSaid({ sink, state, last_error, receipt }: Delivery): Html {
  if (state === "delivered") {
    return html`<div class="flash" role="status">
      ${icon("done")}
      <div>The test message to ${line(sink, 64)} was delivered. ${proofHtml(receipt)}</div>
    </div>`;
  }
  return html`<div class="flash bad-flash" role="alert">
    ${icon("failed")}
    <div>
      The test message to ${line(sink, 64)} was not delivered, and is not tried again.
      ${last_error === null ? "" : html`<p class="error-text">${block(last_error, 600)}</p>`}
    </div>
  </div>`;
}

function sinkCard(sink: SinkView, { session, window, now }: SinksView): Html {
  const { name, kind, circuit, backlog, counts, lastError, lastSuccess, times } = sink;
  const address = encodeURIComponent(name.toWellFormed());
  const path = (state: string) => `/deliveries?state=${state}&sink=${address}`;
  const shown = DELIVERY_STATES.flatMap((state) => {
    const n = counts[state] ?? 0;
    return n === 0
      ? []
      : [
          html`<li class="tick ${STATES[state].tone}">
            <a href="${path(state)}">${count(n)} ${STATES[state].label.toLowerCase()}</a>
          </li>`,
        ];
  });
  const form = (act: string) => ({ action: `/sinks/${address}/${act}`, csrf: session.csrf });
  const said = html`<span class="said"> ${line(name, 64)}</span>`;
  return html`<section class="card sink" aria-label="Sink ${line(name, 64)}">
    <div class="delivery-head">
      <h2>${line(name, 64)} <span class="soft">${kind ?? "no longer configured"}</span></h2>
      ${badge(chooseLook(sink))}
    </div>
    ${circuitSaid(sink)}
    ${
      shown.length === 0
        ? html`<p class="soft">Nothing was sent here yet.</p>`
        : html`<ul class="ticks">
            ${shown}
          </ul>`
    }
    ${latencyChart(times, window)}
    <dl class="facts narrow">
      ${fact(
        "Backlog",
        backlog === null
          ? "none"
          : html`<a href="${path("pending")}&state=sending">${plural(backlog.size, "delivery", "deliveries")}</a>, the
              oldest for ${duration(Math.max(0, now - backlog.oldest))}`,
      )}
      ${fact(
        "Last success",
        lastSuccess === null ? timeOr(circuit.last_success_at) : whenAndWhich(lastSuccess, lastSuccess.delivered_at),
      )}
      ${fact(
        "Last error",
        lastError === null ? timeOr(circuit.last_failure_at) : whenAndWhich(lastError.delivery, lastError.at),
      )}
    </dl>
    ${lastError?.delivery.last_error == null ? "" : html`<p class="error-text">${block(lastError.delivery.last_error, 300)}</p>`}
    ${
      kind === null
        ? ""
        : html`<div class="row">
            ${buttonForm(form("test"), ["Send test", html`<span class="said"> to</span>`, said], "small")}
            ${circuit.state === "closed" ? "" : buttonForm(form("resume"), ["Resume", said], "small primary")}
            ${
              (counts["dead"] ?? 0) === 0
                ? ""
                : html`<a class="button small" href="/deliveries/redeliver?state=dead&sink=${address}"
                    >Redeliver ${line(name, 64)}’s dead deliveries</a
                  >`
            }
          </div>`
    }
  </section>`;
}

const timeOr = (ms: number | null): Part => (ms === null ? "–" : time(ms));

const whenAndWhich = ({ run_id }: Delivery, at: number | null): Html =>
  html`${time(at)}, <a href="${runPath(run_id)}">${line(run_id, 60)}</a>`;

function circuitSaid({ kind, lastError, circuit: { state, failures, until, reason } }: SinkView): Part {
  if (state === "closed" || kind === null) return "";
  // Skips what the card says elsewhere.
  const why =
    reason === null || reason === lastError?.delivery.last_error
      ? ""
      : html` <span class="breaks">${block(reason, 400)}</span>`;
  return state === "stopped"
    ? html`<p class="note">
        ${icon("ban")}<span
          >Stopped: the sink asked for no more messages. Nothing is sent until you resume it.${why}</span
        >
      </p>`
    : html`<p class="note">
        ${icon("clock")}<span
          >The circuit is open after ${plural(failures, "failure")} in a
          row${until === null ? "" : html`; tried again at ${time(until)}`}.${why}</span
        >
      </p>`;
}

/** The sink's state in a word or two. An error before a later success does not count. */
function chooseLook({ kind, circuit, backlog, counts, lastError, lastSuccess }: SinkView): BadgeLook {
  if (kind === null) return { label: "Gone", tone: "plain", icon: "ban" };
  if (circuit.state === "stopped") return { label: "Stopped", tone: "bad", icon: "ban" };
  if (circuit.state === "open") return { label: "Circuit open", tone: "bad", icon: "clock" };
  const isFailing = lastError !== null && lastError.at > (lastSuccess?.delivered_at ?? 0);
  if (isFailing) return { label: "Failing", tone: "bad", icon: "failed" };
  if (backlog !== null) return { label: "Sending", tone: "warn", icon: "dots" };
  if (lastSuccess === null) return { label: "Not used yet", tone: "plain", icon: "info" };
  return (counts["dead"] ?? 0) > 0
    ? { label: "Working, with dead deliveries", tone: "warn", icon: "info" }
    : { label: "Working", tone: "good", icon: "done" };
}
