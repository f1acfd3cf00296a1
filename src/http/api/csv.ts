/**
 * The byte order mark by which Excel recognizes UTF-8. Other programs may take it for a part of the first column's
 * name.
 */
export const BYTE_ORDER_MARK = "\uFEFF";

/**
 * The most characters (UTF-16 units) of a cell in Excel, which spills the rest into the following cells.
 * https://support.microsoft.com/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3
 */
const CELL_LIMIT = 32_767;

/**
 * Formats one line of CSV (RFC 4180). Text that a spreadsheet would take for a formula
 * (https://owasp.org/www-community/attacks/CSV_Injection) gets a leading apostrophe, which makes it text there. A cell
 * that is longer than a spreadsheet holds is cut, with a mark that says so.
 */
export const csvLine = (cells: readonly (string | number | null)[]): string => `${cells.map(csvCell).join(",")}\r\n`;

function csvCell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = cut(/^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function cut(text: string): string {
  if (text.length <= CELL_LIMIT) return text;
  const mark = `… [cut: ${text.length} characters]`;
  // Half a surrogate pair is not a character.
  return `${text.slice(0, CELL_LIMIT - mark.length).replace(/[\uD800-\uDBFF]$/, "")}${mark}`;
}
