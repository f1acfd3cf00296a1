/** `skyvern-relay serve`: the relay itself. */
import { STORAGE_THREAD } from "../storage-entry.ts";
import { startAhead } from "../store/thread.ts";
import { type AddCommand } from "./command.ts";

export const addServe: AddCommand = ({ command, ends, shell }) =>
  command(
    "serve",
    "run the relay until SIGTERM or SIGINT; SIGHUP, or a changed file, has it read its configuration again",
  ).action(
    ends(async () => {
      // The thread starts while this one loads: each takes as long as the other.
      startAhead(STORAGE_THREAD, shell.env);
      const { serve } = await import("./serving.ts");
      return serve(shell);
    }),
  );
