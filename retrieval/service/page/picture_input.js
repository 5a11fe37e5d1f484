// Images from the file picker, from the clipboard, or dropped on the page.

import { byId } from "./dom.js";
import { sayProblem } from "./status.js";

/** Call `take(file)` for every image. `wanted()` says whether pasted and dropped images are accepted now. */
export function onPicture(take, wanted) {
  const picker = byId("picture");
  picker.addEventListener("change", () => {
    const file = picker.files[0];
    picker.value = ""; // the same file may be chosen again
    if (file) takeImage(file, take);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (!file || !wanted()) return;
    event.preventDefault();
    takeImage(file, take);
  });
  const veil = byId("drop");
  let inside = 0; // dragenter and dragleave fire for every element on the way
  const carriesFiles = (event) => wanted() && event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    inside += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    veil.hidden = inside === 0;
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    inside = 0;
    veil.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files[0]) takeImage(event.dataTransfer.files[0], take);
  });
}

/** A file's bytes in base64. */
export async function inBase64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

function takeImage(file, take) {
  if (file.type && !file.type.startsWith("image/")) sayProblem(`${file.name} is not an image.`);
  else take(file);
}
