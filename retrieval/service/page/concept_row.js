// One concept of a list: its results, each with a checkbox. Cards are made when the concept scrolls near the screen.

import { card, markDuplicates } from "./card.js";
import { count, element } from "./dom.js";
import { sameFrom, searchByRow } from "./search.js";
import { askJson } from "./service.js";
import { say, sayError } from "./status.js";

const FIRST = 12; // shown before "Show all"
const AT_ONCE = 64; // queries of one request when near-duplicates are searched

const fillers = new WeakMap();
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      fillers.get(target)();
    }
  },
  { rootMargin: "1000px" },
);

/** A section for a concept; `changed()` is called when a checkbox changes. */
export function conceptRow(concept, number, changed) {
  const title = `concept-${number}`;
  const list = element("ol", { class: "grid small", "aria-labelledby": title });
  const section = element("section", { class: "concept panel", "aria-labelledby": title });
  const whole = box(`Keep the concept ${concept.name}`, "keep all", (kept) => {
    concept.kept = kept;
    section.classList.toggle("dropped", !kept);
    for (const input of list.querySelectorAll("input")) input.disabled = !kept;
    changed();
  });
  const all = element("button", { type: "button", onclick: () => fill(concept.rows.length, true) }, `Show all ${concept.rows.length}`);
  const same = element("button", { type: "button", onclick: () => findSame(concept, list, same, () => fill(concept.rows.length, false)) }, "Mark near-duplicates");
  all.hidden = concept.rows.length <= FIRST;
  same.hidden = concept.rows.length < 2;
  section.append(
    element(
      "header",
      {},
      element("h2", { id: title, dir: "auto" }, concept.id === null || concept.id === undefined ? concept.name : `${concept.name} (${concept.id})`),
      element("p", { class: "quiet" }, `${count(concept.rows.length, "result")} of ${count(concept.hits ?? 0, "hit")}`),
      element("div", { class: "line" }, same, whole),
    ),
    concept.rows.length ? list : element("p", { class: "nothing" }, "Nothing found under the rules."),
    all,
  );

  function fill(until, focus) {
    const from = list.children.length;
    if (from >= until) return;
    list.append(...concept.rows.slice(from, until).map((row, at) => rowCard(concept, row, from + at + 1, changed)));
    all.hidden = list.children.length >= concept.rows.length;
    if (focus) list.children[from]?.querySelector(".open").focus();
  }

  fillers.set(section, () => fill(Math.min(FIRST, concept.rows.length), false));
  near.observe(section);
  return section;
}

function rowCard(concept, row, rank, changed) {
  const keep = box(`Keep ${row.caption || row.key || row.row_id}`, "keep", (kept) => {
    if (kept) concept.dropped.delete(row.row_id);
    else concept.dropped.add(row.row_id);
    item.classList.toggle("dropped", !kept);
    changed();
  });
  const how = element("span", { class: "how", title: row.prompt }, row.both_ways ? "T2I, T2T" : row.mode.toUpperCase());
  const item = card(row, rank, searchByRow, element("div", { class: "judge" }, keep, how));
  item.querySelector("input").disabled = !concept.kept;
  return item;
}

function box(name, shown, tick) {
  const input = element("input", { type: "checkbox", checked: true, "aria-label": name, onchange: () => tick(input.checked) });
  return element("label", { class: "keep" }, input, element("span", { "aria-hidden": "true" }, shown));
}

/** Search each row's nearest rows, and mark those that belong to this concept too. */
async function findSame(concept, list, button, fillAll) {
  button.disabled = true;
  const here = new Set(concept.rows.map((row) => row.row_id));
  const same = new Map();
  try {
    for (let from = 0; from < concept.rows.length; from += AT_ONCE) {
      const asked = concept.rows.slice(from, from + AT_ONCE).map((row) => row.row_id);
      const json = { queries: asked.map((row_id) => ({ row_id })), modality: "image", k: 20, filters: { min_score: sameFrom() }, columns: ["key"] };
      const { results } = await askJson("search", { json });
      results.forEach((result, at) => same.set(asked[at], result.rows.map((row) => row.row_id).filter((id) => here.has(id))));
    }
    fillAll();
    say(`${concept.name}: ${count(markDuplicates(list, same), "result")} with near-duplicates among them.`);
  } catch (error) {
    sayError(error);
  } finally {
    button.disabled = false;
  }
}
