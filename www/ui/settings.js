// @ts-check
/** @import { Options } from "../types.js" */
import { make } from "./dom.js";

const KNOWN = ["fp16", "8bit", "7bit", "6bit", "5bit", "4bit", "3bit", "2bit"];

/** Which levels to compare and how. The defaults come from the engine: `fill` sets them. */
export function settings() {
  const boxes = KNOWN.map((name) => make("input", { type: "checkbox", value: name, id: `level-${name}` }));
  const others = make("input", { type: "text", id: "other-levels", size: 18, spellcheck: false, autocomplete: "off", "aria-describedby": "other-levels-hint" });
  const dequantize = choice("dequantize", [
    ["exact", "Exact: float32 codes × scale"],
    ["stored", "Stored: then rounded to the tensor's dtype"],
    ["seed", "Seed: half precision throughout, as in the study"],
  ]);
  const compat = choice("compat", [
    ["none", "None: a failed fit is no value"],
    ["weightwatcher", "WeightWatcher: report and average what it does"],
    ["seed", "Seed: WeightWatcher's, with the study's arithmetic"],
  ]);
  const svd = make("input", { type: "checkbox", id: "svd" });
  const layers = make("input", { type: "text", id: "layers", spellcheck: false, autocomplete: "off", placeholder: "all", "aria-describedby": "layers-hint" });

  const element = make(
    "div",
    { className: "settings" },
    make(
      "fieldset",
      { className: "levels" },
      make("legend", {}, "Levels"),
      ...boxes.map((box, i) => make("label", { className: "chip" }, box, i === 0 ? "as stored" : KNOWN[i].replace("bit", " bit"))),
    ),
    make(
      "details",
      {},
      make("summary", {}, "More settings"),
      make(
        "div",
        { className: "fields" },
        field("Dequantize", dequantize),
        field("Compatibility", compat),
        field("Layers", layers, make("small", { id: "layers-hint" }, "Names to analyse, * stands for anything: *attention*, layers.0.*")),
        field("Other levels", others, make("small", { id: "other-levels-hint" }, "Names separated by commas")),
        make("label", { className: "check" }, svd, "True singular values for ranks and entropy (slower)"),
      ),
    ),
  );

  return {
    element,
    on() {},
    /** @param {Options} options */
    fill(options) {
      const names = options.quantizations.split(",").map((name) => name.trim()).filter(Boolean);
      for (const box of boxes) box.checked = names.includes(box.value);
      others.value = names.filter((name) => !KNOWN.includes(name)).join(", ");
      dequantize.value = options.dequantize;
      compat.value = options.compat;
      svd.checked = options.svd;
      layers.value = options.layers;
    },
    /** @returns {Options} */
    options() {
      const ticked = boxes.filter((box) => box.checked).map((box) => box.value);
      const extra = others.value.split(",").map((name) => name.trim()).filter(Boolean);
      return {
        quantizations: [...ticked, ...extra].join(","),
        dequantize: /** @type {Options["dequantize"]} */ (dequantize.value),
        compat: /** @type {Options["compat"]} */ (compat.value),
        svd: svd.checked,
        layers: layers.value.trim(),
      };
    },
  };
}

/** @param {string} id @param {[string, string][]} options */
function choice(id, options) {
  return make("select", { id }, ...options.map(([value, text]) => make("option", { value }, text)));
}

/** @param {string} label @param {HTMLElement} control @param {HTMLElement} [hint] */
function field(label, control, hint) {
  return make("div", { className: "field" }, make("label", { htmlFor: control.id }, label), control, hint);
}
