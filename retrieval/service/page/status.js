// The status line, which screen readers read out.

import { byId } from "./dom.js";

const line = byId("status");

export function say(text) {
  line.className = "";
  line.textContent = text;
}

export function sayProblem(text) {
  line.className = "problem";
  line.textContent = text;
}

/** Show an error of any kind in one line; cancelled requests are not shown. */
export function sayError(error) {
  if (error.name === "AbortError") return;
  if (error.name !== "Problem") console.error(error);
  sayProblem(error.name === "Problem" ? error.message : `The page failed: ${error.message}`);
}
