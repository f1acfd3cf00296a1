/**
 * The report: a run with its artifacts, in the one shape that HTTP sinks receive, the history API answers and the other
 * sinks render. Every link in it is the relay's own.
 */
import { z } from "zod";
import { failedBlock, type Timeline } from "./block.ts";
import type { Json } from "../platform/json.ts";
import { isoTime } from "../platform/time.ts";
import { SOURCES, type Artifact, type ArtifactKey, type ArtifactsStatus, type Run, type RunAttempt } from "./run.ts";

const text = z.string().nullable();
const time = z.iso.datetime({ precision: 3 }).nullable().meta({ description: "UTC, milliseconds" });
const json = z.unknown().meta({ description: "Any JSON, numbers kept digit for digit." }) as unknown as z.ZodType<Json>;

export const ReportSchema = z.object({
  run_id: z.string(),
  run_type: z.string().meta({ description: "`task_v1`, `task_v2`, `workflow_run`, … New types pass unchanged." }),
  kind: z.enum(["task", "workflow"]),
  status: z.string().meta({
    description:
      "The settled outcome. `retrying`: a run attempt ended, and Skyvern is going to try again. Other statuses " +
      "that are not final pass as they are.",
  }),
  reported_status: z.string().meta({ description: "What the last webhook said." }),
  revision: z.int().meta({ description: "Starts at 1 and grows by 1 with each correction or update." }),
  source: z.enum(SOURCES),
  organization_id: text,
  channel: text.meta({ description: "The label in the webhook's URL." }),
  title: text,
  prompt: text,
  url: text,
  summary: text,
  app_url: text.meta({ description: "The run in Skyvern's own web page." }),
  workflow: z.object({ run_id: text, permanent_id: text, id: text, title: text }).nullable(),
  output: json,
  failure: z
    .object({
      reason: text,
      codes: z.array(z.string()),
      categories: z.array(z.string()).meta({ description: "The failure's categories, best first." }),
      errors: z.array(json),
      block: z
        .object({
          label: text,
          type: z.string().meta({ description: "As Skyvern spells it: `http_request`." }),
          index: z.int().meta({ description: "Its place among the blocks that the last attempt reached, from 1." }),
          of: z
            .int()
            .meta({ description: "The blocks of the workflow; where that is not known, those that were reached." }),
        })
        .nullable()
        .meta({ description: "The block at which the run ended, where Skyvern's timeline could be read." }),
    })
    .nullable(),
  parameters: z.record(z.string(), json).nullable().meta({ description: "Masked by the redaction rules." }),
  files: z.array(
    z.object({
      name: z.string(),
      size: z.number().nullable().meta({ description: "Bytes." }),
      checksum: text.meta({ description: "sha256, hex." }),
      artifact_id: text,
      url: z.string(),
    }),
  ),
  artifacts: z.array(
    z.object({
      artifact_id: z.string(),
      type: z.string(),
      url: z.string(),
      created_at: time,
      attempt: z.int().meta({ description: "The run attempt during which it was made." }),
    }),
  ),
  artifacts_status: z.enum(["pending", "complete", "partial", "unavailable"]),
  blocks: z
    .array(
      z.object({
        label: text,
        type: z.string(),
        status: text,
        attempt: z.int().meta({ description: "The attempt of the run that it belongs to, from 1." }),
        depth: z.int().meta({ description: "0: of the workflow itself; 1: inside of a loop or branch; and so on." }),
        started_at: time,
        duration_ms: z.int().nullable(),
        reason: text,
        codes: z.array(z.string()),
        screenshot_url: text,
      }),
    )
    .meta({ description: "A workflow run's blocks in the order in which they began; empty where they are not known." }),
  blocks_omitted: z.int().meta({ description: "The number of earlier blocks that are not stored." }),
  recording_url: text,
  screenshot_urls: z.array(z.string()).meta({ description: "Newest first." }),
  step_count: z.int().nullable(),
  related: z
    .object({
      retried_from: text,
      retried_by: text,
      parent: text,
      children: z.array(z.string()),
      schedule: text,
      group: text.meta({ description: "Always null: Skyvern does not say to which group (`wrg_…`) a run belongs." }),
    })
    .meta({
      description:
        "Ids of runs that belong to it: the one it tries anew, the one that tries it anew, the one that started it, " +
        "those it started; and of the schedule that started it, `wfs_…`.",
    }),
  trigger: text.meta({
    description: "What started it, in Skyvern's words: `api`, `manual`, `scheduled`, `webhook`, …",
  }),
  tags: z.array(z.string()).meta({ description: "Skyvern's tags of the run: `key:value`, or a label alone." }),
  credits: z.number().nullable().meta({ description: "What Skyvern charged for it." }),
  ai_fallback: z
    .boolean()
    .nullable()
    .meta({ description: "True when the script failed and the agent took over; null without a script." }),
  labels: z.record(z.string(), z.string()).meta({
    description: "The values of the names in `receive.labels`, from the query of its webhook address.",
  }),
  attempt: z.int().meta({ description: "The number of Skyvern's run attempt, from 1." }),
  attempts: z
    .array(
      z.object({
        attempt: z.int(),
        status: z.string(),
        reason: text,
        codes: z.array(z.string()),
        started_at: time,
        finished_at: time,
        decision: text.meta({
          description:
            "What was decided at its end: `retry`, `final`, `revoked` (canceled before the next one began); " +
            "null while it runs. " +
            "`never_started`: another attempt was announced, and there was none a day later.",
        }),
      }),
    )
    .meta({
      description: "Every run attempt, oldest first; empty for a run that Skyvern tries only once.",
    }),
  next_attempt_at: time.meta({ description: "When the next run attempt is to begin; null when none is to come." }),
  created_at: time,
  queued_at: time,
  started_at: time.meta({ description: "UTC, milliseconds. Of the first run attempt." }),
  finished_at: time.meta({ description: "UTC, milliseconds. Of the last run attempt." }),
  received_at: time,
  duration_ms: z.int().nullable().meta({ description: "From started_at to finished_at: all run attempts." }),
  run_url: z.string().meta({ description: "The run's page on the relay." }),
});
export type Report = z.output<typeof ReportSchema>;

