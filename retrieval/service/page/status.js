// The one line that says what happens, read out by screen readers. Knows no service.

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

/** An error of any kind in one line; nothing for what was cancelled on purpose. */
export function sayError(error) {
  if (error.name === "AbortError") return;
  if (error.name !== "Problem") console.error(error);
  sayProblem(error.name === "Problem" ? error.message : `The page failed: ${error.message}`);
}
