/**
 * Serves pictures and film of a run through the relay, so that the page loads nothing from elsewhere and the reader's
 * address stays private.
 */
import type { ArtifactKey } from "../../domain/run.ts";
import { noPicture, safeAnswer, type Media, type Owner } from "../../skyvern/artifacts/media.ts";

export interface MediaRequest {
  owner: Owner;
  key: ArtifactKey;
  range: string | null;
  signal: AbortSignal;
}

/**
 * Answers with the bytes in a form that runs nothing, or with a placeholder picture when they cannot be read or are
 * neither picture nor film.
 */
export async function answerMedia(media: Pick<Media, "open">, request: MediaRequest): Promise<Response> {
  const { owner, key, range, signal } = request;
  const opened = await media.open(owner, key, { range, signal });
  if (opened.kind === "unsatisfiable") return new Response(null, { status: 416 });
  if (opened.kind === "gone") return missing(key);
  const answer = await safeAnswer(opened.content, key);
  if (answer.headers.get("content-disposition") === "inline") return answer;
  await answer.body?.cancel();
  return missing(key);
}

const missing = (key: ArtifactKey): Response =>
  key === "recording" ? new Response(null, { status: 404 }) : noPicture();
