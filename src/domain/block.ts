/** The blocks of a workflow run: what each came to, and which one broke it. Pure. */
import type { ArtifactKey } from "./run.ts";

/** One block of a workflow run, as Skyvern's timeline reports it. Texts are masked. */
export interface Block {
  label: string | null;
  /** In Skyvern's spelling: `http_request`. */
  type: string;
  status: string | null;
  /** The attempt of the run that it belongs to, from 1. */
  attempt: number;
  /** 0: a block of the workflow itself; 1: one inside of a loop or a branch; and so on. */
  depth: number;
  /** Epoch milliseconds. */
  started_at: number | null;
  duration_ms: number | null;
  reason: string | null;
  codes: string[];
  /** Its newest picture. */
  screenshot: ArtifactKey | null;
}

export interface Timeline {
  /** In the order in which they began. */
  blocks: Block[];
  /** How many earlier blocks are not stored. */
  omitted: number;
  /** How many blocks the workflow has, inner ones too; asked for where one failed, and absent where it is not known. */
  planned?: number;
}

export interface FailedBlock {
  block: Block;
  /** Its place among the blocks of the run's last attempt, from 1. A block that a loop repeats counts once. */
  index: number;
  /** The blocks of the workflow; where that is not known, those that ran. */
  of: number;
}

const FAILED = new Set(["failed", "terminated", "timed_out", "canceled"]);

/**
 * The block at which the last attempt of a run ended: of those that failed, the one that began last. Null when none
 * did.
 */
export function failedBlock({ blocks, planned = 0 }: Timeline): FailedBlock | null {
  const last = Math.max(...blocks.map(({ attempt }) => attempt), 1);
  const ofLast = blocks.filter(({ attempt }) => attempt === last);
  const block = ofLast.findLast(({ status }) => FAILED.has(status ?? ""));
  if (!block) return null;
  const labels = [...new Set(ofLast.map(({ label }) => label))];
  return { block, index: labels.indexOf(block.label) + 1, of: Math.max(labels.length, planned) };
}

const WORDS = new Map([
  ["http_request", "HTTP request"],
  ["for_loop", "Loop"],
  ["while_loop", "Loop"],
  ["goto_url", "Go to address"],
  ["task_v1", "Task"],
  ["task_v2", "Task 2.0"],
  ["task_v3", "Task 3.0"],
  ["workflow_run", "Workflow"],
  ["openai_cua", "OpenAI CUA"],
  ["anthropic_cua", "Anthropic CUA"],
  ["ui_tars", "UI-TARS"],
  ["pdf_parser", "PDF parser"],
  ["file_url_parser", "File parser"],
  ["upload_to_s3", "Upload to S3"],
  ["download_to_s3", "Download to S3"],
  ["llm_error", "LLM error"],
  ["llm_reasoning_error", "LLM reasoning error"],
]);

/** The type of a block or run in words: `file_download` → `File download`. */
export function typeName(type: string): string {
  const spaced = type.replaceAll("_", " ");
  return WORDS.get(type) ?? spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
