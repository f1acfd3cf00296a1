/** What a relay keeps its runs in, and where what comes is taken: with SQLite in a file, in the thread that writes it. */
import type { Config } from "./config.ts";
import type { Genuine } from "./receive/arrival.ts";
import { createIntake, intakeParts, withRoom, type Intake, type IntakeSettings } from "./receive/intake.ts";
import type { Runtime } from "./runtime.ts";
import { STORAGE_THREAD } from "./storage-entry.ts";
import type { Intakes } from "./storage-thread.ts";
import { isInMemory, nameOf } from "./store/address.ts";
import type { Database } from "./store/database.ts";
import { sliced } from "./store/grouped.ts";
import { migrate } from "./store/migrate.ts";
import { openDatabase } from "./store/open.ts";
import { createSqlStore } from "./store/sql.ts";
import type { Deciding, Reserve, Store } from "./store/store.ts";
import { openThreaded, type Thread } from "./store/threaded.ts";

export interface Storage {
  store: Store;
  /** What takes what comes, by one configuration. There may be several at a time. */
  intake(settings: IntakeSettings, runtime: Pick<Runtime, "newId">, reserve: Reserve): Intake;
  /** Where other relays may be, too; null: this is the only one. */
  shared: Database | null;
}

/** Opens the database, and creates or migrates it. Rejects, with its name, when it is in use or cannot be opened. */
export async function openStorage(settings: Config["database"]): Promise<Storage> {
  try {
    if (settings.kind === "sqlite" && !isInMemory(settings)) return await inThread(settings.path);
    const database = await openMigrated(settings);
    const store = createSqlStore(database);
    return { store, intake: intakeOn(store), shared: database.session ? database : null };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the database ${nameOf(settings)} cannot be opened: ${why}`, { cause: error });
  }
}

async function openMigrated(settings: Config["database"]): Promise<Database> {
  const database = await openDatabase(settings, "patient");
  try {
    await migrate(database);
  } catch (error) {
    await database.close();
    throw error;
  }
  if (settings.kind === "sqlite") return database;
  await database.close();
  return openDatabase(settings, "relay");
}

/** In this thread, on a store that is in it as well. */
export const intakeOn =
  (store: Deciding): Storage["intake"] =>
  (settings, runtime, reserve) =>
    createIntake(intakeParts(settings, store, runtime), reserve);

// --- in the thread --------------------------------------------------------------------------------------------------

async function inThread(path: string): Promise<Storage> {
  const { store, call } = await openThreaded(path, STORAGE_THREAD);
  let intakes = 0;
  return {
    store,
    intake: (settings, _runtime, reserve) => threadIntake(call, ++intakes, settings, reserve),
    shared: null,
  };
}

function threadIntake(call: Thread["call"], intake: number, settings: IntakeSettings, reserve: Reserve): Intake {
  const ask = <Name extends keyof Intakes>(
    name: Name,
    given: Parameters<Intakes[Name]> extends [number, ...infer Given] ? Given : never,
    transfer?: readonly ArrayBuffer[],
  ) => call(name, [intake, ...given], transfer) as ReturnType<Intakes[Name]>;
  // Nobody waits for it: what comes behind finds it open.
  const opened = ask("openIntake", [settings]);
  opened.catch(() => {});
  return {
    webhook: sliced(
      withRoom(reserve, (webhooks: readonly Genuine[], room) => {
        const { packed, transfer } = pack(webhooks);
        return ask("webhooks", [packed, room], transfer);
      }),
    ),
    answer: (answered) => ask("answer", [answered]),
    reread: (kept) => ask("reread", [kept]),
    showMore: (runId, now) => ask("showMore", [runId, now]),
    // It is closed even where what was written beside it is not.
    close: () => ask("closeIntake", []).catch(() => {}),
  };
}

/** Bodies from this size on travel as they are, where the memory is theirs alone; smaller ones in one piece of memory. */
const OWN_BYTES = 64 * 1024;

/** Ready to be sent without being copied once more. What is transferred is gone here. */
function pack(webhooks: readonly Genuine[]): { packed: Genuine[]; transfer: ArrayBuffer[] } {
  const isOwn = ({ bytes }: Genuine) => bytes.length >= OWN_BYTES && bytes.length === bytes.buffer.byteLength;
  const small = webhooks.filter((genuine) => !isOwn(genuine)).reduce((sum, { bytes }) => sum + bytes.length, 0);
  const memory = new Uint8Array(small);
  const transfer = [memory.buffer];
  let offset = 0;
  const packed = webhooks.map((genuine) => {
    const { bytes } = genuine;
    if (isOwn(genuine)) {
      transfer.push(bytes.buffer as ArrayBuffer);
      return { ...genuine, bytes: new Uint8Array(bytes.buffer) };
    }
    memory.set(bytes, offset);
    offset += bytes.length;
    return { ...genuine, bytes: memory.subarray(offset - bytes.length, offset) };
  });
  return { packed, transfer };
}
