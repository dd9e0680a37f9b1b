// Elements, and texts in them. Every value gets into the page as text: nothing here parses markup.

/** Makes an element. Attributes that are false or null are left out; functions are listeners. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** A name or an id of any script, kept apart from the text around it. */
export function named(text) {
  return el("bdi", {}, String(text));
}

/** A table. A column is a title, and right-aligned where the title begins with ">". */
export function table(caption, columns, rows) {
  const right = columns.map((column) => column.startsWith(">"));
  const titles = columns.map((column) => column.replace(/^>/, ""));
  const head = titles.map((title, at) =>
    el("th", { scope: "col", role: "columnheader", class: right[at] ? "number" : null }, title));
  const cell = (value, at) =>
    el(at === 0 ? "th" : "td", {
      scope: at === 0 ? "row" : null,
      role: at === 0 ? "rowheader" : "cell",
      class: right[at] ? "number" : null,
      "data-title": titles[at],
    }, value ?? "");
  return el("table", { role: "table" },
    el("caption", {}, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
    el("tbody", { role: "rowgroup" }, rows.map((row) => el("tr", { role: "row" }, row.map(cell)))));
}

/** Pairs of a term and a figure. */
export function figures(pairs) {
  return el("dl", { class: "figures" }, pairs.filter(Boolean).map(([term, value, note]) =>
    el("div", {}, el("dt", {}, term), el("dd", {}, value, note ? el("small", {}, note) : null))));
}

export function count(number) {
  return number == null ? "–" : number.toLocaleString("en");
}

export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function bytes(number) {
  let [value, unit] = [number, 0];
  while (value >= 1024 && unit < 5) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

export function dollars(amount) {
  if (amount === 0) return "$0";
  return amount < 0.01 ? `$${amount.toPrecision(2)}` : `$${amount.toFixed(2)}`;
}

export function factor(number) {
  return number == null ? "–" : `${number.toFixed(1)} ×`;
}

export function time(millis) {
  return millis > 0 ? el("time", { datetime: new Date(millis).toISOString() }, stamp(millis)) : "–";
}

export function stamp(millis) {
  const two = (number) => String(number).padStart(2, "0");
  const date = new Date(millis);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Tells something that ended well; to screen readers alone where the page shows it anyway. */
export function say(text, shown = true) {
  const said = document.getElementById("said");
  said.className = shown ? "" : "unseen";
  document.getElementById("failed").replaceChildren();
  said.replaceChildren(text);
}

/** Tells of a failure. */
export function fail(error) {
  if (error.name === "AbortError") return;
  document.getElementById("said").replaceChildren();
  document.getElementById("failed").replaceChildren(
    el("span", {}, error.message),
    el("button", { type: "button", click: (event) => event.target.parentElement.replaceChildren() }, "Dismiss"));
}

/** Asks before something is deleted. */
export function ask(question, yes) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-what").replaceChildren(question);
  document.getElementById("ask-yes").replaceChildren(yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

/** A button that shows that its work is under way, and tells of failures. */
export function button(text, work, attributes = {}) {
  return el("button", {
    type: "button",
    ...attributes,
    click: async (event) => {
      const pressed = event.currentTarget;
      pressed.disabled = true;
      try {
        await work();
      } catch (error) {
        fail(error);
      } finally {
        pressed.disabled = false;
      }
    },
  }, text);
}
