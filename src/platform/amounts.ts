/** Amounts as people read them. */

/** `1,048,576`, whatever the machine's language. */
export const count = (n: number): string => n.toLocaleString("en-US");

/** `3 runs`, `1 run`, `2 deliveries` */
export const plural = (n: number, noun: string, nouns = `${noun}s`): string => `${count(n)} ${n === 1 ? noun : nouns}`;

/** `91 kB`: decimal units, as mail clients and browsers count. */
export function formatBytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const unit = n < 1 ? 0 : Math.min(Math.floor(Math.log10(n) / 3), units.length - 1);
  const value = n / 1000 ** unit;
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
