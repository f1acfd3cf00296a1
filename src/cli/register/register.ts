/**
 * `skyvern-relay register`: gives Skyvern's workflows the relay's address as their webhook, and takes it back. The
 * database remembers the address that each had before.
 */
import { openEgress } from "../../app/outside.ts";
import { createAddresses } from "../../receive/own-addresses.ts";
import { createSkyvernClient, type SkyvernClient } from "../../skyvern/client.ts";
import type { Database } from "../../store/database.ts";
import { forgetRegistered, listRegistered, rememberRegistered } from "../../store/registered.ts";
import { plural } from "../../platform/amounts.ts";
import { line } from "../../web/text.ts";
import { complain, EXIT, type AddCommand, type CommandDeps, type Complain } from "../command.ts";
import { using } from "../database.ts";
import { checkForm } from "../doctor/address.ts";
import { describeSkyvernFault } from "../init/overview.ts";
import { progressLine } from "../progress.ts";
import { changeAddress, type ChangeResult } from "./change.ts";
import { askWhich, renderTargets, showAddress } from "./choose.ts";
import { planRegister, planUndo, type PlanFault, type Target } from "./plan.ts";

export const addRegister: AddCommand = ({ command, configured }) =>
  command("register", "give Skyvern's workflows the relay's address as their webhook; --undo takes it back")
    .option("--workflow <id...>", "only these workflows (wpid_…), whatever address they have")
    .option("--yes", "do not ask: change those that have no address, or those of --workflow")
    .option("--undo", "give the workflows back the address that they had before")
    .option("--dry-run", "only show what would be changed")
    .option("--json", "machine-readable")
    .action(configured((deps, options: RegisterOptions) => registerCommand(options, deps)));

