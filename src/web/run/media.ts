/** Pictures and film of a run, through the relay: the page loads nothing from elsewhere, and a reader's address stays here. */
import type { ArtifactKey } from "../../domain/run.ts";
import { noPicture, safeAnswer, type Media, type Owner } from "../../skyvern/artifacts/media.ts";

export interface MediaRequest {
  owner: Owner;
  key: ArtifactKey;
  range: string | null;
  signal: AbortSignal;
}

/** The bytes as an answer that runs nothing; a picture that says so when they cannot be had, or are neither picture nor film. */
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
