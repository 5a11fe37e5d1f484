// Starts the page: describes the store, and shows the view that the address names.

import { readAddress, viewAddress, writeStore } from "./address.js";
import { clearConcepts, setConceptStore, startConcepts } from "./concepts.js";
import { byId, count, element } from "./dom.js";
import { onPicture } from "./picture_input.js";
import { fillForm, searchByImage, setStore, showSearch, startSearch, stopSearch } from "./search.js";
import { askJson, askStore } from "./service.js";
import { sayError } from "./status.js";
import { setImages } from "./thumbnail.js";

let shown; // the store of the address that the page has been set up for

async function show(event) {
  const { concepts, store } = readAddress();
  if (!concepts) fillForm(); // before the wait: what is typed meanwhile stays
  if (store !== shown && !(await openStore(store))) return;
  byId("search-view").hidden = concepts;
  byId("concepts-view").hidden = !concepts;
  byId("to-search").setAttribute("aria-current", concepts ? "false" : "page");
  byId("to-concepts").setAttribute("aria-current", concepts ? "page" : "false");
  byId("to-concepts").href = viewAddress(true);
  if (!concepts) {
    showSearch();
    return;
  }
  stopSearch();
  document.title = "Concept list · Clipmine";
  const before = new URL(event?.oldURL ?? location.href).hash;
  const search = before.startsWith("#concepts") ? null : before; // back to the last search, unless of another store
  if (search !== null) byId("to-search").href = event?.oldURL && storeOf(search) === store ? search || "#" : viewAddress(false);
}

const storeOf = (hash) => new URLSearchParams(hash.slice(1)).get("store");

/** Set the page up for a store; false, after saying why, where there is none of this name. */
async function openStore(name) {
  shown = name;
  stopSearch();
  clearConcepts();
  byId("to-search").href = viewAddress(false);
  askStore(name);
  try {
    const info = await askJson("indexes");
    if (name !== shown) return false; // another one has been chosen meanwhile
    describe(info);
    setImages(info.images);
    setStore(info);
    setConceptStore(info);
    return true;
  } catch (error) {
    sayError(error);
    if (name !== null && byId("choice").hidden) await offerStores();
    return false;
  }
}

/** Show the names of the stores where the address names one that is not there. */
async function offerStores() {
  askStore(null);
  try {
    describe(await askJson("indexes"));
    byId("stores").value = "";
  } catch {
    // The first error is shown.
  }
}

function describe(info) {
  const several = info.stores.length > 1;
  byId("store").textContent = `${several ? "" : `${info.name}, `}${count(info.rows - info.forgotten, "picture")}`;
  byId("choice").hidden = !several;
  byId("stores").replaceChildren(...info.stores.map((name) => element("option", { value: name }, name)));
  byId("stores").value = info.name;
  if (byId("views").children.length === 2) {
    for (const page of info.pages) byId("views").append(element("a", { href: page.href }, page.name));
  }
}

function start() {
  startSearch();
  startConcepts();
  onPicture(searchByImage, () => !readAddress().concepts);
  byId("stores").addEventListener("change", () => writeStore(byId("stores").value));
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address holds the search
    byId("main").focus();
  });
  addEventListener("hashchange", show);
  show();
}

start();
