// The page of pairs: loads sets page by page, sends decisions and corrections, and handles keys.

import { byId, count } from "../dom.js";
import { askJson } from "../service.js";
import { say, sayError } from "../status.js";
import { asParameters, readFilters, showFilters, watchFilters } from "./filters.js";
import { pairItem, showAnnotations, showDecision } from "./pair.js";

const LIMIT = 20;

let next = null; // the cursor of the next page
let has = null; // what the folder has, from the last answer
let asked = null; // the current request, if any
const deciding = new Set();

async function show() {
  showFilters(readFilters(), has);
  byId("pairs").replaceChildren();
  next = 0;
  await more();
}

async function more() {
  asked?.abort();
  const mine = new AbortController();
  asked = mine;
  byId("more").hidden = true;
  byId("pairs").setAttribute("aria-busy", "true");
  say("Looking …");
  const parts = asParameters(readFilters());
  parts.set("cursor", next);
  parts.set("limit", LIMIT);
  try {
    const answer = await askJson(`pairs?${parts}`, { signal: mine.signal });
    if (mine.signal.aborted) return;
    has = answer;
    showFilters(readFilters(), has);
    next = answer.next;
    byId("pairs").append(...answer.sets.map((set) => pairItem(set, { judge, correct, replaced: readFilters().replaced === "true" })));
    byId("more").hidden = next === null;
    tell(answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    byId("more").hidden = next === null;
    sayError(error);
  } finally {
    if (asked === mine) byId("pairs").removeAttribute("aria-busy");
  }
}

function tell(answer) {
  const shown = byId("pairs").children.length;
  const wanted = readFilters();
  if (next === null) {
    const none = answer.hint ? `No set meets the filters: ${answer.hint}.` : "No set meets the filters.";
    say(shown ? `${count(shown, "set")}, and these are all.` : none);
  } else if (wanted.text || wanted.decision) {
    say(`${count(shown, "set")} so far; looked through ${answer.looked_at.toLocaleString("en")} more of ${answer.matching.toLocaleString("en")}.`);
  } else {
    say(`${shown.toLocaleString("en")} of ${count(answer.matching, "set")}.`);
  }
}

async function judge(set, item) {
  if (deciding.has(set.set_id)) return;
  deciding.add(set.set_id);
  const decision = set.decision === "reject" ? "keep" : "reject";
  showDecision(item, decision); // at once; undone when the request fails
  try {
    await askJson("pairs/decision", { json: { set_id: set.set_id, decision } });
    set.decision = decision;
    say(decision === "reject" ? `Rejected ${set.set_id}; mining and exports leave it out.` : `Kept ${set.set_id}.`);
  } catch (error) {
    showDecision(item, set.decision);
    sayError(error);
  } finally {
    deciding.delete(set.set_id);
  }
}

/** Store what an annotation should say instead; whether it was stored. */
async function correct(set, item, annotation, said) {
  try {
    const answer = await askJson("pairs/annotation", { json: { set_id: set.set_id, parent: annotation.annotation_id, ...said } });
    annotation.replaced = true;
    set.annotations.push(answer.annotation);
    const replaced = readFilters().replaced === "true";
    showAnnotations(set, item, { correct, replaced }, answer.annotation.annotation_id);
    say(`Corrected; ${annotation.annotator.name}'s annotation stays, replaced by yours.`);
    return true;
  } catch (error) {
    sayError(error);
    return false;
  }
}

async function step(by) {
  const items = [...byId("pairs").children];
  const at = items.indexOf(document.activeElement.closest?.(".pair"));
  if (by > 0 && at === items.length - 1 && next !== null && items.length) {
    await more();
    byId("pairs").children[at + 1]?.focus();
    return;
  }
  const to = items[at < 0 ? 0 : Math.min(items.length - 1, Math.max(0, at + by))];
  to?.focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea") || event.target.closest(".correction")) return;
  const current = document.activeElement.closest?.(".pair");
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "r" && current) current.querySelector(".judge-pair").click();
  else return;
  event.preventDefault();
}

async function start() {
  watchFilters(show);
  byId("more").addEventListener("click", more);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("keydown", onKey);
  addEventListener("popstate", show);
  try {
    const info = await askJson("indexes");
    byId("store").textContent = `${info.name}, ${count(info.rows - info.forgotten, "picture")}`;
  } catch (error) {
    sayError(error);
    return;
  }
  await show();
}

start();
