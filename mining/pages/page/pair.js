// One set as a list item: its pictures side by side, captions, similarity, reasons, the button. Sends no requests.

import { element } from "../dom.js";
import { thumbnail } from "../thumbnail.js";
import { marked } from "./words.js";

// Pixels of the longer side; a picture is shown up to 30 rem wide.
const SIDE = 512;

/** A list item for a set; its button calls `judge(set, item)`. */
export function pairItem(set, judge) {
  const item = element(
    "li",
    { class: "pair panel", tabindex: "-1", "data-set": set.set_id, "aria-label": `${set.size === 2 ? "Pair" : "Set"} ${set.set_id}, ${set.strategy}` },
    element("div", { class: set.size === 2 ? "pictures two" : "pictures" }, ...set.members.map((member) => picture(member, set))),
    element(
      "div",
      { class: "why" },
      element(
        "p",
        { class: "tags" },
        element("span", { class: "tag strategy" }, set.strategy),
        element("span", { class: "tag" }, `level ${set.level}`),
        ...tags(set),
      ),
      element("dl", { class: "sims" }, ...similarity("images", set.image_sim), ...similarity("captions", set.text_sim)),
      set.reasons.length ? element("ul", { class: "reasons" }, ...set.reasons.map((reason) => element("li", { dir: "auto" }, reason))) : null,
      element("button", { type: "button", class: "judge-pair", onclick: () => judge(set, item) }),
    ),
  );
  showDecision(item, set.decision);
  return item;
}

/** Show a decision on the item of its set. */
export function showDecision(item, decision) {
  const rejected = decision === "reject";
  item.classList.toggle("rejected", rejected);
  item.querySelector(".judge-pair").textContent = rejected ? "Undo: keep it" : "Reject";
}

function picture(member, set) {
  const caption = member.caption ? marked(member.caption, set.shared_nouns) : ["no caption"];
  return element(
    "figure",
    { "data-row": member.row_id },
    thumbnail(member, SIDE),
    element(
      "figcaption",
      { class: "caption", dir: "auto" },
      ...caption,
      set.size > 2 ? element("span", { class: "unseen" }, ` (image ${member.position + 1})`) : null,
    ),
  );
}

function* tags(set) {
  for (const name of ["axis", "concept", "entity"]) {
    if (set[name]) yield element("span", { class: "tag", dir: "auto" }, `${name}: ${set[name]}`);
  }
  if (set.size > 2) yield element("span", { class: "tag" }, `${set.size} images`);
}

function similarity(what, value) {
  if (value === null) return [];
  const filled = element("span");
  filled.style.width = `${100 * Math.min(1, Math.max(0, value))}%`; // set from here, which the page's policy allows
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, filled);
  return [element("dt", { title: `cosine of the ${what}` }, what), element("dd", {}, bar, element("span", {}, value.toFixed(3)))];
}