interface RegisterOptions {
  workflow?: string[];
  yes?: boolean;
  undo?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

interface Job extends CommandDeps {
  options: RegisterOptions;
  client: SkyvernClient;
  database: Database;
  /** Writes a line for people. */
  say(text: string): void;
  wrong: Complain;
}

const TIMEOUT_MS = 30_000;

/** Resolves with the exit code, which is 1 also when one of the chosen workflows was not changed. */
async function registerCommand(options: RegisterOptions, deps: CommandDeps): Promise<number> {
  const { config, shell } = deps;
  const wrong = complain(shell, "register");
  const misuse = findMisuse(options, deps);
  if (misuse !== null) return wrong(EXIT.usage, misuse);
  return using({ name: "register", config, shell }, "beside", async (database) => {
    const egress = openEgress(config);
    try {
      const { baseUrl, keys } = config;
      const client = createSkyvernClient({ ...deps.runtime, ...egress, baseUrl, keys, timeoutMs: TIMEOUT_MS });
      const say = options.json === true ? () => {} : shell.stdout;
      const job: Job = { ...deps, options, client: client.with({ tries: 2 }), database, say, wrong };
      return await (options.undo === true ? undo(job) : register(job));
    } finally {
      await egress.close();
    }
  });
}

function findMisuse({ undo, yes, dryRun, json }: RegisterOptions, { config, shell }: CommandDeps): string | null {
  if (dryRun !== true && yes !== true && (shell.ask === undefined || json === true))
    return "nobody can be asked: --yes changes workflows, --dry-run shows them";
  if (undo === true) return null;
  if (!config.hasAddress)
    return "set PUBLIC_URL to the address at which Skyvern reaches the relay, such as https://relay.example.com";
  const isHosted = /(^|\.)skyvern\.com$/.test(new URL(config.baseUrl).hostname);
  const found = isHosted ? checkForm(config.publicUrl, true).find(({ state }) => state === "fault") : undefined;
  return found?.state === "fault" ? `${found.found}: ${found.fix}` : null;
}

async function register(job: Job): Promise<number> {
  const { client, config, options, shell, say } = job;
  const { pointsHere } = createAddresses(() => config.publicUrl);
  const waiting = progressLine(shell);
  waiting.show("Asking Skyvern for its workflows");
  const plan = await planRegister(client, { pointsHere, to: `${config.publicUrl}/webhook` }, shell.stopped);
  waiting.clear();
  if (!plan.ok) return refuse(plan, job);
  const { here, targets } = plan;
  const nowhere = targets.filter(({ from }) => from === null).length;
  say(
    `Of ${plural(here.length + targets.length, "workflow")}, webhooks of ${here.length} lead here, ` +
      `${targets.length - nowhere} elsewhere, ${nowhere} nowhere.\n`,
  );
  const named = options.workflow;
  const unknown = named?.find((id) => !here.includes(id) && !targets.some(({ workflow }) => workflow === id));
  if (unknown !== undefined)
    return job.wrong(EXIT.failed, `Skyvern lists no workflow ${line(unknown, 60)}; nothing was changed`);
  const shown = named ? targets.filter(({ workflow }) => named.includes(workflow)) : targets;
  return offer(shown, job, ({ from }) => named !== undefined || from === null);
}

async function undo(job: Job): Promise<number> {
  const { client, database, options, shell, say } = job;
  const remembered = (await listRegistered(database)).filter(
    ({ workflow }) => options.workflow?.includes(workflow) ?? true,
  );
  const plan = await planUndo(client, remembered, shell.stopped);
  if (!plan.ok) return refuse(plan, job);
  for (const { workflow, why, isOver } of plan.passed) {
    say(`${line(workflow, 60)}: ${why}.\n`);
    if (isOver && options.dryRun !== true) await forgetRegistered(database, workflow);
  }
  if (plan.targets.length === 0) say("There is nothing to undo.\n");
  return offer(plan.targets, job, () => true);
}

const refuse = ({ key, fault }: PlanFault, { config, wrong }: Job): number =>
  wrong(EXIT.failed, `${line(key, 60)}: ${describeSkyvernFault(fault, config.baseUrl)}`);

/** Shows the workflows, finds out which are chosen, and changes them. `byDefault`: what `--yes` means. */
async function offer(shown: readonly Target[], job: Job, byDefault: (target: Target) => boolean): Promise<number> {
  const { options, shell, say, wrong } = job;
  if (shown.length > 0) say(`\n${renderTargets(shown)}\n`);
  if (options.dryRun === true || shown.length === 0) {
    if (options.json === true) printJson(shown.map(toJson), job);
    return EXIT.done;
  }
  const ask = options.yes === true ? undefined : shell.ask;
  const chosen = ask ? await askWhich(shown, ask, say) : shown.filter(byDefault);
  if (chosen === null || shell.stopped.aborted) return wrong(EXIT.failed, "it was closed; nothing was changed");
  const left = shown.length - chosen.length;
  if (!ask && left > 0)
    say(`${plural(left, "workflow")} with another address: left alone. --workflow names those to change.\n`);
  return changeAll(chosen, job);
}

async function changeAll(targets: readonly Target[], job: Job): Promise<number> {
  const { options, shell, say, wrong } = job;
  const results: { target: Target; result: ChangeResult }[] = [];
  for (const target of targets) {
    if (shell.stopped.aborted) break;
    const result = await changeOne(target, job);
    results.push({ target, result });
    say(`${line(target.workflow, 60)}  ${line(target.title, 80)}: ${line(result.said, 400)}\n`);
    if (!result.ok && result.isOver) break;
  }
  if (options.json === true)
    printJson(
      results.map(({ target, result }) => ({ ...toJson(target), changed: result.ok, said: result.said })),
      job,
    );
  const failed = results.filter(({ result }) => !result.ok).length;
  const left = targets.length - results.length;
  if (failed + left === 0) return EXIT.done;
  const unseen = left === 0 ? "" : `, ${left} not tried: run the same command again`;
  return wrong(EXIT.failed, `${failed} of ${plural(targets.length, "workflow")} failed${unseen}`);
}

async function changeOne(target: Target, { database, options, shell }: Job): Promise<ChangeResult> {
  const { client, workflow, title, from: before, to } = target;
  const isUndo = options.undo === true;
  const result = await changeAddress(target, {
    client,
    signal: shell.stopped,
    remember: async () => {
      if (!isUndo && to !== null) await rememberRegistered(database, { workflow, title, before, after: to });
    },
  });
  if (isUndo && result.ok) await forgetRegistered(database, workflow);
  return result;
}

const toJson = ({ workflow, title, from, to }: Target) => ({
  workflow,
  title,
  from: from === null ? null : showAddress(from),
  to: to === null ? null : showAddress(to),
});

const printJson = (rows: readonly object[], { shell }: Job): void =>
  shell.stdout(`${JSON.stringify({ workflows: rows }, null, 2)}\n`);
