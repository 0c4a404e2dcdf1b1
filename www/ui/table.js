// @ts-check
/** What the two result tables share. @import { Column } from "./terms.js" */
import { make } from "./dom.js";

/** @param {Column<any>[]} columns */
export function headings(columns) {
  return make("thead", {}, make("tr", {}, ...columns.map(({ heading, means, kind }) => make("th", { scope: "col", className: kind ?? "number", title: means }, heading))));
}

/**
 * The meanings of the columns as a list, for those who can't hover.
 * @param {string} title
 * @param {Column<any>[]} columns
 */
export function terms(title, columns) {
  return make("details", { className: "terms" }, make("summary", {}, title), make("dl", {}, ...columns.flatMap(({ heading, means, source }) => [make("dt", {}, heading), make("dd", {}, means, source ? make("span", {}, " Source: ", make("a", { href: source[1] }, source[0]), ".") : null)])));
}
