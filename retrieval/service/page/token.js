// The bearer token, for a service that needs one: entered once and kept in this tab.

import { byId } from "./dom.js";
import { say, sayProblem } from "./status.js";

const KEPT = "clipmine-token";
// An HTTP header can carry visible ASCII only.
const FITS = /^[\x21-\x7e]+$/;

let kept = "";
let asked = null;

try {
  kept = sessionStorage.getItem(KEPT) ?? "";
} catch {
  // Storage may be forbidden; then the token is kept until the page is closed.
}

export const token = () => kept;

/** A token other than `refused`, from the form; callers at the same time share one answer. */
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
