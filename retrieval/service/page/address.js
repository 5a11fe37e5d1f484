// The address bar holds the search that is shown, so that it can be shared and Back works.

const number = (text) => (text === null || text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** The search in the address. At most one of `q`, `row` and `image` is not null. */
export function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  return {
    concepts: parts.has("concepts"),
    store: parts.get("store"),
    q: parts.get("q"),
    row: number(parts.get("row")),
    image: number(parts.get("image")),
    k: number(parts.get("k")),
    minScore: number(parts.get("min_score")),
    minSide: number(parts.get("min_side")),
    same: number(parts.get("same")),
  };
}

/** Put a search into the address as a new step of the history, which fires `hashchange`. False if it is unchanged. */
export function writeAddress({ q = null, row = null, image = null, k, minScore, minSide, same }) {
  const parts = new URLSearchParams();
  const { store } = readAddress();
  const values = { q, row, image, k, min_score: minScore, min_side: minSide, same, store };
  for (const [name, value] of Object.entries(values)) if (value !== null && value !== undefined) parts.set(name, value);
  const hash = `#${parts}`;
  if (hash === location.hash) return false;
  location.hash = hash;
  return true;
}

/** The address of the concept list's view, or of an empty search, in the store that is shown. */
export function viewAddress(concepts) {
  const { store } = readAddress();
  const parts = [concepts ? "concepts" : "", store === null ? "" : String(new URLSearchParams({ store }))];
  return `#${parts.filter(Boolean).join("&")}`;
}

/** Show another store, with the words that were searched; rows and images of one store mean nothing in another. */
export function writeStore(store) {
  const parts = new URLSearchParams(location.hash.slice(1));
  const concepts = parts.has("concepts");
  for (const name of ["row", "image", "concepts"]) parts.delete(name);
  parts.set("store", store);
  location.hash = concepts ? `#concepts&${parts}` : `#${parts}`;
}
