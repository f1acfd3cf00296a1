export function builtFrom(): string;
export function program(): string;
