/**
 * The real program reads its configuration again: by a signal, and by itself when the file changes, however it is
 * changed.
 */
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startHttpSink, type HttpSinkStandIn } from "../support/http-sink.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { aFolder } from "../support/app.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { serve } from "../support/process.ts";
import { until } from "../support/until.ts";

const told = (sink: HttpSinkStandIn): string[] =>
  sink.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);
const PER_SECOND = 300;
const MOST_OPEN = 60;
const aRun = (id: string): string => JSON.stringify({ run_id: id, status: "completed", output: null });

/** A relay whose file `write` brings to its place, with two sinks to choose from. */
async function surroundings(write: (folder: string, text: string) => string) {
  const folder = aFolder();
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
  const [a, b] = [await startHttpSink(), await startHttpSink()];
  for (const standIn of [skyvern, a, b]) onTestFinished(() => standIn.close());
  const fileTo = (sink: "a" | "b"): string =>
    `sinks: { a: { kind: http, url: "${a.url}" }, b: { kind: http, url: "${b.url}" } }\nroutes: [{ to: ${sink} }]\n`;
  const path = write(folder, fileTo("a"));
  const relay = await serve({
    DATABASE_URL: `sqlite:${join(folder, "relay.db")}`,
    SKYVERN_BASE_URL: skyvern.url,
    RELAY_CONFIG: path,
  });
  const logged = (event: string): number => relay.stdout().split(`"event":"${event}"`).length - 1;
  return { folder, path, relay, a, b, fileTo, logged };
}

const plainly = (folder: string, text: string): string => {
  const path = join(folder, "relay.yaml");
  writeFileSync(path, text);
  return path;
};

it("SIGHUP makes the relay take up a good file, refuse a bad one with its faults, and never end", async () => {
  const { path, relay, a, b, fileTo, logged } = await surroundings(plainly);
  writeFileSync(path, fileTo("b"));
  relay.signal("SIGHUP");
  await until("the file is taken up", () => logged("config.reloaded") === 1);
  expect(relay.stdout()).toMatch(
    /"why":"signal","changed":\["routes"\],"event":"config.reloaded"|"changed":\["routes"\]/,
  );
  await relay.webhook(aRun("tsk_1"));
  await until("b was told", () => b.requests.length === 1);

  writeFileSync(path, `${fileTo("a")}rotues: []\n`);
  relay.signal("SIGHUP");
  await until("the file is refused", () => logged("config.refused") === 1);
  expect(relay.stdout()).toContain("relay.yaml:3:1");
  expect(relay.stdout()).toContain("rotues");
  await relay.webhook(aRun("tsk_2"));
  await until("b was told again", () => b.requests.length === 2);

  writeFileSync(path, fileTo("b"));
  relay.signal("SIGHUP");
  await until("nothing differs", () => logged("config.unchanged") >= 1);
  expect(relay.stdout()).toContain("the environment and .env are read at the start only");
  expect(a.requests).toEqual([]);
  relay.signal("SIGTERM");
  expect((await relay.ended).code).toBe(0);
});

