// The address bar holds the search that is shown, so that it can be shared and Back works.

const number = (text) => (text === null || text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** The search in the address. At most one of `q`, `row` and `image` is not null. */
export function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  return {
    concepts: parts.has("concepts"),
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
  const values = { q, row, image, k, min_score: minScore, min_side: minSide, same };
  for (const [name, value] of Object.entries(values)) if (value !== null && value !== undefined) parts.set(name, value);
  const hash = `#${parts}`;
  if (hash === location.hash) return false;
  location.hash = hash;
  return true;
}
