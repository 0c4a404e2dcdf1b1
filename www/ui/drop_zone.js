// @ts-check
import { filesOfDrop, filesOfInput } from "../files.js";
import { events, make } from "./dom.js";

/**
 * Where a model comes in: dropped anywhere on the page, or picked. Tells "files" with a function that gives them,
 * and "demo".
 */
export function dropZone() {
  const { on, tell } = events();
  const input = (/** @type {boolean} */ folder) => {
    const field = make("input", {
      type: "file",
      multiple: true,
      hidden: true,
      tabIndex: -1,
      "aria-label": folder ? "Folder of a model" : "Files of a model",
      onchange: () => {
        const found = filesOfInput(field.files ?? new DataTransfer().files);
        if (found.length) tell("files", () => found);
        field.value = ""; // so that the same file can be picked again
      },
    });
    if (folder) field.webkitdirectory = true;
    return field;
  };
  const files = input(false);
  files.id = "pick-files-input";
  const folder = input(true);
  folder.id = "pick-folder-input";
  const buttons = [
    make("button", { type: "button", id: "pick-files", className: "primary", onclick: () => files.click() }, "Choose files"),
    make("button", { type: "button", id: "pick-folder", onclick: () => folder.click() }, "Choose a folder"),
    make("button", { type: "button", id: "try-demo", onclick: () => tell("demo") }, "Try the demo"),
  ];
  const element = make(
    "div",
    { id: "drop-zone", className: "drop-zone" },
    make("div", { className: "drop-words" },
      make("p", { className: "drop-title" }, "Drop a model here"),
      make("p", { className: "drop-hint" }, "one model file (.safetensors, .gguf, .pth, .npz), all its shards, or the folder they are in")),
    make("div", { className: "buttons" }, ...buttons),
    files,
    folder,
  );

  let depth = 0; // dragenter and dragleave come in pairs, once for every element passed
  const light = () => element.classList.toggle("over", depth > 0);
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    light();
  });
  addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    light();
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
    tell("files", () => dropped);
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
