// A row's picture, small; a tile with its caption where the picture cannot be shown. Knows no search.

import { element } from "./dom.js";
import { ask } from "./service.js";
import { token } from "./token.js";

const SIDE = 256;

let imagesHere = true;

/** Whether the service has images at all; without, none is asked for. */
export function setImages(here) {
  imagesHere = here;
}

/** What is read aloud for a picture. */
export const describe = (row) => row.caption || `picture ${row.key ?? row.row_id}, without a caption`;

/** A tile that loads the row's picture, its longer side of `side` pixels, when it comes near the screen. */
export function thumbnail(row, side = SIDE) {
  const tile = element("span", { class: "thumb" });
  if (!imagesHere) {
    placeholder(tile, row);
    return tile;
  }
  const source = `rows/${row.row_id}/image?side=${side}`;
  const picture = element("img", { alt: describe(row), loading: "lazy", decoding: "async" });
  tile.append(picture);
  if (token()) {
    // An <img> sends no token: the bytes are fetched, once the tile is near.
    waiting.set(tile, () => fetchInto(tile, picture, source, row));
    near.observe(tile);
  } else {
    // A busy service is asked again by fetchInto, which knows how long to wait.
    picture.addEventListener("error", () => fetchInto(tile, picture, source, row), { once: true });
    picture.src = source;
  }
  return tile;
}

const waiting = new WeakMap();
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      waiting.get(target)?.();
    }
  },
  { rootMargin: "400px" },
);

async function fetchInto(tile, picture, source, row) {
  try {
    const response = await ask(source, { quiet: true });
    const url = URL.createObjectURL(await response.blob());
    const forget = () => URL.revokeObjectURL(url);
    picture.addEventListener("load", forget, { once: true });
    picture.addEventListener(
      "error",
      () => {
        forget();
        placeholder(tile, row);
      },
      { once: true },
    );
    picture.src = url;
  } catch {
    placeholder(tile, row);
  }
}

function placeholder(tile, row) {
  tile.classList.add("without");
  tile.replaceChildren(element("span", { class: "instead", dir: "auto" }, describe(row)));
}
