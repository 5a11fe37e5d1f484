// One result as a list item: picture, caption, score, key, near-duplicates.

import { element } from "./dom.js";
import { thumbnail } from "./thumbnail.js";

/** A list item for a row. Its picture is a button that calls `more(row)`; `extra` is appended. */
export function card(row, rank, more, ...extra) {
  return element(
    "li",
    { class: "card", "data-row": row.row_id },
    element(
      "button",
      { class: "open", type: "button", title: "More like this", onclick: () => more(row) },
      element("span", { class: "unseen" }, "More like this: "),
      thumbnail(row),
    ),
    element("p", { class: "caption", dir: "auto", title: row.caption || null }, row.caption || "no caption"),
    element(
      "p",
      { class: "facts" },
      element("span", { class: "rank" }, `${rank}`),
      element("span", { class: "score", title: "score: the cosine with the query" }, element("span", { class: "unseen" }, "score "), row.score.toFixed(3)),
      element("span", { class: "key", title: `key ${row.key ?? ""}, row ${row.row_id}${size(row)}` }, element("span", { class: "unseen" }, "key "), `${row.key ?? row.row_id}`),
    ),
    ...extra,
  );
}

/** List under each card the cards with almost the same picture. `same` maps a row id to row ids. */
export function markDuplicates(list, same) {
  const cards = new Map([...list.querySelectorAll(":scope > .card")].map((item, at) => [Number(item.dataset.row), { item, rank: at + 1 }]));
  let marked = 0;
  for (const [rowId, { item }] of cards) {
    const others = (same.get(rowId) ?? []).filter((other) => other !== rowId && cards.has(other)).map((other) => cards.get(other));
    item.querySelector(".near")?.remove();
    if (!others.length) continue;
    marked += 1;
    others.sort((one, other) => one.rank - other.rank);
    const links = others.map((other) =>
      element("button", { type: "button", class: "link", "aria-label": `near-duplicate: result ${other.rank}`, onclick: () => jumpTo(other.item) }, `${other.rank}`),
    );
    item.append(element("p", { class: "near" }, "near-duplicate of ", ...links));
  }
  return marked;
}

function jumpTo(item) {
  item.querySelector(".open").focus();
  item.scrollIntoView({ block: "nearest" });
}

function size(row) {
  return row.width && row.height ? `, ${row.width} × ${row.height} px` : "";
}
