// A row's picture as a thumbnail, or a tile with its caption where there is no picture.

import { element } from "./dom.js";
import { ask, inStore } from "./service.js";
import { token } from "./token.js";

const SIDE = 256;

let imagesHere = true;

/** Whether the service has images; without any, none is requested. */
export function setImages(here) {
  imagesHere = here;
}

/** The text alternative of a picture. */
export const describe = (row) => row.caption || `picture ${row.key ?? row.row_id}, without a caption`;

/** A tile that loads the row's picture, at most `side` pixels on its longer side, when it scrolls near the screen. */
export function thumbnail(row, side = SIDE) {
  return pictureTile(`rows/${row.row_id}/image?side=${side}`, describe(row));
}

/** A tile that loads the picture at the path `source`; `instead(error)` is the text where there is none. */
export function pictureTile(source, alt, instead = () => alt) {
  const tile = element("span", { class: "thumb" });
  if (!imagesHere) {
    placeholder(tile, instead());
    return tile;
  }
  const picture = element("img", { alt, loading: "lazy", decoding: "async" });
  tile.append(picture);
  if (token()) {
    // An <img> sends no token, so the bytes are fetched when the tile is near the screen.
    waiting.set(tile, () => fetchInto(tile, picture, source, instead));
    near.observe(tile);
  } else {
    // fetchInto tries a busy service again after the time that it names.
    picture.addEventListener("error", () => fetchInto(tile, picture, source, instead), { once: true });
    picture.src = inStore(source);
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

async function fetchInto(tile, picture, source, instead) {
  try {
    const response = await ask(source, { quiet: true });
    const url = URL.createObjectURL(await response.blob());
    const forget = () => URL.revokeObjectURL(url);
    picture.addEventListener("load", forget, { once: true });
    picture.addEventListener(
      "error",
      () => {
        forget();
        placeholder(tile, instead());
      },
      { once: true },
    );
    picture.src = url;
  } catch (error) {
    placeholder(tile, instead(error));
  }
}

function placeholder(tile, text) {
  tile.classList.add("without");
  tile.replaceChildren(element("span", { class: "instead", dir: "auto" }, text));
}
