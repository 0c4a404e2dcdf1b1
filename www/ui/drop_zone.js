// @ts-check
import { filesOfDrop } from "../files.js";
import { events, make } from "./dom.js";
import { picker } from "./picker.js";

/**
 * Where a model comes in: dropped anywhere on the page, or picked. Tells "files" with a function that gives them; what was
 * dropped on a place with `data-drop` is told under that name; and "demo".
 */
export function dropZone() {
  const { on, tell } = events();
  const pick = picker("", "a model");
  pick.buttons[0].className = "primary";
  pick.on("files", (give) => tell("files", give));
  const buttons = [...pick.buttons, make("button", { type: "button", id: "try-demo", onclick: () => tell("demo") }, "Try the demo")];
  const element = make(
    "div",
    { id: "drop-zone", className: "drop-zone" },
    make("div", { className: "drop-words" },
      make("p", { className: "drop-title" }, "Drop a model here"),
      make("p", { className: "drop-hint" }, "one model file (.safetensors, .gguf, .pth, .npz), all its shards, or the folder they are in")),
    make("div", { className: "buttons" }, ...buttons),
    ...pick.fields,
  );

  let depth = 0; // dragenter and dragleave come in pairs, once for every element passed
  /** Places that take what is dropped on them for themselves have data-drop. @param {Event} event */
  const place = ({ target }) => (target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest("[data-drop]")) : null);
  const light = (/** @type {HTMLElement | null} */ at = null) => {
    element.classList.toggle("over", depth > 0 && !at);
    for (const other of document.querySelectorAll("[data-drop]")) other.classList.toggle("over", depth > 0 && other === at);
  };
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    light(place(event));
  });
  addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) light();
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault(); // or the browser opens the file in place of the page
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer || !carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    light();
    const dropped = filesOfDrop(event.dataTransfer);
    dropped.catch(() => {}); // whoever takes them hears of it
    tell(place(event)?.dataset.drop ?? "files", () => dropped);
  });

  return {
    element,
    on,
    /** @param {{busy: boolean, small: boolean}} state busy: nothing can be opened now; small: there is a model already */
    update({ busy, small }) {
      for (const button of buttons) button.disabled = busy;
      element.classList.toggle("small", small);
    },
  };
}
