// @ts-check
import { make } from "./dom.js";

/** Around a box that scrolls sideways: its right edge is shaded while there is more beyond it. @param {HTMLElement} box with what it holds */
export function edges(box) {
  const element = make("div", { className: "edges" }, box);
  const look = () => element.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 1);
  box.addEventListener("scroll", look, { passive: true });
  const sizes = new ResizeObserver(look);
  for (const each of [box, ...box.children]) sizes.observe(each);
  return element;
}
