/**
 * Serves pictures and the recording of a run through the relay, so that the page loads nothing from elsewhere and the
 * reader's address stays private.
 */
import type { ArtifactKey } from "../../domain/run.ts";
import { safeAnswer } from "../../skyvern/artifacts/answer.ts";
import type { Media, Owner } from "../../skyvern/artifacts/media.ts";

export interface MediaRequest {
  owner: Owner;
  key: ArtifactKey;
  range: string | null;
  signal: AbortSignal;
}

/**
 * Answers with the bytes in a form that runs nothing. What cannot be read, or is neither picture nor recording, is
 * answered with nothing: the page has words in its place, and a browser complains of nothing.
 */
export async function answerMedia(media: Pick<Media, "open">, request: MediaRequest): Promise<Response> {
  const { owner, key, range, signal } = request;
  const opened = await media.open(owner, key, { range, signal });
  if (opened.kind === "unsatisfiable") return new Response(null, { status: 416 });
  if (opened.kind === "gone") return missing();
  const answer = await safeAnswer(opened.content, key);
  if (answer.headers.get("content-disposition") === "inline") return answer;
  await answer.body?.cancel();
  return missing();
}

/** Not cached: a storage that does not answer now may do so later. */
const missing = (): Response => new Response(null, { status: 204, headers: { "cache-control": "no-store" } });
