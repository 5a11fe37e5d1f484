// Finds the shared nouns in a caption, to mark them. Returns text and elements, so a caption is never read as markup.

import { element } from "../dom.js";

// Irregular plurals; the nouns of sets are lemmas.
const IRREGULAR = { man: "men", woman: "women", child: "children", person: "people", foot: "feet", tooth: "teeth", goose: "geese", mouse: "mice", ox: "oxen" };

/** A caption as text nodes and <mark>s. */
export function marked(caption, nouns) {
  if (!nouns.length) return [caption];
  const alternatives = nouns.flatMap(forms).sort((one, other) => other.length - one.length);
  const found = new RegExp(`(?<![\\p{L}\\p{N}])(?:${alternatives.join("|")})(?![\\p{L}\\p{N}])`, "giu");
  const pieces = [];
  let end = 0;
  for (const match of caption.matchAll(found)) {
    pieces.push(caption.slice(end, match.index), element("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  return [...pieces, caption.slice(end)];
}

/** Patterns of a noun and its plurals; of several words, only the last one changes. */
function forms(noun) {
  const words = noun.trim().split(/[\s_-]+/u);
  const last = words.pop();
  const start = words.map((word) => `${escaped(word)}[\\s_-]+`).join("");
  const plurals = [`${escaped(last)}(?:s|es)?`];
  const irregular = Object.entries(IRREGULAR).find(([singular]) => last.toLowerCase().endsWith(singular));
  if (irregular) plurals.push(escaped(last.slice(0, -irregular[0].length) + irregular[1]));
  if (/[^aeiou]y$/iu.test(last)) plurals.push(`${escaped(last.slice(0, -1))}ies`);
  if (/fe?$/iu.test(last)) plurals.push(`${escaped(last.replace(/fe?$/iu, ""))}ves`);
  return plurals.map((plural) => start + plural);
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/gu, "\\$&");
