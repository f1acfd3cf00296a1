/** The table of log events in docs/operations.md has every event that the code logs, with its level, and no other. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { read, ROOT } from "./documents.ts";

const LEVELS = ["debug", "info", "warn", "error"];
const EVENT = /"([a-z_]+\.[a-z_]+)"/g;

/** The events of the code, with their levels; none where the level is computed. */
function loggedEvents(): Map<string, Set<string>> {
  const events = new Map<string, Set<string>>();
  for (const { event, levels } of globSync("src/**/*.ts", { cwd: ROOT }).flatMap(callsIn)) {
    const known = events.get(event) ?? new Set();
    for (const level of levels) known.add(level);
    events.set(event, known);
  }
  return events;
}

function callsIn(file: string): { event: string; levels: string[] }[] {
  const source = readFileSync(join(ROOT, file), "utf8").replaceAll(/^\s*(?:\*|\/\*|\/\/).*$/gm, "");
  const calls = source.matchAll(/\blog(?:\.(debug|info|warn|error)|\[([^\]]+)\])\(\s*([^{})]+)/gi);
  return [...calls].flatMap(([call, level, computed = "", name = ""]) => {
    const said = LEVELS.filter((one) => computed.includes(`"${one}"`));
    const levels = level === undefined ? said : [level];
    const events = [...name.matchAll(EVENT)].map(([, event = ""]) => event);
    expect(events, `${file}: the event's name stands as text in its call: ${call}`).not.toEqual([]);
    return events.map((event) => ({ event, levels }));
  });
}

function documentedEvents(): Map<string, Set<string>> {
  const [, section = ""] = read("docs/operations.md").split("\n## Log events\n");
  const rows = section.split("\n").filter((line) => line.startsWith("| `"));
  return new Map(
    rows.flatMap((row) => {
      const [, names = "", levels = ""] = row.split("|");
      const [events, all] = [[...names.matchAll(/`([^`]+)`/g)], levels.trim().split(", ")];
      // Of several events each has its own level, or all have the one.
      const levelsOf = (i: number) => (events.length > 1 && all.length > 1 ? [all[i] ?? ""] : all);
      return events.map(([, event = ""], i) => [event, new Set(levelsOf(i))]);
    }),
  );
}

const logged = loggedEvents();
const documented = documentedEvents();
/** It is written past the log, by what writes its lines. */
logged.set("log.lines_lost", new Set(["warn"]));

it("every event that is logged is in the table of log events", () => {
  expect(logged.size).toBeGreaterThan(80);
  expect([...logged.keys()].filter((event) => !documented.has(event))).toEqual([]);
});

it("every event of the table is logged, with the level that the table says", () => {
  expect([...documented.keys()].filter((event) => !logged.has(event))).toEqual([]);
  const literal = [...logged].filter(([, levels]) => levels.size > 0);
  const inOrder = (levels: Iterable<string> = []) => [...levels].toSorted().join(", ");
  const wrong = literal.filter(([event, levels]) => inOrder(levels) !== inOrder(documented.get(event)));
  expect(wrong).toEqual([]);
});
