// The concept list view: names in, a row of results for each concept as it arrives, downloads of what is kept.

import { conceptRow } from "./concept_row.js";
import { byId, count } from "./dom.js";
import { keptRows, save, toCsv, toJsonLines } from "./selection.js";
import { ask, askJson, jsonLines, Problem } from "./service.js";
import { say, sayError, sayProblem } from "./status.js";

let concepts = [];
let running = null;
let rows = Infinity;

/** Set up the view for what can be searched, from GET /indexes. */
export function setConceptStore(info) {
  rows = info.rows;
  byId("concept-min-side").closest(".field").hidden = !["width", "height"].every((name) => info.columns.includes(name));
  const captions = info.indexes.some((index) => index.modality === "text");
  byId("mode").value = captions ? "both" : "t2i";
  byId("mode").closest(".field").hidden = !captions;
}

/** Cancel the running list and remove its results, which are another store's. */
export function clearConcepts() {
  running?.abort();
  running = null;
  concepts = [];
  byId("concept-rows").replaceChildren();
  byId("losses").textContent = "";
  byId("selection").hidden = byId("progress").hidden = true;
  byId("cancel").disabled = true;
}

/** Listen to the form, the file picker and the downloads. */
export function startConcepts() {
  byId("concepts-form").addEventListener("submit", (event) => {
    event.preventDefault();
    retrieve();
  });
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("names-file").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (!file) return;
    byId("names").value = await file.text();
    try {
      const list = await readList();
      say([`${file.name}: ${count(list.concepts.length, "concept")}.`, ...list.notes.map(sentence)].join(" "));
    } catch (error) {
      sayError(error);
    }
  });
  byId("save-csv").addEventListener("click", () => save(toCsv(keptRows(concepts)), "selection.csv", "text/csv"));
  byId("save-jsonl").addEventListener("click", () => save(toJsonLines(keptRows(concepts)), "selection.jsonl", "application/x-ndjson"));
}

/** The concepts of what was written or pasted: one name a line, CSV, YAML or JSON. The service reads it, as it reads files. */
const readList = (signal) => askJson("concepts/list", { json: { text: byId("names").value }, signal });

const sentence = (note) => `${note.slice(0, 1).toUpperCase()}${note.slice(1)}.`;

function request(list) {
  const rules = {};
  for (const [name, id] of [["min_score", "concept-min-score"], ["min_side", "concept-min-side"], ["near_duplicates", "drop-same"]]) {
    if (byId(id).value !== "") rules[name] = Number(byId(id).value);
  }
  const k = Math.min(Number(byId("concept-k").value), rows);
  return { concepts: list.concepts, templates: list.templates ?? [byId("templates").value], mode: byId("mode").value, k, rules };
}

async function retrieve() {
  running?.abort();
  const own = new AbortController();
  running = own;
  concepts = [];
  byId("concept-rows").replaceChildren();
  byId("losses").textContent = "";
  byId("selection").hidden = true;
  byId("cancel").disabled = false;
  let total = 0;
  try {
    const list = await readList(own.signal);
    total = list.concepts.length;
    showProgress(0, 1, total);
    byId("progress").hidden = false;
    say(`Retrieving ${count(total, "concept")} …`);
    await read(await ask("concepts", { json: request(list), signal: own.signal }), list);
  } catch (error) {
    if (running !== own) return;
    if (own.signal.aborted) say(`Cancelled; ${count(concepts.length, "concept")} of ${total} came.`);
    else sayError(error);
  } finally {
    if (running === own) {
      byId("cancel").disabled = true;
      byId("progress").hidden = true;
    }
  }
}

async function read(response, list) {
  for await (const line of jsonLines(response)) {
    if (line.type === "progress") showProgress(line.done, line.total, list.concepts.length);
    else if (line.type === "concept") add(line);
    else if (line.type === "error") throw new Problem(line.error);
    else if (line.type === "end") {
      showEnd(line, list.notes);
      return;
    }
  }
  throw new Problem("The answer broke off before its end; try again.");
}

function add(line) {
  const concept = { name: line.name, id: line.id, hits: line.hits, rows: line.rows, kept: true, dropped: new Set() };
  concepts.push(concept);
  byId("concept-rows").append(conceptRow(concept, concepts.length, showSelected));
  showSelected();
}

function showProgress(done, total, names) {
  byId("done").max = Math.max(1, total);
  byId("done").value = done;
  byId("done-words").textContent = total > 1 ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")}; ${count(names, "concept")}` : "";
}

function showSelected() {
  let [kept, all] = [0, 0];
  for (const concept of concepts) {
    all += concept.rows.length;
    if (concept.kept) kept += concept.rows.length - concept.dropped.size;
  }
  byId("selection").hidden = false;
  byId("selected").textContent = `${kept.toLocaleString("en")} of ${count(all, "result")} kept, of ${count(concepts.length, "concept")}. Untick what does not belong.`;
  byId("save-csv").disabled = byId("save-jsonl").disabled = kept === 0;
}

function showEnd(end, notes) {
  const losses = (end.losses ?? []).filter((loss) => loss.rows > 0).map((loss) => `${loss.rule} ${loss.rows.toLocaleString("en")}`);
  const plans = Object.entries(end.plans ?? {}).map(([mode, plan]) => `${mode} by ${plan}`);
  byId("losses").textContent = [losses.length ? `Removed by the rules: ${losses.join(", ")}.` : "", plans.length ? `Searched: ${plans.join(", ")}.` : ""].join(" ").trim();
  for (const note of notes) byId("losses").append(` ${sentence(note)}`);
  const line = `Done: ${count(end.rows, "result")} for ${count(concepts.length, "concept")}, out of ${count(end.hits, "hit")}.`;
  if (end.partial) sayProblem(`The answer is partial: no answer from ${(end.missing ?? []).join(", ") || "some shards"}. ${line}`);
  else say(line);
}
