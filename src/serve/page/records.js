// Records of a collection: browse, search by text or filter, and find more like one.

import { call, own } from "./api.js";
import { bytes, button, count, el, fail, named } from "./dom.js";

const PAGE = 25;
const SHOWN = 600;

/** The panel of records. `moments` are the states to read: texts, and their query strings. */
export function records(id, moments, signal) {
  const text = el("input", { id: "text", name: "text", type: "search", autocomplete: "off" });
  const filter = el("input", {
    id: "filter", name: "filter", autocomplete: "off", spellcheck: "false", "aria-describedby": "filter-help",
    placeholder: '{"year": {"$gte": 2021}}',
  });
  const moment = el("select", { id: "moment", name: "moment" },
    moments.map(([label, query]) => el("option", { value: query }, label)));
  const told = el("p", { id: "found", role: "status", "aria-live": "polite" });
  const list = el("ol", { class: "records", "aria-labelledby": "records-title" });
  const pager = el("p", { class: "pager" });
  const at = (rest) => own(id, rest) + moment.value;

  const wanted = () => {
    filter.removeAttribute("aria-invalid");
    const body = {};
    if (filter.value.trim()) {
      try {
        body.where = JSON.parse(filter.value);
      } catch (error) {
        filter.setAttribute("aria-invalid", "true");
        filter.focus();
        throw new Error(`The filter is not JSON: ${error.message}`);
      }
    }
    if (text.value) body.where_document = { $contains: text.value };
    return body;
  };

  const draw = (found, told_, distances) => {
    told.replaceChildren(told_);
    list.replaceChildren(...found.ids.map((record, at) =>
      item(record, found.documents?.[at], found.metadatas?.[at], distances?.[at], like)));
  };

  const browse = async (offset) => {
    const body = { ...wanted(), limit: PAGE + 1, offset, include: ["documents", "metadatas"] };
    const all = body.where || body.where_document ? null : await call("GET", at("count"), undefined, signal);
    const found = await call("POST", at("get"), body, signal);
    const more = found.ids.length > PAGE;
    found.ids = found.ids.slice(0, PAGE);
    const range = found.ids.length ? `${count(offset + 1)} to ${count(offset + found.ids.length)}` : "none";
    const of = all == null ? (more ? " of more that match" : " of those that match") : ` of ${count(all)}`;
    draw(found, found.ids.length ? `Records ${range}${of}` : all === 0 ? "The collection is empty" : "No record matches");
    pager.replaceChildren();
    if (offset > 0) pager.append(button("Previous", () => browse(Math.max(0, offset - PAGE))));
    if (more) pager.append(button("Next", () => browse(offset + PAGE)));
  };

  const like = async (record) => {
    const whole = await call("POST", at("get"), { ids: [record], include: ["embeddings"] }, signal);
    if (!whole.ids.length || !whole.embeddings[0].length) throw new Error("The record is gone, or has no embedding.");
    const query = { ...wanted(), query_embeddings: whole.embeddings, n_results: PAGE + 1, include: ["documents", "metadatas", "distances"] };
    const answer = await call("POST", at("query"), query, signal);
    const keep = answer.ids[0].map((found, at) => at).filter((at) => answer.ids[0][at] !== record).slice(0, PAGE);
    const pick = (lists) => keep.map((at) => lists[0][at]);
    const found = { ids: pick(answer.ids), documents: pick(answer.documents), metadatas: pick(answer.metadatas) };
    draw(found, el("span", {}, `${count(keep.length)} nearest to `, named(record)), pick(answer.distances));
    pager.replaceChildren(button("Back to the list", () => browse(0)));
    told.scrollIntoView({ block: "nearest" });
  };

  const search = (event) => {
    event?.preventDefault();
    return browse(0).catch(fail);
  };
  const clear = () => {
    text.value = "";
    filter.value = "";
    return search();
  };
  moment.addEventListener("change", search);
  const panel = el("section", { "aria-labelledby": "records-title" },
    el("h2", { id: "records-title" }, "Records"),
    el("form", { class: "search", role: "search", submit: search },
      el("label", {}, "Text in the document ", text),
      el("label", {}, "Filter ", filter),
      el("label", {}, "State ", moment),
      el("span", { class: "buttons" },
        el("button", { type: "submit" }, "Search"),
        el("button", { type: "button", click: clear }, "Clear")),
      el("small", { id: "filter-help" }, "A filter is JSON as in Chroma's ", el("code", {}, "where"), ".")),
    told, list, pager);
  return { panel, search };
}

/** A record. Long documents are cut; the rest opens. */
function item(id, document, metadata, distance, like) {
  const body = el("div", { class: "record" },
    el("h3", {}, named(id), distance == null ? null : el("small", {}, ` distance ${distance.toPrecision(4)}`)));
  if (document != null) {
    body.append(el("p", { class: "document", dir: "auto" }, document.slice(0, SHOWN)));
    if (document.length > SHOWN) {
      body.append(el("details", {},
        el("summary", {}, `The rest of ${bytes(new TextEncoder().encode(document).length)}`),
        el("p", { class: "document", dir: "auto" }, document.slice(SHOWN))));
    }
  }
  const pairs = Object.entries(metadata ?? {});
  if (pairs.length) {
    body.append(el("dl", { class: "metadata" }, pairs.map(([key, value]) =>
      el("div", {}, el("dt", {}, named(key)), el("dd", {}, named(typeof value === "string" ? value : JSON.stringify(value)))))));
  }
  const more = button("More like this", () => like(id), { "aria-label": `More like ${id}` });
  return el("li", {}, body, more);
}
