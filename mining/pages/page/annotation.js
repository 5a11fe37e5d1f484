// The annotations of a set as cards: who said what, as a conversation about "Image 1", "Image 2", and its content.

import { element } from "../dom.js";
import { correctionForm, RECORD } from "./correction.js";

const ROLES = { system: "System", user: "User", assistant: "Assistant" };
// Letters and turns beyond which a card is folded.
const LONG_TEXT = 700;
const LINE = 40;
const LONG_TURNS = 8;
// Levels of nested content that are shown as lists; deeper ones as JSON.
const DEEPEST = 3;

/** "Image 1" as an element. With a direction of its own it does not count for that of the text around it. */
export const imageName = (number) => element("span", { class: "which", dir: "ltr" }, `Image ${number}`);

/** A card for each annotation of a set, by kind, corrections after what they correct. `replaced`: also those that were
 * corrected. A correction is stored by `store(annotation, said)`. */
export function annotationCards(set, replaced, store) {
  const known = new Map(set.annotations.map((each) => [each.annotation_id, each]));
  const order = [...set.annotations].sort((one, other) => compare(one.kind, other.kind) || rootAt(one, set, known) - rootAt(other, set, known));
  return order.filter((each) => replaced || !each.replaced).map((each) => card(each, set, store));
}

function card(annotation, set, store) {
  const { annotator, kind } = annotation;
  const long = annotation.turns.length > LONG_TURNS || textLength(annotation) > LONG_TEXT;
  const body = element("div", { class: long ? "body folded" : "body" }, ...turns(annotation), ...content(annotation));
  const article = element(
    "article",
    { class: annotation.replaced ? "annotation replaced" : "annotation", tabindex: "-1", "data-annotation": annotation.annotation_id, "aria-label": `${kind} by ${annotator.name}` },
  );
  const open = () => {
    const close = () => {
      article.replaceChildren(...parts);
      article.focus();
    };
    const form = correctionForm(annotation, set, (said) => store(annotation, said), close);
    article.replaceChildren(parts[0], form);
    (form.querySelector("textarea") ?? form.querySelector("input")).focus();
  };
  const parts = [
    element(
      "header",
      {},
      element("span", { class: "tag", dir: "auto" }, kind),
      element("b", { class: "by", dir: "auto" }, annotator.name),
      element("span", { class: "quiet details", dir: "auto" }, details(annotation)),
      annotation.replaced ? element("span", { class: "tag gone" }, "replaced") : null,
      annotation.parent && !annotation.replaced ? element("span", { class: "tag" }, "correction") : null,
    ),
    body,
    element(
      "footer",
      { class: "line" },
      long ? unfoldButton(body) : null,
      annotation.replaced ? null : element("button", { type: "button", class: "correct", "aria-label": `Correct the ${kind} by ${annotator.name}`, onclick: open }, "Correct"),
    ),
  ];
  article.append(...parts);
  return article;
}

function* turns({ turns: said }) {
  if (!said.length) return;
  yield element("ol", { class: "turns" }, ...said.map((turn) => element("li", { class: `turn ${turn.role}` }, element("span", { class: "role" }, ROLES[turn.role]), words(turn))));
}

/** The parts of a turn: texts, and a chip "Image 1" where an image stands. */
function words(turn) {
  const pieces = turn.parts.map((part) => ("image" in part ? imageName(part.image + 1) : part.text));
  return element("div", { class: "words", dir: "auto" }, ...pieces.flatMap((piece, at) => (at && needsSpace(pieces[at - 1], piece) ? [" ", piece] : [piece])));
}

/** Whether two pieces would run into each other: a chip and a chip, a letter, or a digit. */
const needsSpace = (one, other) => !(typeof one === "string" && /[^\p{L}\p{N}]$/u.test(one)) && !(typeof other === "string" && /^[^\p{L}\p{N}]/u.test(other));

function* content({ content: { [RECORD]: _, ...said } }) {
  if (Object.keys(said).length) yield value(said, 1);
}

function value(said, depth) {
  if (said === null || typeof said !== "object") return element("span", { class: "words", dir: "auto" }, said === null ? "none" : String(said));
  if (depth > DEEPEST) return element("code", { class: "words", dir: "auto" }, JSON.stringify(said));
  if (Array.isArray(said)) return element("ul", { class: "values" }, ...said.map((each) => element("li", {}, value(each, depth + 1))));
  return element("dl", { class: "content" }, ...Object.entries(said).flatMap(([name, each]) => [element("dt", { dir: "auto" }, name), element("dd", {}, value(each, depth + 1))]));
}

/** The annotator's version, parameters and prompt, and the imported record, in a line. */
function details({ annotator: { version, prompt_hash: prompt, parameters }, content: said }) {
  const known = Object.entries(parameters).map(([name, each]) => `${name} ${typeof each === "object" ? JSON.stringify(each) : each}`);
  const { file, place } = said[RECORD] ?? {};
  return [version && `version ${version}`, ...known, prompt && `prompt ${prompt.slice(0, 8)}`, file && `${file}, record ${place}`].filter(Boolean).join(" · ");
}

function unfoldButton(body) {
  const button = element("button", { type: "button", class: "link", "aria-expanded": "false", onclick: () => {
    const folded = body.classList.toggle("folded");
    button.setAttribute("aria-expanded", String(!folded));
    button.textContent = folded ? "Show all" : "Show less";
  } }, "Show all");
  return button;
}

/** Letters, and as many for each line end as a line holds. */
function textLength({ turns: said, content: { [RECORD]: _, ...more } }) {
  const texts = [JSON.stringify(more), ...said.flatMap((turn) => turn.parts.map((part) => part.text ?? ""))];
  return texts.reduce((total, text) => total + text.length + LINE * (text.split("\n").length - 1), 0);
}

const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

/** The place of the annotation that a chain of corrections began with, as far as it is shown. */
function rootAt(annotation, set, known) {
  let root = annotation;
  for (let steps = 0; known.has(root.parent) && known.get(root.parent).kind === root.kind && steps < set.annotations.length; steps += 1) root = known.get(root.parent);
  return set.annotations.indexOf(root);
}
