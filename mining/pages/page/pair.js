// One set as a list item: its images side by side, captions, reasons, annotations, the button. Sends no requests.

import { count, element } from "../dom.js";
import { describe, pictureTile } from "../thumbnail.js";
import { annotationCards, imageName } from "./annotation.js";
import { marked } from "./words.js";

// Pixels of the longer side; an image is shown up to 30 rem wide.
const SIDE = 512;

/** A list item for a set; its button calls `judge(set, item)`, a correction `correct(set, item, annotation, said)`. */
export function pairItem(set, { judge, correct, replaced }) {
  const sims = [...similarity("images", set.image_sim), ...similarity("captions", set.text_sim)];
  const item = element(
    "li",
    { class: "pair panel", tabindex: "-1", "data-set": set.set_id, "aria-label": `${set.size === 2 ? "Pair" : "Set"} ${set.set_id}, ${set.strategy}` },
    set.size ? element("div", { class: `pictures ${["", "one", "two"][set.size] ?? ""}` }, ...set.members.map((member) => picture(member, set))) : null,
    element(
      "div",
      { class: "why" },
      element("p", { class: "tags" }, element("span", { class: "tag strategy", dir: "auto" }, set.strategy), ...tags(set)),
      sims.length ? element("dl", { class: "sims" }, ...sims) : null,
      set.reasons.length ? element("ul", { class: "reasons" }, ...set.reasons.map((reason) => element("li", { dir: "auto" }, reason))) : null,
      element("button", { type: "button", class: "judge-pair", onclick: () => judge(set, item) }),
      element("p", { class: "quiet set-id", dir: "auto" }, set.set_id),
    ),
    element("div", { class: "said" }),
  );
  showDecision(item, set.decision);
  showAnnotations(set, item, { correct, replaced });
  return item;
}

/** Show a decision on the item of its set. */
export function showDecision(item, decision) {
  const rejected = decision === "reject";
  item.classList.toggle("rejected", rejected);
  item.querySelector(".judge-pair").textContent = rejected ? "Undo: keep it" : "Reject";
}

/** Show the annotations of a set on its item; the one with the id `focused` gets the focus. `replaced`: all of them. */
export function showAnnotations(set, item, { correct, replaced }, focused = null) {
  const cards = annotationCards(set, replaced, (annotation, said) => correct(set, item, annotation, said));
  item.querySelector(".said").replaceChildren(...cards);
  cards.find((card) => card.dataset.annotation === focused)?.focus();
}

function picture(member, set) {
  const number = member.position + 1;
  const caption = member.caption ? marked(member.caption, set.shared_nouns) : ["no caption"];
  const source = `pairs/image?${new URLSearchParams({ set_id: set.set_id, position: member.position, side: SIDE })}`;
  const why = (error) => (error ? error.message.replace(/^image/u, "Image") : `Image ${number} cannot be shown`);
  return element(
    "figure",
    { "data-row": member.row_id, title: `${member.source}: ${member.key ?? member.path ?? member.url ?? member.row_id ?? ""}` },
    pictureTile(source, `Image ${number}: ${describe(member)}`, why),
    element("figcaption", { class: "caption", dir: "auto" }, imageName(number), " ", ...caption),
    member.captions.length > 1 ? allCaptions(member, set) : null,
  );
}

function allCaptions(member, set) {
  const lines = member.captions.map((caption) => element("li", { dir: "auto" }, ...marked(caption, set.shared_nouns)));
  return element("details", { class: "captions quiet" }, element("summary", {}, `all ${count(lines.length, "caption")}`), element("ul", {}, ...lines));
}

function* tags(set) {
  if (set.level) yield element("span", { class: "tag" }, `level ${set.level}`);
  if (set.difficulty !== null) yield element("span", { class: "tag" }, `difficulty ${set.difficulty.toFixed(2)}`);
  for (const name of ["axis", "concept", "entity", "split"]) {
    if (set[name]) yield element("span", { class: "tag", dir: "auto" }, `${name}: ${set[name]}`);
  }
  if (set.size !== 2) yield element("span", { class: "tag" }, set.size ? count(set.size, "image") : "no images");
}

function similarity(what, value) {
  if (value === null) return [];
  const filled = element("span");
  filled.style.width = `${100 * Math.min(1, Math.max(0, value))}%`; // set from here, which the page's policy allows
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, filled);
  return [element("dt", { title: `cosine of the ${what}` }, what), element("dd", {}, bar, element("span", {}, value.toFixed(3)))];
}
