// The list of collections, and the state of the server.

import { call, collections, each, own } from "./api.js";
import { bytes, count, counted, dollars, el, factor, fail, figures, named, say, table, time } from "./dom.js";

const PAGE = 50;

/** The collections of the database. The state of each comes as soon as it is read. */
export async function showCollections(main, signal, offset = 0) {
  const list = await call("GET", `${collections()}?limit=${PAGE + 1}&offset=${offset}`, undefined, signal);
  const shown = list.slice(0, PAGE);
  const heading = el("h1", {}, "Collections");
  if (!list.length && offset === 0) {
    main.replaceChildren(heading, el("p", {},
      "There is no collection in this database yet. A client makes one, for example ",
      el("code", {}, "client.create_collection(\"articles\")"), "."));
    return;
  }
  const rows = new Map();
  const titles = ["Name", ">Records", ">Dimension", "Metric", ">Shards", ">Log lag", ">Versions", ">Stored", ">Written", ">Requests", ">Cost"];
  const link = (collection) =>
    el("a", { href: `#/collection/${encodeURIComponent(collection.id)}` }, named(collection.name));
  const drawn = table(`${shown.length} shown`, titles, shown.map((collection) =>
    [link(collection), "…", count(collection.dimension), ...Array(8).fill("")]));
  drawn.classList.add("wide");
  [...drawn.tBodies[0].rows].forEach((row, at) => rows.set(shown[at].id, row));
  const pager = el("p", { class: "pager" });
  const step = (text, to) => el("button", { type: "button", click: () => showCollections(main, signal, to).catch(fail) }, text);
  if (offset > 0) pager.append(step("Previous", Math.max(0, offset - PAGE)));
  if (list.length > PAGE) pager.append(step("Next", offset + PAGE));
  main.replaceChildren(heading, drawn, pager);
  await each(shown, async (collection) => {
    const cells = rows.get(collection.id).cells;
    try {
      const status = await call("GET", own(collection.id, "status"), undefined, signal);
      const damaged = status.shards.some((shard) => shard.damage.length);
      const values = [
        count(status.records),
        count(status.dimension),
        status.metric,
        count(status.shards.length),
        counted(status.lag_segments, "segment"),
        count(status.shards.reduce((sum, shard) => sum + shard.version, 0)),
        bytes(status.snapshot_bytes + status.lag_bytes),
        factor(status.write_amplification),
        count(status.requests.calls),
        dollars(status.requests.dollars),
      ];
      values.forEach((value, at) => cells[at + 1].replaceChildren(value));
      if (damaged) cells[0].append(el("strong", { class: "bad" }, " damaged"));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      cells[1].replaceChildren(el("span", { class: "bad" }, error.message));
    }
  });
  say(`${counted(shown.length, "collection")} shown`, false);
}

/** The load of the server, its requests, and recent errors. */
export async function showServer(main, signal) {
  const [server, errors] = await Promise.all([
    call("GET", "/api/deltafold/server", undefined, signal),
    call("GET", "/api/deltafold/errors", undefined, signal),
  ]);
  const { requests } = server;
  const kinds = Object.entries(requests.kinds).map(([kind, made]) =>
    [kind, count(made.calls), count(made.failed), bytes(made.bytes_in), bytes(made.bytes_out)]);
  main.replaceChildren(
    el("h1", {}, "Server"),
    figures([
      ["Version", server.version],
      ["Up", duration(server.uptime_seconds)],
      ["Answered", count(server.answered), `${count(server.refused)} refused, ${count(server.failed)} failed`],
      ["Mean time", `${(server.mean_seconds * 1000).toFixed(1)} ms`],
      ["Queries", count(server.queries_running), `${count(server.queries_waiting)} waiting`],
      ["Connections", count(server.connections)],
      ["Open collections", count(server.open_collections)],
      ["Compaction", server.compacts ? "on" : "off"],
    ]),
    el("section", { "aria-labelledby": "requests" },
      el("h2", { id: "requests" }, "Requests to the store"),
      figures([
        ["Requests", count(requests.calls)],
        ["Received", bytes(requests.bytes_in)],
        ["Sent", bytes(requests.bytes_out)],
        ["Cost", dollars(requests.dollars), `in S3, prices of ${requests.prices_of}`],
      ]),
      table("By kind, since the start", ["Kind", ">Calls", ">Failed", ">Received", ">Sent"], kinds)),
    el("section", { "aria-labelledby": "errors" },
      el("h2", { id: "errors" }, "Recent errors"),
      errors.length
        ? table("Newest first", ["When", ">Status", "Call", "Error", "Reason", "Request"], errors.map((error) =>
          [time(error.at), error.status ?? "", named(error.what), error.error, named(error.message), named(error.request ?? "")]))
        : el("p", {}, "No call was refused or failed since the start.")));
}

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
