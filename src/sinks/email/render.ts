/** Renders the mail about one report: the same content as text and as HTML. Pure. */
import type { Report } from "../../domain/report.ts";
import type { Content } from "../content.ts";
import { cut } from "../cut.ts";
import type { Job } from "../sink.ts";
import { renderHtml } from "./html.ts";
import { renderText } from "./text.ts";
import { line, buildView, type MailLimits, type ShownPicture } from "./view.ts";

export interface Mail {
  /** One line, at most 150 characters. */
  subject: string;
  text: string;
  html: string;
  headers: Record<string, string>;
}

/** Each body stays below this: Gmail shows the first 102 kB of a message and hides the rest. */
export const MAX_BODY_BYTES = 100_000;
const MAX_SUBJECT = 150;

/** The limits are tried in turn until the mail is small enough; the last always fits. */
const LIMITS: MailLimits[] = [
  { field: 2_000, cell: 500, output: true },
  { field: 1_000, cell: 100, output: true },
  { field: 500, cell: 30, output: true },
  { field: 400, cell: 0, output: false },
];

export function renderMail(
  content: Content,
  report: Report,
  job: Pick<Job, "cause" | "previous">,
  picture: ShownPicture | null = null,
): Mail {
  const bodies = renderBodies(content, PREFIX[job.cause], picture);
  return { subject: renderSubject(content, job), ...bodies, headers: renderHeaders(report, job) };
}

function renderBodies(content: Content, prefix: string, picture: ShownPicture | null): Pick<Mail, "text" | "html"> {
  let bodies = { text: "", html: "" };
  for (const limits of LIMITS) {
    const plain = buildView(content, limits, picture);
    const view = { ...plain, status: prefix + plain.status };
    bodies = { text: renderText(view), html: renderHtml(view) };
    if (isSmall(bodies.text) && isSmall(bodies.html)) break;
  }
  return bodies;
}

const isSmall = (body: string): boolean => Buffer.byteLength(body) <= MAX_BODY_BYTES;

const PREFIX = {
  result: "",
  update: "Update: ",
  correction: "Correction: ",
  redelivery: "",
  test: "",
  alert: "",
};

const renderSubject = ({ status, title }: Content, { cause }: Pick<Job, "cause">): string =>
  cut(`${PREFIX[cause]}${status.symbol} ${line(status.label)}: ${line(title)}`, MAX_SUBJECT);

function renderHeaders(report: Report, { cause, previous }: Pick<Job, "cause" | "previous">): Record<string, string> {
  const earlier = previous?.["server_message_id"] ?? previous?.["message_id"];
  const known = typeof earlier === "string" && /^<[^<>\s@]{1,200}@[^<>\s@]{1,253}>$/.test(earlier);
  return {
    "Auto-Submitted": "auto-generated",
    "X-Auto-Response-Suppress": "All",
    [cause === "alert" ? "X-Skyvern-Relay-Alert" : "X-Skyvern-Run-Id"]: report.run_id
      .replace(/[^\w.-]/g, "_")
      .slice(0, 100),
    ...(known ? { "In-Reply-To": earlier, References: earlier } : {}),
  };
}