it.each([
  ["written over", plainly, (folder: string, text: string) => void plainly(folder, text)],
  [
    "replaced, as editors do",
    plainly,
    (folder: string, text: string) => {
      writeFileSync(join(folder, "relay.yaml~"), text);
      renameSync(join(folder, "relay.yaml~"), join(folder, "relay.yaml"));
    },
  ],
  [
    "behind a link that is turned, as Kubernetes does",
    (folder: string, text: string) => {
      mkdirSync(join(folder, "..1"));
      writeFileSync(join(folder, "..1", "relay.yaml"), text);
      symlinkSync("..1", join(folder, "..data"));
      symlinkSync(join("..data", "relay.yaml"), join(folder, "relay.yaml"));
      return join(folder, "relay.yaml");
    },
    (folder: string, text: string) => {
      mkdirSync(join(folder, "..2"));
      writeFileSync(join(folder, "..2", "relay.yaml"), text);
      symlinkSync("..2", join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
      rmSync(join(folder, "..1"), { recursive: true });
    },
  ],
])(
  "a file that is %s is taken up by itself under load, while every webhook is answered and every run delivered once",
  async (_how, write, rewrite) => {
    const { folder, relay, a, b, fileTo, logged } = await surroundings(write);
    let sent = 0;
    const over = new AbortController();
    const sender = async (): Promise<void> => {
      while (!over.signal.aborted) expect((await relay.webhook(aRun(`tsk_${sent++}`))).status).toBe(200);
    };
    const load = Promise.all([sender(), sender()]);
    rewrite(folder, fileTo("b"));
    await until("the file is taken up", () => logged("config.reloaded") === 1);
    const before = sent;
    await until("some came afterwards", () => sent > before + 10);
    over.abort();
    await load;
    await until("all are told", () => new Set([...told(a), ...told(b)]).size === sent);
    expect([...told(a), ...told(b)]).toHaveLength(sent);
    expect(a.requests.length).toBeGreaterThan(0);
    expect(b.requests.length).toBeGreaterThan(0);
    expect(relay.stdout()).toContain('"why":"file"');
  },
);

it("a relay that reloads in the middle of 300 webhooks a second refuses none, and keeps none waiting for a second more", async () => {
  const { path, relay, a, b, fileTo, logged } = await surroundings(plainly);
  const answers: Promise<{ status: number; ms: number }>[] = [];
  let open = 0;
  const send = async (): Promise<{ status: number; ms: number }> => {
    const from = performance.now();
    open += 1;
    const { status } = await relay.webhook(aRun(`tsk_${answers.length}`));
    open -= 1;
    return { status, ms: performance.now() - from };
  };
  // At fixed times, however long the answers take, as far as the machine keeps up.
  const begunAt = performance.now();
  const sending = setInterval(() => {
    const due = Math.ceil(((performance.now() - begunAt) / 1_000) * PER_SECOND);
    const now = Math.min(due - answers.length, MOST_OPEN - open);
    for (let n = 0; n < now; n += 1) answers.push(send());
  }, 5);
  onTestFinished(() => clearInterval(sending));
  await until("webhooks come", () => answers.length > PER_SECOND);
  const slowest = async (of: typeof answers) => Math.max(...(await Promise.all(of)).map(({ ms }) => ms));
  const slowestBefore = await slowest(answers.slice());
  for (const [n, sink] of (["b", "a", "b"] as const).entries()) {
    const before = answers.length;
    await until("webhooks come", () => answers.length > before + PER_SECOND);
    writeFileSync(path, fileTo(sink));
    relay.signal("SIGHUP");
    await until("the file is taken up", () => logged("config.reloaded") === n + 1);
  }
  const before = answers.length;
  await until("webhooks come", () => answers.length > before + PER_SECOND);
  clearInterval(sending);
  const all = await Promise.all(answers);
  expect(all.filter(({ status }) => status !== 200)).toEqual([]);
  expect(await slowest(answers)).toBeLessThan(slowestBefore + 1_000);
  await until("all are told", () => new Set([...told(a), ...told(b)]).size === all.length);
  expect([...told(a), ...told(b)]).toHaveLength(all.length);
});

it("a file that vanishes changes nothing and is logged; when it returns changed, it is loaded", async () => {
  const { path, relay, a, b, fileTo, logged } = await surroundings(plainly);
  unlinkSync(path);
  await until("it is refused", () => logged("config.refused") === 1);
  await relay.webhook(aRun("tsk_1"));
  await until("a was told", () => a.requests.length === 1);
  writeFileSync(path, fileTo("b"));
  await until("it is taken up", () => logged("config.reloaded") === 1);
  await relay.webhook(aRun("tsk_2"));
  await until("b was told", () => b.requests.length === 1);
});
