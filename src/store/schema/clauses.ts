/** schema.sql with what it says in comments for SQLite alone, such as `WITHOUT ROWID`. */
export const withClauses = (schema: string): string => schema.replace(/\/\* SQLite: ([A-Z ]+) \*\//g, "$1");
