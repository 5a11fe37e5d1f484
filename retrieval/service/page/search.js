// The search view: words, an image or a row as the query; pictures and captions side by side as results.

import { readAddress, writeAddress } from "./address.js";
import { card, markDuplicates } from "./card.js";
import { byId, count, element } from "./dom.js";
import { inBase64 } from "./picture_input.js";
import { askJson, Problem } from "./service.js";
import { say, sayError, sayProblem } from "./status.js";
import { thumbnail } from "./thumbnail.js";

// The cosine from which pictures count as the same by default: SAME_IMAGE of retrieval.rules.
const SAME_IMAGE = 0.94;

const WAYS = {
  q: { image: "text → image (T2I)", text: "text → text (T2T)" },
  image: { image: "image → image", text: "image → text" },
  row: { image: "image → image", text: "caption → caption" },
};
const NOUNS = { image: ["picture"], text: ["caption"] };

const images = []; // image files that were searched by since the page was loaded; the address holds their index
let modalities = ["image"];
let rows = Infinity;
let running = new AbortController();
let toResults = false; // move the focus to the results, since the button that had it is removed

/** Set up the view for the modalities and the number of rows, from GET /indexes. */
export function setStore(info) {
  rows = info.rows;
  modalities = ["image", "text"].filter((name) => info.indexes.some((index) => index.modality === name));
  const both = modalities.includes("text");
  byId("by-text").hidden = !both;
  byId("results").classList.toggle("one", !both);
  byId("min-side").closest(".field").hidden = !["width", "height"].every((name) => info.columns.includes(name));
}

/** Listen to the form. */
export function startSearch() {
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = byId("words").value.trim();
    const { row, image } = readAddress();
    // Without words, the button repeats the search by the same picture, perhaps with other filters.
    if (words) go({ q: words });
    else if (row !== null || image !== null) go({ row, image });
    else sayProblem("Write what to search for, or give an image.");
  });
}

/** Search by an image file. */
export function searchByImage(file) {
  images.push(file);
  go({ image: images.length - 1 });
}

/** Search by a row's picture, and by its caption among the captions. */
export function searchByRow(row) {
  toResults = true;
  go({ row: row.row_id });
}

/** The cosine from which pictures count as the same one. */
export const sameFrom = () => Number(byId("same").value);

/** Cancel the running search. */
export function stopSearch() {
  running.abort();
}

/** Write the search in the address into the form. */
export function fillForm() {
  const asked = readAddress();
  if (asked.k !== null) byId("k").value = asked.k;
  byId("same").value = asked.same ?? SAME_IMAGE;
  byId("min-score").value = asked.minScore ?? "";
  byId("min-side").value = asked.minSide ?? "";
  byId("words").value = asked.q ?? "";
}

/** Show the search in the address. */
export async function showSearch() {
  const asked = readAddress();
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const kind = ["q", "row", "image"].find((name) => asked[name] !== null);
  byId("welcome").hidden = Boolean(kind);
  byId("results").hidden = !kind;
  byId("query").hidden = true;
  document.title = asked.q ? `${asked.q} · Clipmine` : "Clipmine";
  if (!kind) {
    say("");
    return;
  }
  if (toResults) {
    byId("by-image-title").focus({ preventScroll: true });
    scrollTo({ top: 0 });
    toResults = false;
  }
  say("Searching …");
  for (const name of modalities) byId(`by-${name}`).setAttribute("aria-busy", "true");
  try {
    const query = await asQuery(asked, kind, signal);
    const found = await Promise.allSettled(modalities.map((name) => ask(query, name, asked, signal)));
    if (signal.aborted) return;
    showFound(found, kind);
  } catch (error) {
    if (signal.aborted) return;
    for (const name of modalities) byId(`by-${name}`).querySelector(".found").replaceChildren();
    sayError(error);
  } finally {
    if (!signal.aborted) for (const name of modalities) byId(`by-${name}`).removeAttribute("aria-busy");
  }
}

