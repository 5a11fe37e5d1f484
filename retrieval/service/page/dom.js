// Makes elements. Text is set as text and never as markup, since captions come from the web.

/** The element with this id; every id is in index.html. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes; `onclick` and the like are listeners; attributes that are null or false are not set. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** "1 picture", "12,000 pictures". */
export const count = (number, one, several = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : several}`;
