/**
 * Processes under measurement: started as their users start them, read through /proc, ended by their own ids. Linux
 * only.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer, connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

export interface Command {
  argv: [string, ...string[]];
  cwd: string;
  env?: Record<string, string>;
  /** Where its standard output and error go. */
  logFile: string;
  /** Where it listens; asked when it is ready. */
  port(): number;
  /** Between two looks whether it is ready, ms; 5 unless told. */
  lookMs?: number;
}

export interface Started {
  /** Of the process that listens: `npm` and a shell may stand before it. */
  pid: number;
  /** CPU it has used with all its threads and ended children, ms. */
  cpuMs(): number;
  /** Bytes it has had written to disks, WAL and checkpoints included. */
  writtenBytes(): number;
  /** Resident memory now and at its highest, MB. */
  memory(): { rss: number; peak: number };
  /** Sends a signal to the working process. */
  signal(name: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when that did not do within 20 s. Resolves with the exit code. */
  stop(): Promise<number | null>;
  /** What it has printed. */
  log(): string;
}

const LONGEST_START_MS = 60_000;
const LONGEST_STOP_MS = 20_000;
const TICK_MS = 10;

/**
 * Resolves when `isReady` says so. Rejects, with what the program printed, when it ends before or takes longer than a
 * minute.
 */
export async function start(command: Command, isReady: () => Promise<boolean>): Promise<Started> {
  const output = openSync(command.logFile, "a");
  const [program, ...args] = command.argv;
  const child = spawn(program, args, {
    cwd: command.cwd,
    // What the one who measures has set must not reach what is measured.
    env: { ...plainEnvironment(), ...command.env },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const ended = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => resolve(code));
    child.once("error", () => resolve(null));
  });
  const log = () => readFileSync(command.logFile, "utf8");
  const giveUpAt = Date.now() + LONGEST_START_MS;
  while (!(await isReady())) {
    if (child.exitCode === null && child.pid !== undefined && Date.now() < giveUpAt) await pause(command.lookMs ?? 5);
    else {
      child.kill("SIGKILL");
      throw new Error(`${command.argv.join(" ")} did not start:\n${log().slice(-2_000)}`);
    }
  }
  const pid = listenerOf(child.pid ?? 0, command.port());
  return {
    pid,
    cpuMs: () => cpuMsOf(pid),
    writtenBytes: () => writtenBytesOf(pid),
    memory: () => memoryOf(pid),
    signal: (name) => void process.kill(pid, name),
    stop: () => stop(child, pid, ended),
    log,
  };
}

async function stop(child: ChildProcess, pid: number, ended: Promise<number | null>): Promise<number | null> {
  sendTo(pid, "SIGTERM");
  const late = setTimeout(() => {
    sendTo(pid, "SIGKILL");
    child.kill("SIGKILL");
  }, LONGEST_STOP_MS);
  const code = await ended;
  clearTimeout(late);
  return code;
}

function sendTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

const plainEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    ["PATH", "HOME", "LANG", "TMPDIR"].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );

/** Of a command and what it started (`npm` → `sh` → `node`), the process that listens on the port. */
function listenerOf(pid: number, port: number): number {
  const inode = inodeOf(port);
  const found = descendants(pid).find((one) => socketsOf(one).includes(`socket:[${inode}]`));
  if (found === undefined) throw new Error(`nothing that was started listens on port ${port}`);
  return found;
}

/** A process and all it started, as far as they run. */
export function descendants(pid: number): number[] {
  const children = textOf(`/proc/${pid}/task/${pid}/children`).trim().split(" ");
  return [pid, ...children.filter((text) => text !== "").flatMap((text) => descendants(Number(text)))];
}

/** Of the listening socket: state 0A, local address in hex. */
function inodeOf(port: number): string | undefined {
  const rows = ["tcp", "tcp6"].flatMap((name) => readFileSync(`/proc/net/${name}`, "utf8").split("\n"));
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const row = rows
    .map((line) => line.trim().split(/\s+/))
    .find((fields) => fields[1]?.endsWith(`:${hex}`) && fields[3] === "0A");
  return row?.[9];
}

function socketsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
  } catch {
    // It has ended.
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/**
 * After the name, which may hold spaces and brackets: the 12th to 15th field are utime, stime, cutime, cstime in ticks.
 */
export function cpuMsOf(pid: number): number {
  return ticksOf(`/proc/${pid}/stat`, [11, 12, 13, 14]) * TICK_MS;
}

/** CPU of a process's first thread alone, which in Node runs the program. */
export const threadMsOf = (pid: number): number => ticksOf(`/proc/${pid}/task/${pid}/stat`, [11, 12]) * TICK_MS;

function ticksOf(path: string, fields: readonly number[]): number {
  const stat = textOf(path);
  const values = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.reduce((sum, at) => sum + Number(values[at] ?? 0), 0);
}

/** Empty when the process has ended: its parent has its time. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const writtenBytesOf = (pid: number): number =>
  Number(/^write_bytes: (\d+)/m.exec(textOf(`/proc/${pid}/io`))?.[1] ?? 0);

/** Of all these processes. What ended ones used counts through the parent that has waited for them. */
export const usageOf = (pids: readonly number[]): { cpuMs: number; writtenBytes: number } => ({
  cpuMs: sumOf(pids, cpuMsOf),
  writtenBytes: sumOf(pids, writtenBytesOf),
});

/** Memory of all these processes, MB; a page that several of them share counts once. */
export const sharedMemoryOf = (pids: readonly number[]): number =>
  sumOf(pids, (pid) => Number(/^Pss:\s+(\d+) kB/m.exec(textOf(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0)) / 1024;

/** CPU that the whole machine has used, ms: user, nice, system and both kinds of interrupts. */
export function machineCpuMs(): number {
  const fields = (textOf("/proc/stat").split("\n")[0] ?? "").trim().split(/\s+/);
  return sumOf([1, 2, 3, 6, 7], (at) => Number(fields[at] ?? 0)) * TICK_MS;
}

const sumOf = (numbers: readonly number[], value: (number: number) => number): number =>
  numbers.reduce((sum, number) => sum + value(number), 0);

function memoryOf(pid: number): { rss: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) / 1024;
  return { rss: of("VmRSS"), peak: of("VmHWM") };
}

/** A port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Whether something accepts connections there. */
export const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const say = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => say(true));
    socket.once("error", () => say(false));
  });

/** Whether that address answers with a 2xx. */
export const answers = (url: string) => async (): Promise<boolean> =>
  fetch(url).then(
    async (response) => {
      await response.arrayBuffer();
      return response.ok;
    },
    () => false,
  );

export const logIn = (folder: string, name: string): string => join(folder, `${name}.log`);
