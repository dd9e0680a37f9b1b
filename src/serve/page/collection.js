// One collection: figures, charts, records, versions, upkeep.

import { call, own, place } from "./api.js";
import { bars, steps } from "./charts.js";
import { ask, button, bytes, count, counted, dollars, el, factor, fail, figures, named, say, table, time } from "./dom.js";
import { records } from "./records.js";

const EVERY = 15_000;

export async function showCollection(main, signal, id) {
  const read = () => Promise.all([
    call("GET", own(id, "status"), undefined, signal),
    call("GET", own(id, "versions?limit=40"), undefined, signal),
  ]);
  let [status, versions] = await read();
  const state = el("div", {});
  const swept = el("div", { "aria-live": "polite" });
  const refresh = async () => {
    [status, versions] = await read();
    draw();
  };
  const live = el("input", { type: "checkbox", id: "live", checked: true });
  const ticking = setInterval(() => {
    if (live.checked && !document.hidden) refresh().catch(fail);
  }, EVERY);
  signal.addEventListener("abort", () => clearInterval(ticking));

  const draw = () => {
    const open = new Set([...state.querySelectorAll("details[open]")].map((part) => part.id));
    state.replaceChildren(summary(status), charts(status, versions), shards(status), history(versions));
    for (const id of open) state.querySelector(`#${id}`)?.setAttribute("open", "");
    pins.replaceChildren(pinList(id, status, refresh));
  };
  const pins = el("div", {});
  const panel = records(id, moments(status, versions), signal);
  const empty = status.dimension == null;
  main.replaceChildren(
    el("div", { class: "title" },
      el("h1", {}, named(status.name)),
      el("p", {}, el("code", {}, named(status.collection))),
      el("label", { class: "live" }, live, ` Refresh every ${EVERY / 1000} s`)),
    state,
    panel.panel,
    empty ? "" : upkeep(id, refresh, swept, pins));
  draw();
  await panel.search();
}

/** The states that can be read: the latest, pins, and versions where one number names them. */
function moments(status, versions) {
  const pins = new Set(status.shards.flatMap((shard) => shard.pins.map((pin) => pin.name)));
  const all = [["Latest", ""]];
  for (const pin of pins) all.push([`Pin ${pin}`, `?pin=${encodeURIComponent(pin)}`]);
  if (status.shards.length === 1) {
    for (const version of versions.versions.toReversed()) all.push([`Version ${version.version}`, `?version=${version.version}`]);
  }
  return all;
}

function summary(status) {
  const damage = status.shards.flatMap((shard) => shard.damage);
  const facts = figures([
    ["Records", count(status.records)],
    ["Dimension", count(status.dimension), status.metric],
    ["Shards", count(status.shards.length)],
    ["Log lag", counted(status.lag_segments, "segment"), bytes(status.lag_bytes)],
    ["Stored", bytes(status.snapshot_bytes + status.lag_bytes)],
    ["Write amplification", factor(status.write_amplification), "of readable versions"],
    ["Requests", count(status.requests.calls), "since this server opened it"],
    ["Cost of them", dollars(status.requests.dollars), "in S3"],
  ]);
  if (!damage.length) return facts;
  return el("div", {}, facts, el("div", { class: "bad", role: "alert" },
    el("h2", {}, "Damage"),
    el("ul", {}, damage.map((found) => el("li", {}, el("code", {}, named(found.object)), `: ${found.problem}`)))));
}

function charts(status, versions) {
  const samples = versions.samples;
  const written = versions.versions.filter((version) => version.edit === "fold" || version.edit === "merge");
  const sum = written.reduce((sum, version) => sum + version.bytes_out, 0);
  return el("section", { class: "charts", "aria-label": "Over time" },
    el("p", {}, "Lag and versions are those that this server saw since it opened the collection; bytes are the store's."),
    steps("Log lag", (lag) => counted(lag, "segment"), samples.map(({ at, lag }) => ({ at, value: lag }))),
    steps("Versions", (version) => `${count(version)} ${status.shards.length > 1 ? "in all shards" : "published"}`, samples.map(({ at, version }) => ({ at, value: version }))),
    bars("Bytes written", written, `${bytes(sum)} by ${counted(written.filter((one) => one.edit === "fold").length, "fold")}, ${counted(written.filter((one) => one.edit === "merge").length, "merge")}`));
}

function shards(status) {
  if (!status.shards.length) return el("p", {}, "Nothing was written to this collection yet.");
  const columns = ["Shard", ">Version", "Published", ">Waiting", ">Waiting bytes", ">Ops folded", ">Runs", ">Rows", ">Embeddings", ">Live", ">Dropped objects"];
  const rows = status.shards.map((shard) => [
    count(shard.shard),
    count(shard.version),
    time(shard.published),
    count(shard.unfolded_segments),
    bytes(shard.unfolded_bytes),
    count(shard.ops),
    count(shard.runs.length),
    count(shard.runs.reduce((sum, run) => sum + run.rows, 0)),
    bytes(shard.embedding_bytes),
    shard.embedding_rows ? `${Math.round((100 * shard.live_embedding_rows) / shard.embedding_rows)} %` : "–",
    count(shard.dropped_objects),
  ]);
  return el("details", { id: "shards" }, el("summary", {}, `Shards: ${count(status.shards.length)}`), table("State of each shard", columns, rows));
}

