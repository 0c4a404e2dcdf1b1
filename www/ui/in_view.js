// @ts-check
/** After the reader has moved for so long without pause. */
const REST_MS = 200;

/**
 * Tells which layers' rows the reader looks at, after scrolling, filtering or turning: they are wanted first.
 * @param {HTMLElement} element holds rows with `data-layer`
 * @param {(layers: number[]) => void} tell
 */
export function inView(element, tell) {
  let timer = 0;
  let told = "";
  const look = () => {
    timer = 0;
    const all = element.getBoundingClientRect();
    if (all.bottom <= 0 || all.top >= innerHeight) return; // to ask for the place of each would lay them out
    const layers = new Set();
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("tr[data-layer]"))) {
      const box = row.closest(".box")?.getBoundingClientRect();
      const { top, bottom } = row.getBoundingClientRect();
      if (box && bottom > Math.max(box.top, 0) && top < Math.min(box.bottom, innerHeight)) layers.add(Number(row.dataset.layer));
    }
    const now = [...layers].join();
    if (now === told || now === "") return;
    told = now;
    tell([...layers]);
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, REST_MS);
  };
  // scrolling does not bubble: heard on its way down, from the table's box and from the page
  addEventListener("scroll", soon, { capture: true, passive: true });
  element.addEventListener("input", soon);
  return {
    /** Another run: what is in view is news again. */
    begin() {
      told = "";
      soon();
    },
  };
}