/** Builds the relay's own links. */
export interface Links {
  run(runId: string): string;
  /** A signed link. Anyone who holds it may open this one artifact. */
  artifact(runId: string, key: ArtifactKey): string;
}

export interface ReportInput {
  run: Run;
  revision: number;
  known: KnownDetails;
}

/** What Skyvern's API reports about a run besides its result. */
export interface KnownDetails {
  artifacts: readonly Artifact[];
  status: ArtifactsStatus;
  timeline?: Timeline;
}

const linkOr = (key: ArtifactKey | null, link: (key: ArtifactKey) => string): string | null =>
  key === null ? null : link(key);

/** The key of a run's recording; null when it has none, or only one without bytes. */
export function recordingOf({ recording }: Run, artifacts: readonly Artifact[]): ArtifactKey | null {
  const recordings = artifacts.filter(({ type }) => type === "recording");
  const own = recordings.find(({ artifact_id }) => artifact_id === recording) ?? recordings.at(-1);
  if (recording !== null && own?.empty !== true) return recording;
  return recordings.findLast(({ empty }) => empty !== true)?.artifact_id ?? null;
}

const NO_TIMELINE: Timeline = { blocks: [], omitted: 0 };
const MAX_SCREENSHOTS = 3;
const listScreenshots = (artifacts: readonly Artifact[]): ArtifactKey[] =>
  artifacts
    .filter(({ type }) => type.startsWith("screenshot_"))
    .map(({ artifact_id }) => artifact_id)
    .toReversed()
    .slice(0, MAX_SCREENSHOTS);

/**
 * The keys of the screenshots that say most about a run, at most three. The first is the newest final one of a
 * completed run, else the newest of the block that failed, else the newest of all; then the newest follow. Skyvern's
 * list is preferred to the payload.
 */
