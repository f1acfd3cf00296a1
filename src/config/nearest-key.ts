/** The known key that a misspelled one was probably meant to be, or null. Case, `-` and `_` make no difference. */
export function nearestKey(key: string, known: readonly string[]): string | null {
  const most = Math.max(1, Math.floor(key.length / 3));
  const [best] = known
    .map((name) => ({ name, edits: countEdits(bare(key), bare(name)) }))
    .filter(({ edits }) => edits <= most)
    .toSorted((a, b) => a.edits - b.edits);
  return best?.name ?? null;
}

const bare = (key: string): string =>
  key
    .toLowerCase()
    .replaceAll(/[-_\s]/g, "")
    .slice(0, 64);

/** Letters added, left out, changed, or swapped with the next one. */
function countEdits(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_none, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? (before[j - 2] ?? 0) + 1 : Infinity;
      row.push(Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, changed, swapped));
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}