function history(versions) {
  const columns = ["Version", ">Shard", "Published", "Edit", ">In", ">Out", ">Read", ">Written", ">Runs", ">Rows"];
  const rows = versions.versions.toReversed().map((version) => [
    count(version.version),
    count(version.shard),
    time(version.published),
    version.edit,
    count(version.rows_in),
    count(version.rows_out),
    bytes(version.bytes_in),
    bytes(version.bytes_out),
    count(version.runs),
    count(version.rows),
  ]);
  return el("details", { id: "history" },
    el("summary", {}, `Readable versions: ${count(rows.length)}`),
    rows.length ? table("Newest first", columns, rows) : el("p", {}, "Compaction makes the first version."));
}

function upkeep(id, refresh, swept, pins) {
  const section = el("section", { "aria-labelledby": "upkeep" }, el("h2", { id: "upkeep" }, "Upkeep"));
  const preview = async () => {
    const report = await call("GET", own(id, "sweep"));
    swept.replaceChildren(sweepTable(report));
    if (!place.readOnly && report.segments + report.manifests + report.parts > 0) {
      swept.append(button("Delete these objects", async () => {
        if (!await ask(`Delete ${counted(report.segments + report.manifests + report.parts, "object")}? Older versions that need them are not readable any more.`, "Delete")) return;
        const done = await call("POST", own(id, "sweep"), {});
        swept.replaceChildren(sweepTable(done));
        say(`The sweep deleted ${counted(done.segments + done.manifests + done.parts, "object")}`);
        await refresh();
      }, { class: "danger" }));
    }
    say("The preview of the sweep is shown", false);
  };
  const look = button("See what a sweep would delete", preview);
  if (place.readOnly) {
    section.append(el("p", {}, "The token may only read, so compaction and pins are not offered."), look, swept, pins);
    return section;
  }
  const compact = button("Compact now", async () => {
    say("Compaction is running");
    const done = await call("POST", own(id, "compact"), {});
    say(done.events.length
      ? `Compaction published ${counted(done.folds, "fold")} and ${counted(done.merges, "merge")}, and wrote ${bytes(done.bytes_out)}`
      : "Nothing to do: no segment waits and no merge is due");
    await refresh();
  });
  const name = el("input", { id: "pin-name", name: "pin", required: true, maxlength: 128, autocomplete: "off" });
  const hours = el("input", { id: "pin-hours", name: "hours", type: "number", min: "0.01", step: "any", size: 6, placeholder: "for good" });
  const form = el("form", {
    class: "search",
    submit: async (event) => {
      event.preventDefault();
      try {
        const ttl = hours.value ? Number(hours.value) * 3600 : null;
        await call("POST", own(id, "pins"), { name: name.value, ttl_seconds: ttl });
        say(`Pin ${name.value} keeps the current version`);
        name.value = "";
        await refresh();
      } catch (error) {
        fail(error);
      }
    },
  },
  el("label", {}, "Name of a pin ", name),
  el("label", {}, "Hours ", hours),
  el("button", { type: "submit" }, "Pin the current version"));
  section.append(el("p", { class: "buttons" }, compact, look), swept, form, pins);
  return section;
}

function sweepTable(report) {
  const rows = report.shards.map((shard) => [
    count(shard.shard),
    count(shard.segments),
    count(shard.manifests),
    count(shard.parts),
    bytes(shard.bytes),
    count(shard.sweep_floor),
    count(shard.truncated),
    shard.expired_pins.join(", "),
  ]);
  const caption = report.dry_run ? "A sweep would delete" : "The sweep deleted";
  return table(caption, ["Shard", ">Segments", ">Manifests", ">Parts", ">Bytes", ">Versions from", ">Log from", "Expired pins"], rows);
}

function pinList(id, status, refresh) {
  const pins = new Map();
  for (const shard of status.shards) {
    for (const pin of shard.pins) pins.set(pin.name, { ...pin, versions: [...(pins.get(pin.name)?.versions ?? []), pin.version] });
  }
  if (!pins.size) return el("p", {}, "No version is pinned.");
  const remove = (pin) => place.readOnly ? "" : button("Remove", async () => {
    if (!await ask(`Remove pin ${pin.name}? A sweep may then delete the version that it keeps.`, "Remove")) return;
    await call("DELETE", own(id, `pins/${encodeURIComponent(pin.name)}`));
    say(`Pin ${pin.name} is removed`);
    await refresh();
  }, { "aria-label": `Remove pin ${pin.name}` });
  return table("Pins", ["Pin", "Versions", "Since", "Until", ""], [...pins.values()].map((pin) =>
    [named(pin.name), pin.versions.join(", "), time(pin.created), pin.expires ? time(pin.expires) : "removed", remove(pin)]));
}
