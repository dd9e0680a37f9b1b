// Charts of one value over time, as steps: a value holds until the next one.

import { count, el, stamp, svg } from "./dom.js";

const [WIDTH, HEIGHT, BOTTOM, LEFT] = [360, 96, 16, 4];

/** A figure of points `{ at, value }`, oldest first. */
export function steps(title, told, points) {
  const caption = el("figcaption", {}, el("strong", {}, title));
  if (points.length < 2) {
    const now = points.length ? `${told(points[0].value)}; ` : "";
    caption.append(` ${now}the chart needs two readings`);
    return el("figure", { class: "chart" }, caption);
  }
  const [first, last] = [points[0], points[points.length - 1]];
  const values = points.map((point) => point.value);
  const [low, high] = [Math.min(0, ...values), Math.max(1, ...values)];
  const x = (at) => LEFT + ((at - first.at) / Math.max(1, last.at - first.at)) * (WIDTH - 2 * LEFT);
  const y = (value) => 6 + (1 - (value - low) / (high - low)) * (HEIGHT - BOTTOM - 6);
  let path = `M${x(first.at).toFixed(1)} ${y(first.value).toFixed(1)}`;
  for (const point of points.slice(1)) path += `H${x(point.at).toFixed(1)}V${y(point.value).toFixed(1)}`;
  const area = `${path}V${y(low).toFixed(1)}H${x(first.at).toFixed(1)}Z`;
  const highest = Math.max(...values);
  caption.append(` now ${told(last.value)}, highest ${count(highest)}`);
  const label = `${title}: from ${stamp(first.at)} to ${stamp(last.at)}, now ${told(last.value)}, highest ${highest}`;
  const day = (at) => (new Date(at).toDateString() === new Date().toDateString() ? stamp(at).slice(11) : stamp(at).slice(5, 16));
  return el("figure", { class: "chart" }, caption,
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      svg("line", { class: "axis", x1: LEFT, x2: WIDTH - LEFT, y1: y(low), y2: y(low) }),
      svg("line", { class: "rule", x1: LEFT, x2: WIDTH - LEFT, y1: y(high), y2: y(high) }),
      svg("path", { class: "area", d: area }),
      svg("path", { class: "line", d: path }),
      svg("text", { x: LEFT, y: HEIGHT - 2 }, day(first.at)),
      svg("text", { x: WIDTH - LEFT, y: HEIGHT - 2, "text-anchor": "end" }, day(last.at))));
}

/** Bars of bytes, one for each version, by edit. */
export function bars(title, versions, told) {
  const shown = versions.slice(-40);
  if (!shown.length) return null;
  const high = Math.max(1, ...shown.map((version) => version.bytes_out));
  const width = (WIDTH - 2 * LEFT) / Math.max(8, shown.length);
  const height = (version) => Math.max(1, (version.bytes_out / high) * (HEIGHT - BOTTOM - 6));
  return el("figure", { class: "chart" },
    el("figcaption", {}, el("strong", {}, title), ` ${told}`),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${told}` },
      svg("line", { class: "axis", x1: LEFT, x2: WIDTH - LEFT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
      shown.map((version, at) => svg("rect", {
        class: `bar ${version.edit}`,
        x: LEFT + at * width,
        y: HEIGHT - BOTTOM - height(version),
        width: Math.max(1, width - 2),
        height: height(version),
      }, svg("title", {}, `version ${version.version}, ${version.edit}`))),
      svg("text", { x: LEFT, y: HEIGHT - 2 }, `version ${shown[0].version}`),
      svg("text", { x: WIDTH - LEFT, y: HEIGHT - 2, "text-anchor": "end" }, `${shown[shown.length - 1].version}`)));
}
