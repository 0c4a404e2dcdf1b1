// @ts-check
/** A long table of which only the rows in view are in the page. */
import { make } from "./dom.js";

/** Up to so many rows all are in the page, where the browser's own search finds them. */
const WHOLE = 400;
/** Rows made beyond each edge of the view. */
const MARGIN = 24;

/**
 * Rows of a windowed table are all of one height: the class `windowed` makes them so.
 * @param {HTMLElement} box what scrolls
 * @param {HTMLTableElement} table
 * @param {HTMLTableSectionElement} body
 * @param {(i: number) => HTMLTableRowElement} line makes a row
 */
export function rowWindow(box, table, body, line) {
  let length = 0;
  let height = 0;
  let asked = 0;
  /** @type {[number, number]} */
  let range = [0, 0];
  /** The rows in the page. @type {Map<number, HTMLTableRowElement>} */
  const rows = new Map();
  const above = spacer();
  const below = spacer();

  function look() {
    asked = 0;
    if (length <= WHOLE) return;
    height ||= rows.get(range[0])?.getBoundingClientRect().height ?? 0;
    if (height === 0) return; // not in sight
    const first = Math.min(Math.floor(box.scrollTop / height), length - 1);
    const last = Math.min(first + Math.ceil(box.clientHeight / height) + 1, length);
    if (first < range[0] || last > range[1]) place(Math.max(0, first - MARGIN), Math.min(length, last + MARGIN));
    above.style.height = `${range[0] * height}px`;
    below.style.height = `${(length - range[1]) * height}px`;
  }

  /** Rows that stay are not touched, so that focus and selection survive. @param {number} from @param {number} to */
  function place(from, to) {
    for (const [i, row] of rows) {
      if (i >= from && i < to) continue;
      row.remove();
      rows.delete(i);
    }
    let next = below;
    for (let i = to - 1; i >= from; i -= 1) {
      let row = rows.get(i);
      if (!row) {
        row = line(i);
        row.setAttribute("aria-rowindex", String(i + 2)); // the head is the first
        next.before(row);
        rows.set(i, row);
      }
      next = row;
    }
    range = [from, to];
  }

  box.addEventListener("scroll", () => (asked ||= requestAnimationFrame(look)), { passive: true });
  new ResizeObserver(() => {
    height = 0;
    look();
  }).observe(box);

  return {
    /** Starts anew. @param {number} count of rows */
    begin(count) {
      length = count;
      const whole = count <= WHOLE;
      rows.clear();
      table.classList.toggle("windowed", !whole);
      table.setAttribute("aria-rowcount", String(count + 1));
      above.style.height = below.style.height = "0";
      body.replaceChildren(above, below);
      place(0, whole ? count : 2 * MARGIN);
      if (whole) [above, below].forEach((each) => each.remove());
      else asked ||= requestAnimationFrame(look); // now it would lay out the whole page in the middle of this task
    },
    /** The row, if it is in the page. @param {number} i */
    row(i) {
      return rows.get(i);
    },
  };
}

/** Stands for the rows that aren't there. */
function spacer() {
  return make("tr", { className: "spacer", "aria-hidden": "true" });
}
