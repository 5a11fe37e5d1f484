// The bearer token, where the service asks for one: asked for once, kept in this tab. Knows no request.

import { byId } from "./dom.js";
import { say, sayProblem } from "./status.js";

const KEPT = "clipmine-token";
// What a header can carry: visible ASCII.
const FITS = /^[\x21-\x7e]+$/;

let kept = "";
let asked = null;

try {
  kept = sessionStorage.getItem(KEPT) ?? "";
} catch {
  // Storage may be forbidden; then the token lives as long as the page.
}

export const token = () => kept;

/** A token other than `refused`, from the field; those who ask at the same time share one answer. */
export function newToken(refused) {
  if (kept !== refused) return Promise.resolve(kept);
  asked ??= fromField(refused).finally(() => {
    asked = null;
  });
  return asked;
}

function fromField(refused) {
  const form = byId("token-form");
  const field = byId("token");
  form.hidden = false;
  field.value = "";
  field.focus();
  if (refused) sayProblem("The service did not accept this token.");
  else say("The service asks for an access token.");
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const given = field.value.trim();
      if (!FITS.test(given)) {
        sayProblem("A token has letters, digits and signs without spaces.");
        return;
      }
      kept = given;
      try {
        sessionStorage.setItem(KEPT, given);
      } catch {
        // As above.
      }
      form.hidden = true;
      field.value = "";
      say("");
      resolve(given);
    };
  });
}
