// The filters: kept in the page's address, filled with what the folder has, sent as parameters of GET /pairs.

import { byId } from "../dom.js";

const FILTERS = ["strategy", "level", "difficulty", "split", "decision", "kind", "annotator", "text", "replaced"];
const SELECTS = FILTERS.filter((name) => name !== "text" && name !== "replaced");

/** The filters by name, "" for none, as the page's address has them. */
export function readFilters() {
  const parts = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(FILTERS.map((name) => [name, parts.get(name) ?? ""]));
}

/** The parameters of GET /pairs for these filters. */
export function asParameters({ difficulty, ...others }) {
  const parts = new URLSearchParams(Object.entries(others).filter(([, value]) => value !== ""));
  const [least, most] = difficulty.split("-");
  if (difficulty) parts.set("min_difficulty", least);
  if (most) parts.set("max_difficulty", most);
  return parts;
}

/** Show these filters in the form; `has` is an answer of GET /pairs, null before the first. */
export function showFilters(wanted, has) {
  if (has) fillOptions(wanted, has);
  for (const name of ["difficulty", "decision", "text"]) byId(name).value = wanted[name];
  byId("replaced").checked = wanted.replaced === "true";
}

/** Call `show` whenever a person has changed the filters, after they are in the address. */
export function watchFilters(show) {
  const write = () => {
    writeFilters();
    show();
  };
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  for (const name of [...SELECTS, "replaced"]) {
    byId(name).addEventListener("change", () => {
      if (name === "strategy") byId("level").value = ""; // levels of one strategy mean nothing for another
      write();
    });
  }
  byId("text").addEventListener("search", write);
}

function writeFilters() {
  const values = FILTERS.map((name) => [name, name === "replaced" ? (byId(name).checked ? "true" : "") : byId(name).value.trim()]);
  const hash = `#${new URLSearchParams(values.filter(([, value]) => value !== ""))}`;
  // Links are relative to the service's root, so this page's own path must be given.
  if (hash !== (location.hash || "#")) history.pushState(null, "", location.pathname + location.search + hash);
}

function fillOptions(wanted, { counts, splits, difficulty, annotations }) {
  const ofStrategy = counts.filter((each) => !wanted.strategy || each.strategy === wanted.strategy);
  fill("strategy", sums(counts, "strategy", "sets"), wanted.strategy);
  fill("level", [...sums(ofStrategy, "level", "sets")].sort(([one], [other]) => one - other), wanted.level);
  fill("split", sums(splits, "split", "sets"), wanted.split);
  fill("kind", sums(annotations, "kind", "count"), wanted.kind);
  fill("annotator", sums(annotations, "annotator", "count"), wanted.annotator);
  byId("difficulty").parentElement.hidden = difficulty === null && !wanted.difficulty;
  byId("replaced").parentElement.hidden = !annotations.length;
  for (const name of ["split", "kind", "annotator"]) byId(name).parentElement.hidden = byId(name).options.length < 2;
}

/** Map of each value of a field to the sum of another, in the order of their first appearance. */
function sums(rows, field, counted) {
  const found = new Map();
  for (const row of rows) found.set(row[field], (found.get(row[field]) ?? 0) + row[counted]);
  return found;
}

function fill(name, values, wanted) {
  const options = [...values].map(([value, total]) => new Option(`${value} (${total.toLocaleString("en")})`, value));
  // What the address names is shown even though it finds nothing.
  if (wanted && !options.some((option) => option.value === wanted)) options.push(new Option(`${wanted} (0)`, wanted));
  const select = byId(name);
  select.replaceChildren(new Option("all", ""), ...options);
  select.value = wanted;
}
