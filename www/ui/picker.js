// @ts-check
import { filesOfInput } from "../files.js";
import { events, make } from "./dom.js";

/**
 * The buttons that choose files or a folder. Tells "files" with a function that gives them.
 * @param {string} id before the ids of buttons and fields, "" for the first model
 * @param {string} whose what the files are of, for a screen reader
 */
export function picker(id, whose) {
  const { on, tell } = events();
  const field = (/** @type {string} */ kind, /** @type {string} */ words) => {
    const input = make("input", {
      type: "file",
      id: `${id}pick-${kind}-input`,
      multiple: true,
      hidden: true,
      tabIndex: -1,
      "aria-label": words,
      onchange: () => {
        const found = filesOfInput(input.files ?? new DataTransfer().files);
        if (found.length) tell("files", () => found);
        input.value = ""; // so that the same file can be picked again
      },
    });
    return input;
  };
  const files = field("files", `Files of ${whose}`);
  const folder = field("folder", `Folder of ${whose}`);
  folder.webkitdirectory = true;
  const buttons = [
    make("button", { type: "button", id: `${id}pick-files`, onclick: () => files.click() }, "Choose files"),
    make("button", { type: "button", id: `${id}pick-folder`, onclick: () => folder.click() }, "Choose a folder"),
  ];
  return { on, buttons, fields: [files, folder] };
}