export function decisiveScreenshots(run: Run, { artifacts, timeline = NO_TIMELINE }: KnownDetails): ArtifactKey[] {
  const timed = artifacts
    .filter(({ type, created_at }) => type.startsWith("screenshot_") && created_at !== null)
    .toReversed()
    .sort((a, b) => (b.created_at ?? 0) - (a.created_at ?? 0));
  // The payload names none where no block had a task: what its blocks made is then all there is.
  const listed = run.screenshots.length === 0 ? timed : timed.filter(({ type }) => SHOWN_SCREENSHOTS.has(type));
  const final = run.status === "completed" ? listed.find(({ type }) => type === "screenshot_final") : undefined;
  const failed = run.status === "completed" ? undefined : failedBlock(timeline)?.block;
  const ofFailed = timed.find(({ block }) => block !== undefined && block === failed?.label)?.artifact_id;
  const broken = failed?.screenshot ?? ofFailed ?? null;
  const keys = [...(final ? [final] : []), ...listed].map(({ artifact_id }) => artifact_id);
  const ofBlocks = timeline.blocks.flatMap(({ screenshot }) => screenshot ?? []).toReversed();
  const all = [broken ?? [], keys, run.screenshots, ofBlocks, listScreenshots(artifacts)].flat();
  return [...new Set(all)].slice(0, MAX_SCREENSHOTS);
}

/** Where a picture comes from. */
export interface PictureOrigin {
  /** The block that made it. */
  block: string | null;
  /** Epoch milliseconds. */
  at: number | null;
}

/** The block and the moment, where known. Skyvern works on one block at a time, so the moment tells the block. */
export function originOf({ artifacts, timeline = NO_TIMELINE }: KnownDetails, key: ArtifactKey): PictureOrigin {
  const made = artifacts.find(({ artifact_id }) => artifact_id === key);
  const at = made?.created_at ?? null;
  const own = timeline.blocks.find(({ screenshot }) => screenshot === key);
  const then = timeline.blocks.findLast(({ started_at }) => at !== null && started_at !== null && started_at <= at);
  return { block: made?.block ?? own?.label ?? then?.label ?? null, at };
}

/**
 * The number of the run attempt in whose time something was made; 1 when that is not known. `attempts`: oldest first.
 */
const attemptAt = (attempts: readonly RunAttempt[], at: number | null): number =>
  at === null ? 1 : (attempts.findLast(({ started_at }) => started_at !== null && started_at <= at)?.attempt ?? 1);

/** Other screenshots are what the model was shown, with marks drawn on the page. */
const SHOWN_SCREENSHOTS = new Set(["screenshot_final", "screenshot_action"]);

/** Where the run gave no reason, its block may have one. */
function describeFailure(run: Run, timeline: Timeline): Report["failure"] {
  const failed = run.status === "completed" ? null : failedBlock(timeline);
  if (failed === null) return run.failure && { ...run.failure, block: null };
  const { block, index, of } = failed;
  const given = run.failure ?? { reason: block.reason, codes: block.codes, categories: [], errors: [] };
  return { ...given, block: { label: block.label, type: block.type, index, of } };
}

const relatedOf = ({ retried_from, retried_by, parent, children, schedule }: Run): Report["related"] => ({
  retried_from,
  retried_by,
  parent: parent ?? null,
  children,
  schedule: schedule ?? null,
  group: null,
});

