/** The thread in which a relay on SQLite writes: the store's operations, and next to them the intake. */
import { parentPort } from "node:worker_threads";
import type { Answered, Kept } from "./receive/intake.ts";
import { intakeParts, reread, showMore, takeAll, takeAnswer, type IntakeSettings } from "./receive/intake.ts";
import type { Genuine } from "./receive/arrival.ts";
import { idMaker } from "./runtime.ts";
import { serveOperations } from "./store/sqlite-thread.ts";
import type { Deciding, Room } from "./store/store.ts";

/** First comes the path of the database, then what to do there. */
const port = parentPort;
port?.once("message", (path: string) => serveOperations(port, path, intakesOn));

/** What {@link threadIntake} calls. Each configuration has an intake of its own, by a number. */
export type Intakes = ReturnType<typeof intakesOn>;

function intakesOn(store: Deciding) {
  const open = new Map<number, ReturnType<typeof intakeParts>>();
  let now = 0;
  // Of the clock of whoever asks: there is one.
  const newId = idMaker(() => now);
  const at = (intake: number, ms: number) => {
    const parts = open.get(intake);
    if (!parts) throw new Error("the intake is closed");
    now = ms;
    return parts;
  };
  return {
    openIntake: async (intake: number, settings: IntakeSettings) => {
      open.set(intake, intakeParts(settings, store, { newId }));
    },
    closeIntake: async (intake: number) => {
      open.delete(intake);
    },
    webhooks: async (intake: number, webhooks: readonly Genuine[], room: Room | null) =>
      takeAll(at(intake, webhooks[0]?.receivedAt ?? now), webhooks, room),
    answer: async (intake: number, answered: Answered) => takeAnswer(at(intake, answered.receivedAt), answered),
    reread: async (intake: number, kept: Kept) => reread(at(intake, kept.now), kept),
    showMore: async (intake: number, runId: string, ms: number) => showMore(at(intake, ms), runId, ms),
  };
}
