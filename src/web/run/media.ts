/**
 * Serves pictures and film of a run through the relay, so that the page loads nothing from elsewhere and the reader's
 * address stays private.
 */
import { recordingOf } from "../../domain/report.ts";
import type { ArtifactKey } from "../../domain/run.ts";
import { noPicture, safeAnswer } from "../../skyvern/artifacts/answer.ts";
import type { Media, Owner } from "../../skyvern/artifacts/media.ts";

export interface MediaRequest {
  owner: Owner;
  key: ArtifactKey;
  range: string | null;
  signal: AbortSignal;
}

/**
 * Answers with the bytes in a form that runs nothing. What cannot be read, or is neither picture nor film, is a
 * placeholder picture; of a recording it is 404, so that a player says so.
 */
export async function answerMedia(media: Pick<Media, "open">, request: MediaRequest): Promise<Response> {
  const { owner, key, range, signal } = request;
  const opened = await media.open(owner, key, { range, signal });
  if (opened.kind === "unsatisfiable") return new Response(null, { status: 416 });
  if (opened.kind === "gone") return missing(owner, key);
  const answer = await safeAnswer(opened.content, key);
  if (answer.headers.get("content-disposition") === "inline") return answer;
  await answer.body?.cancel();
  return missing(owner, key);
}

const missing = ({ run, artifacts }: Owner, key: ArtifactKey): Response =>
  key === recordingOf(run, artifacts) ? new Response(null, { status: 404 }) : noPicture();