export function toReport({ run, revision, known }: ReportInput, links: Links): Report {
  const { artifacts, status: artifactsStatus, timeline = NO_TIMELINE } = known;
  const made = new Map<ArtifactKey, string>();
  const link = (key: ArtifactKey): string => {
    const known = made.get(key) ?? links.artifact(run.run_id, key);
    made.set(key, known);
    return known;
  };
  const { received_at, created_at, queued_at, started_at, finished_at } = run;
  return {
    run_id: run.run_id,
    run_type: run.run_type,
    kind: run.kind,
    status: run.status,
    reported_status: run.reported_status,
    revision,
    source: run.source,
    organization_id: run.organization_id,
    channel: run.channel,
    title: run.title,
    prompt: run.prompt,
    url: run.url,
    summary: run.summary,
    app_url: run.app_url,
    workflow: run.workflow,
    output: run.output,
    failure: describeFailure(run, timeline),
    parameters: run.parameters,
    files: run.files.map(({ key, name, size, checksum, artifact_id }) => ({
      name,
      size,
      checksum,
      artifact_id,
      url: link(key),
    })),
    artifacts: artifacts
      .filter(({ empty }) => empty !== true)
      .map(({ artifact_id, type, created_at: at }) => ({
        artifact_id,
        type,
        url: link(artifact_id),
        created_at: isoTime(at),
        attempt: attemptAt(run.attempts, at),
      })),
    artifacts_status: artifactsStatus,
    blocks: timeline.blocks.map(({ started_at: startedAt, screenshot, ...block }) => ({
      ...block,
      started_at: isoTime(startedAt),
      screenshot_url: linkOr(screenshot, link),
    })),
    blocks_omitted: timeline.omitted,
    recording_url: linkOr(recordingOf(run, artifacts), link),
    screenshot_urls: (run.screenshots.length > 0 ? run.screenshots : listScreenshots(artifacts)).map(link),
    step_count: run.step_count,
    related: relatedOf(run),
    trigger: run.trigger ?? null,
    tags: run.tags ?? [],
    credits: run.credits,
    ai_fallback: run.ai_fallback,
    labels: run.labels ?? {},
    attempt: run.attempt,
    attempts: run.attempts.map((one) => ({
      ...one,
      started_at: isoTime(one.started_at),
      finished_at: isoTime(one.finished_at),
    })),
    next_attempt_at: isoTime(run.next_attempt_at),
    created_at: isoTime(created_at),
    queued_at: isoTime(queued_at),
    started_at: isoTime(started_at),
    finished_at: isoTime(finished_at),
    received_at: isoTime(received_at),
    duration_ms: started_at !== null && finished_at !== null ? Math.max(0, finished_at - started_at) : null,
    run_url: links.run(run.run_id),
  };
}

/** A report that no run is behind, for people: all that a run would have is missing. `at`: when it was made. */
export const emptyReport = (id: string, what: string, at: string): Report => ({
  run_id: id,
  run_type: what,
  kind: "task",
  status: what,
  reported_status: what,
  revision: 1,
  source: "webhook",
  organization_id: null,
  channel: null,
  title: null,
  prompt: null,
  url: null,
  summary: null,
  app_url: null,
  workflow: null,
  output: null,
  failure: null,
  parameters: null,
  files: [],
  artifacts: [],
  artifacts_status: "complete",
  blocks: [],
  blocks_omitted: 0,
  recording_url: null,
  screenshot_urls: [],
  step_count: null,
  related: { retried_from: null, retried_by: null, parent: null, children: [], schedule: null, group: null },
  trigger: null,
  tags: [],
  credits: null,
  ai_fallback: null,
  labels: {},
  attempt: 1,
  attempts: [],
  next_attempt_at: null,
  created_at: at,
  queued_at: null,
  started_at: null,
  finished_at: null,
  received_at: at,
  duration_ms: null,
  run_url: "",
});

/** The name of a run: its title, else its address and the first words of its goal. Never its id. */
export function nameRun({ title, prompt, url, kind }: Pick<Run, "title" | "prompt" | "url" | "kind">): string {
  const named = oneLine(title ?? "");
  if (named !== "") return named;
  const host = url === null ? "" : (URL.parse(url)?.host ?? "");
  const goal = firstWords(oneLine((prompt ?? "").slice(0, 4 * MAX_GOAL)));
  const parts = goal.includes(host) ? [goal] : [host, goal];
  return parts.filter((part) => part !== "").join(": ") || (kind === "workflow" ? "Workflow run" : "Task");
}

/** UTF-16 units. */
const MAX_GOAL = 80;

const firstWords = (text: string): string =>
  text.length <= MAX_GOAL
    ? text
    : `${text.slice(0, text.lastIndexOf(" ", MAX_GOAL) > 0 ? text.lastIndexOf(" ", MAX_GOAL) : MAX_GOAL).toWellFormed()} …`;

export const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim();
