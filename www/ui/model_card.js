// @ts-check
/** @import { Head } from "../types.js" */
import { make, shown } from "./dom.js";
import { nameOf } from "./model_name.js";
import { bytes, count, shape, short, whole } from "./numbers.js";

/** What the header says, before anything is computed: the files, the tensors to analyse, the others and why not. */
export function modelCard() {
  const name = make("h2", { tabIndex: -1, id: "model-name" });
  const facts = make("p", { className: "facts", id: "model-facts" });
  const files = make("ul", { className: "files" });
  const analysed = list("analysed");
  const skipped = list("skipped");
  const element = make("div", { className: "model" }, name, facts, files, make("div", { className: "pair" }, analysed.element, skipped.element));

  return {
    element,
    on() {},
    /** @param {{head: Head, ignored: number}} opened */
    show({ head, ignored }) {
      const { model, layers, skipped: others } = head;
      name.textContent = nameOf(model);
      facts.textContent = [
        model.format,
        bytes(model.bytes),
        count(model.tensors, "tensor"),
        `${short(model.parameters)} parameters`,
        ignored ? `${count(ignored, "other file")} ignored` : "",
      ].filter(Boolean).join(" · ");
      files.replaceChildren(...(model.files.length > 1 ? model.files.map((file) => make("li", {}, shown(file.name), make("span", { className: "quiet" }, ` ${bytes(file.size)}`))) : []));
      const uncounted = layers.filter((layer) => !layer.counted).length;
      analysed.show(
        `${count(layers.length, "tensor")} to analyse`,
        uncounted ? `${whole(uncounted)} of them an embedding: analysed, but neither quantized nor counted in the comparison` : "",
        ["Tensor", "Shape", "Eigenvalues"],
        layers.map((layer) => [shown(layer.name), `${shape(layer.shape)} ${layer.dtype}`, whole(layer.num_evals)]),
      );
      skipped.show(
        `${count(others.length, "tensor")} skipped`,
        "",
        ["Tensor", "Shape", "Reason"],
        others.map((tensor) => [shown(tensor.name), `${shape(tensor.shape)} ${tensor.dtype}`, tensor.reason]),
      );
    },
    focus() {
      name.focus({ preventScroll: true });
    },
  };
}

/** A table that scrolls in its own box, folded under its heading: what comes next is seen at once. @param {string} id */
function list(id) {
  const heading = make("h3", { id: `${id}-heading` });
  const note = make("p", { className: "quiet note" });
  const box = make("div", { className: "box short", tabIndex: 0, role: "region", id: `${id}-list`, "aria-labelledby": `${id}-heading` });
  return {
    element: make("details", { className: "tensors" }, make("summary", {}, heading), note, box),
    /** @param {string} title @param {string} remark @param {string[]} headings @param {string[][]} rows */
    show(title, remark, headings, rows) {
      heading.textContent = title;
      note.textContent = remark;
      note.hidden = remark === "";
      box.hidden = rows.length === 0;
      box.scrollTop = 0;
      box.replaceChildren(
        make(
          "table",
          { className: "plain" },
          make("thead", {}, make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)))),
          make("tbody", {}, ...rows.map(([first, ...rest]) => make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((text) => make("td", {}, text))))),
        ),
      );
    },
  };
}
