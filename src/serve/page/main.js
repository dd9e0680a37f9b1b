// The frame of the page: token, database, and the view that the address names.

import { call, keep, place, token } from "./api.js";
import { showCollection } from "./collection.js";
import { showCollections, showServer } from "./collections.js";
import { el, fail } from "./dom.js";

const main = document.getElementById("main");
const form = document.getElementById("place");
const leave = document.getElementById("leave");
const tenant = document.getElementById("tenant");
const database = document.getElementById("database");
let view = new AbortController();
let before = "";

/** Shows the view that the address names. */
async function show() {
  if (location.hash === "#main") {
    history.replaceState(null, "", before || "#/");
    // The browser has moved the focus there already. The next key may have moved it on.
    if (!main.contains(document.activeElement)) main.focus();
    return;
  }
  before = location.hash;
  view.abort();
  view = new AbortController();
  const { signal } = view;
  const [, section, id] = location.hash.split("/");
  for (const link of document.querySelectorAll("#sections a")) {
    const current = link.getAttribute("href") === `#/${section === "server" ? "server" : ""}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("failed").replaceChildren();
  document.getElementById("said").replaceChildren();
  main.setAttribute("aria-busy", "true");
  try {
    if (section === "collection" && id) await showCollection(main, signal, decodeURIComponent(id));
    else if (section === "server") await showServer(main, signal);
    else await showCollections(main, signal);
    document.title = `${main.querySelector("h1")?.textContent ?? "Deltafold"} – Deltafold`;
  } catch (error) {
    if (error.status === 401) await enter();
    else fail(error);
  } finally {
    if (view.signal === signal) main.removeAttribute("aria-busy");
  }
}

/** Asks for a token. */
function enter() {
  view.abort();
  form.hidden = true;
  const wrong = token() != null;
  keep(null);
  const input = el("input", { id: "token", type: "password", required: true, autocomplete: "off", "aria-describedby": "token-help" });
  main.replaceChildren(
    el("h1", {}, "This server asks for a token"),
    el("form", {
      class: "token",
      submit: (event) => {
        event.preventDefault();
        keep(input.value);
        start();
      },
    },
    el("label", { for: "token" }, "Token"),
    input,
    el("button", { type: "submit" }, "Enter"),
    el("p", { id: "token-help" }, wrong ? "The server does not know that token. " : "",
      "It stays in this tab until you close it.")));
  input.focus();
}

/** Learns the token's limits, then shows the view. */
async function start() {
  try {
    const server = await call("GET", "/api/deltafold/server");
    place.readOnly = server.read_only;
    place.tenant = sessionStorage.getItem("deltafold-tenant") ?? server.tenant;
    place.database = sessionStorage.getItem("deltafold-database") ?? server.database;
    tenant.value = place.tenant;
    await offer();
    form.hidden = false;
    leave.hidden = token() == null;
    await show();
  } catch (error) {
    if (error.status === 401) enter();
    else fail(error);
  }
}

/** Offers the databases of the tenant. */
async function offer() {
  let names = [place.database];
  try {
    const found = await call("GET", `/api/v2/tenants/${encodeURIComponent(place.tenant)}/databases`);
    names = found.map((one) => one.name);
  } catch (error) {
    // A token of one database may not list them.
    if (error.status !== 403) throw error;
  }
  if (!names.includes(place.database)) place.database = names[0] ?? place.database;
  database.replaceChildren(...names.map((name) => el("option", { value: name, selected: name === place.database }, name)));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const known = { ...place };
  try {
    const moved = place.tenant !== tenant.value;
    place.tenant = tenant.value;
    if (!moved) place.database = database.value;
    await offer();
    sessionStorage.setItem("deltafold-tenant", place.tenant);
    sessionStorage.setItem("deltafold-database", place.database);
    if (location.hash === "#/" || location.hash === "") await show();
    else location.hash = "#/";
  } catch (error) {
    Object.assign(place, known);
    tenant.value = place.tenant;
    fail(error);
  }
});
leave.addEventListener("click", () => {
  sessionStorage.clear();
  enter();
});
addEventListener("hashchange", show);
start();