function go(query) {
  const given = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  if (!byId("search-form").reportValidity()) return;
  const asked = { ...query, k: Number(byId("k").value), minScore: given("min-score"), minSide: given("min-side") };
  const same = Number(byId("same").value);
  if (same !== SAME_IMAGE) asked.same = same; // the default is not written into the address
  if (!writeAddress(asked)) showSearch();
}

async function asQuery(asked, kind, signal) {
  if (kind === "q") return { text: asked.q };
  if (kind === "row") {
    showQuery(await askJson(`rows/${asked.row}`, { signal }));
    return { row_id: asked.row };
  }
  const file = images[asked.image];
  if (!file) throw new Problem("That image was not kept; choose it again.");
  const picture = element("img", { alt: `the image searched by: ${file.name}` });
  picture.src = URL.createObjectURL(file);
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
  picture.addEventListener("error", () => picture.remove(), { once: true });
  fillQuery(element("span", { class: "thumb" }, picture), "Like the image", file.name);
  return { image: await inBase64(file) };
}

function ask(query, modality, asked, signal) {
  const filters = {};
  if (asked.minScore !== null) filters.min_score = asked.minScore;
  if (asked.minSide !== null) filters.min_side = asked.minSide;
  if (query.row_id !== undefined) filters.exclude = [query.row_id];
  const k = Math.min(asked.k ?? Number(byId("k").value), rows);
  const json = { queries: [query], modality, k, filters, mark_duplicates: asked.same ?? SAME_IMAGE };
  return askJson("search", { json, signal });
}

function showFound(found, kind) {
  const seen = found.map(({ value }) => new Set(value?.results[0].rows.map((row) => row.row_id)));
  const said = [];
  const wrong = new Set();
  found.forEach(({ value, reason }, at) => {
    const modality = modalities[at];
    const section = byId(`by-${modality}`);
    section.querySelector(".way").textContent = WAYS[kind][modality];
    if (reason) {
      if (reason.name !== "Problem") console.error(reason);
      wrong.add(reason.message);
      section.querySelector(".found").replaceChildren();
      return;
    }
    const result = value.results[0];
    const other = found.length === 2 ? seen[1 - at] : new Set();
    showColumn(section, value, result, other, modality);
    said.push(count(result.rows.length, ...NOUNS[modality]));
    if (value.partial) wrong.add(`The answer is partial: no answer from ${value.missing.join(", ") || "some shards"}.`);
    if (result.text_cut) wrong.add("The text is longer than the model reads; its end was not read.");
  });
  const line = said.length ? `Found ${said.join(" and ")}.` : "";
  if (wrong.size) sayProblem([...wrong, line].filter(Boolean).join(" "));
  else say(line);
}

function showColumn(section, answer, result, other, modality) {
  const list = element("ol", { class: "grid", "aria-labelledby": `by-${modality}-title` });
  result.rows.forEach((row, at) => {
    const both = other.has(row.row_id) ? element("p", { class: "both" }, "found both ways") : null;
    list.append(card(row, at + 1, searchByRow, both));
  });
  markDuplicates(list, new Map(result.rows.map((row) => [row.row_id, row.near_duplicates ?? []])));
  const notes = [];
  if (!result.rows.length) notes.push(element("p", { class: "nothing" }, "Nothing meets the filters."));
  if (!result.complete) notes.push(element("p", { class: "quiet" }, `The filters left fewer than asked of the ${result.searched.toLocaleString("en")} nearest.`));
  section.querySelector(".found").replaceChildren(list, ...notes, element("p", { class: "plan quiet" }, answer.plan));
}

function showQuery(row) {
  fillQuery(thumbnail(row), "More like", row.caption || `row ${row.row_id}`);
}

function fillQuery(picture, what, name) {
  byId("query").replaceChildren(picture, element("p", {}, element("span", { class: "quiet" }, what), element("span", { class: "large", dir: "auto" }, name)));
  byId("query").hidden = false;
}
