/** Applies the SQLite clauses that schema.sql holds in comments, such as `WITHOUT ROWID`. */
export const withClauses = (schema: string): string => schema.replace(/\/\* SQLite: ([A-Z ]+) \*\//g, "$1");
