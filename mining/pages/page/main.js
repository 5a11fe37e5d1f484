// The page of pairs: reads the filters from the URL, loads sets page by page, sends decisions, and handles keys.

import { byId, count } from "../dom.js";
import { askJson } from "../service.js";
import { say, sayError } from "../status.js";
import { setImages } from "../thumbnail.js";
import { pairItem, showDecision } from "./pair.js";

const FILTERS = ["strategy", "level", "decision", "text"];
const LIMIT = 20;

let next = null; // the cursor of the next page
let counts = [];
let asked = null; // the current request, if any
const deciding = new Set();

function readFilters() {
  const parts = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(FILTERS.map((name) => [name, parts.get(name) ?? ""]));
}

function writeFilters() {
  const given = FILTERS.map((name) => [name, byId(name).value.trim()]).filter(([, value]) => value !== "");
  const hash = `#${new URLSearchParams(given)}`;
  // Links are relative to the service's root, so this page's own path must be given.
  if (hash !== (location.hash || "#")) history.pushState(null, "", location.pathname + location.search + hash);
  show();
}

function fillOptions(wanted) {
  const strategies = [...new Set(counts.map((each) => each.strategy))];
  const ofStrategy = counts.filter((each) => !wanted.strategy || each.strategy === wanted.strategy);
  const levels = [...new Set(ofStrategy.map((each) => each.level))].sort((one, other) => one - other);
  const sum = (name, value) => ofStrategy.concat(name === "strategy" ? counts.filter((each) => !ofStrategy.includes(each)) : []).filter((each) => each[name] === value).reduce((total, each) => total + each.sets, 0);
  fill("strategy", strategies, wanted.strategy, sum);
  fill("level", levels, wanted.level, sum);
}

function fill(name, values, wanted, sum) {
  const select = byId(name);
  const known = values.map(String);
  if (wanted && !known.includes(wanted)) known.push(wanted); // named in the URL: shown even though it finds nothing
  const options = known.map((value, at) => new Option(`${value} (${at < values.length ? sum(name, values[at]).toLocaleString("en") : 0})`, value));
  select.replaceChildren(new Option("all", ""), ...options);
  select.value = wanted;
}

async function show() {
  const wanted = readFilters();
  if (counts.length) fillOptions(wanted);
  for (const name of ["decision", "text"]) byId(name).value = wanted[name];
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
  const parts = new URLSearchParams(Object.entries(readFilters()).filter(([, value]) => value !== ""));
  parts.set("cursor", next);
  parts.set("limit", LIMIT);
  try {
    const answer = await askJson(`pairs?${parts}`, { signal: mine.signal });
    if (mine.signal.aborted) return;
    if (!counts.length) {
      counts = answer.counts;
      fillOptions(readFilters());
    }
    next = answer.next;
    byId("pairs").append(...answer.sets.map((set) => pairItem(set, judge)));
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
    say(shown ? `${count(shown, "set")}, and these are all.` : "No set meets the filters.");
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
    await askJson(`pairs/${set.set_id}/decision`, { json: { decision } });
    set.decision = decision;
    say(decision === "reject" ? `Rejected ${set.set_id}; the next mining run leaves it out.` : `Kept ${set.set_id}.`);
  } catch (error) {
    showDecision(item, set.decision);
    sayError(error);
  } finally {
    deciding.delete(set.set_id);
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
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const current = document.activeElement.closest?.(".pair");
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "r" && current) current.querySelector(".judge-pair").click();
  else return;
  event.preventDefault();
}

async function start() {
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    writeFilters();
  });
  for (const name of ["strategy", "level", "decision"]) {
    byId(name).addEventListener("change", () => {
      if (name === "strategy") byId("level").value = ""; // levels of one strategy mean nothing for another
      writeFilters();
    });
  }
  byId("text").addEventListener("search", writeFilters);
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
    setImages(info.images);
  } catch (error) {
    sayError(error);
    return;
  }
  await show();
}

start();
