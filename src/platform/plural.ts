/** `1,048,576`, whatever the machine's language. */
export const count = (n: number): string => n.toLocaleString("en-US");

/** `3 runs`, `1 run`, `2 deliveries` */
export const plural = (n: number, noun: string, nouns = `${noun}s`): string => `${count(n)} ${n === 1 ? noun : nouns}`;
