// Starts the page: describes the store, and shows the view that the address names.

import { readAddress } from "./address.js";
import { setConceptStore, startConcepts } from "./concepts.js";
import { byId, count, element } from "./dom.js";
import { onPicture } from "./picture_input.js";
import { searchByImage, setStore, showSearch, startSearch, stopSearch } from "./search.js";
import { askJson } from "./service.js";
import { sayError } from "./status.js";
import { setImages } from "./thumbnail.js";

function show(event) {
  const { concepts } = readAddress();
  byId("search-view").hidden = concepts;
  byId("concepts-view").hidden = !concepts;
  byId("to-search").setAttribute("aria-current", concepts ? "false" : "page");
  byId("to-concepts").setAttribute("aria-current", concepts ? "page" : "false");
  if (!concepts) {
    showSearch();
    return;
  }
  stopSearch();
  document.title = "Concept list · Clipmine";
  const before = new URL(event?.oldURL ?? location.href).hash;
  if (!before.startsWith("#concepts")) byId("to-search").href = before || "#"; // back to the last search
}

async function start() {
  startSearch();
  startConcepts();
  onPicture(searchByImage, () => !readAddress().concepts);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address holds the search
    byId("main").focus();
  });
  addEventListener("hashchange", show);
  try {
    const info = await askJson("indexes");
    for (const page of info.pages) byId("views").append(element("a", { href: page.href }, page.name));
    byId("store").textContent = `${info.name}, ${count(info.rows - info.forgotten, "picture")}`;
    setImages(info.images);
    setStore(info);
    setConceptStore(info);
  } catch (error) {
    sayError(error);
    return;
  }
  show();
}

start();
