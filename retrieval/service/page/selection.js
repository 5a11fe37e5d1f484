// The results of a concept list that are kept, as CSV and as JSON lines.

const COLUMNS = ["concept", "concept_id", "row_id", "rank", "score", "mode", "prompt", "both_ways", "key", "shard", "caption", "url"];
// Characters that spreadsheets take for the start of a formula, also full-width and after spaces.
const FORMULA = /^[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/** Concepts in the order they came. A concept: {name, id, rows, kept: bool, dropped: Set of row ids}. */
export const keptRows = (concepts) =>
  concepts.filter((concept) => concept.kept).flatMap((concept) => concept.rows.filter((row) => !concept.dropped.has(row.row_id)).map((row) => asRow(concept, row)));

export const toCsv = (rows) => [COLUMNS, ...rows.map((row) => COLUMNS.map((name) => row[name]))].map((cells) => `${cells.map(cell).join(",")}\r\n`).join("");

export const toJsonLines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** Download text as a file. */
export function save(text, name, type) {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function asRow(concept, row) {
  const { row_id, rank, score, mode, prompt, both_ways, ...columns } = row;
  return { concept: concept.name, concept_id: concept.id ?? null, row_id, rank, score, mode, prompt, both_ways, ...columns };
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const inert = FORMULA.test(text) ? `'${text}` : text;
  return `"${inert.replaceAll('"', '""')}"`;
}
