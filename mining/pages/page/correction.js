// The form that corrects an annotation: a text for each turn, with [Image 1] for an image, and a field for its content.

import { element } from "../dom.js";

const KEPT = "clipmine-person"; // the person's name, for the next correction
const LONGEST_NAME = 60;
/** The name in an imported annotation's content that says which record it came from; it stays as it is. */
export const RECORD = "record";
const IMAGE = /\[Image (\d+)\]/u;

/** `store(said)` resolves to whether it was stored; `close()` puts back what was there. */
export function correctionForm(annotation, set, store, close) {
  const turns = element("ol", { class: "turns" }, ...annotation.turns.map((turn) => turnField(turn, set)));
  const { [RECORD]: record, ...others } = annotation.content;
  const fields = Object.entries(others).map(([name, value]) => contentField(name, value));
  const person = element("input", { type: "text", required: true, maxlength: LONGEST_NAME, value: keptName(), autocomplete: "name" });
  const save = element("button", { type: "submit", class: "main" }, "Save");
  const form = element(
    "form",
    { class: "correction", "aria-label": `Correct the ${annotation.kind} by ${annotation.annotator.name}` },
    turns,
    annotation.turns.length ? element("p", { class: "quiet" }, "[Image 1] stands for the first image. ", addButton(turns, set)) : null,
    ...fields.map((field) => field.label),
    element("div", { class: "line" }, element("label", { class: "person" }, "Your name ", person), save, element("button", { type: "button", onclick: close }, "Cancel")),
  );
  const isChanged = () => [...form.querySelectorAll("textarea, select")].some((each) => each.value !== each.dataset.was);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    if (event.key === "Escape" && !isChanged()) close();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const content = Object.fromEntries([...(record === undefined ? [] : [[RECORD, record]]), ...fields.map((field) => [field.name, field.read()])]);
    if (!form.reportValidity()) return;
    keepName(person.value.trim());
    save.disabled = true;
    const said = { person: person.value.trim(), turns: [...turns.children].map((each) => readTurn(each)), content };
    if (!(await store(said))) save.disabled = false;
  });
  return form;
}

// What each turn's field began with: a turn that was not changed is stored as it was.
const began = new WeakMap();

function turnField(turn, set) {
  const text = turn.parts.map((part) => ("image" in part ? `[Image ${part.image + 1}]` : part.text)).join("");
  const role = element("select", { "aria-label": "Who says it", "data-was": turn.role }, ...["system", "user", "assistant"].map((each) => new Option(each, each)));
  role.value = turn.role;
  const item = element(
    "li",
    { class: "turn-field" },
    role,
    element("button", { type: "button", class: "link", onclick: () => removeTurn(item) }, "Remove this turn"),
    textArea(text, "What is said"),
  );
  began.set(item, { ...turn, text, size: set.size });
  return item;
}

/** Keeps the focus within the form, since keys outside of it judge the pair. */
function removeTurn(item) {
  const beside = item.nextElementSibling ?? item.previousElementSibling;
  const to = beside ? beside.querySelector("textarea") : item.closest("form").querySelector(".add-turn");
  item.remove();
  to.focus();
}

function readTurn(item) {
  const { role: oldRole, text: oldText, parts, size } = began.get(item);
  const [role, text] = [item.querySelector("select").value, item.querySelector("textarea").value];
  if (role === oldRole && text === oldText) return { role, parts };
  const pieces = text.split(IMAGE); // at odd places the numbers of images
  return { role, parts: pieces.map((piece, at) => asPart(piece, at % 2 === 1, size)).filter((part) => part.text !== "") };
}

/** An image that the set has, or text. */
function asPart(piece, isImage, size) {
  const number = Number(piece);
  if (!isImage) return { text: piece };
  return number >= 1 && number <= size ? { image: number - 1 } : { text: `[Image ${piece}]` };
}

function addButton(turns, set) {
  const add = () => {
    const last = [...turns.children].at(-1)?.querySelector("select").value;
    const item = turnField({ role: last === "user" ? "assistant" : "user", parts: [] }, set);
    turns.append(item);
    item.querySelector("textarea").focus();
  };
  return element("button", { type: "button", class: "link add-turn", onclick: add }, "Add a turn");
}

/** A field for one name of the content: a text, a list of texts with one a line, or JSON. */
function contentField(name, value) {
  const isList = Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string" && !each.includes("\n"));
  const [how, write, read] =
    typeof value === "string" ? ["", (each) => each, (text) => text]
    : isList ? [", one a line", (each) => each.join("\n"), (text) => text.split("\n").map((line) => line.trim()).filter(Boolean)]
    : [", as JSON", (each) => JSON.stringify(each, null, 1), JSON.parse];
  const was = write(value);
  const area = textArea(was, null);
  const label = element("label", { class: "content-field" }, `${name}${how} `, area);
  return {
    name,
    label,
    read: () => {
      area.setCustomValidity("");
      try {
        return area.value === was ? value : read(area.value);
      } catch (error) {
        area.setCustomValidity(`This is not JSON: ${error.message}`);
        return value;
      }
    },
  };
}

function textArea(text, label) {
  const rows = Math.min(12, Math.max(2, text.split("\n").length, Math.ceil(text.length / 60)));
  const area = element("textarea", { rows, dir: "auto", "aria-label": label, "data-was": text, oninput: () => area.setCustomValidity("") });
  area.value = text;
  return area;
}

function keptName() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // storage may be forbidden
  }
}

function keepName(name) {
  try {
    localStorage.setItem(KEPT, name);
  } catch {
    // As above.
  }
}
