/** `skyvern-relay openapi`. */
import { createRelay } from "../app/relay.ts";
import { formatFaults, loadConfig } from "../config/config.ts";
import { silentLog } from "../platform/log.ts";
import { systemRuntime } from "../platform/runtime.ts";
import { EXIT, type AddCommand } from "./command.ts";

export const addOpenapi: AddCommand = ({ command, ends, shell }) =>
  command("openapi", "print the OpenAPI document of the history API").action(
    ends(async () => {
      shell.stdout(await openapiDocument());
      return EXIT.done;
    }),
  );

/** Renders the document as a relay with an empty configuration serves it, as it depends on none. */
async function openapiDocument(): Promise<string> {
  const env = { SKYVERN_API_KEY: "none", DATABASE_URL: "sqlite::memory:" };
  const loaded = loadConfig({ env });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  const relay = await createRelay(loaded.config, systemRuntime(), silentLog);
  const response = await relay.app.fetch(new Request("http://localhost/openapi.json"));
  const document = await response.json();
  await relay.stop();
  return `${JSON.stringify(document, null, 2)}\n`;
}
