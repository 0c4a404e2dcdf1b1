// @ts-check
/** @import { LayerInfo } from "../types.js" */
import { events, make } from "./dom.js";
import { count } from "./numbers.js";

/** With fewer blocks a preview saves little. */
const PREVIEW_BLOCKS = 6;
/** About so many blocks make a preview. */
const PREVIEWED = 4;
const BLOCKS = /^blocks=(\d+)(?:-(\d*))?(?:\/(\d+))?$/;

/** Which layers: by name, type and block, composed to the engine's list. Tells "change". */
export function layerChoice() {
  const { on, tell } = events();
  const changed = () => tell("change");
  const names = make("input", { type: "text", id: "layers", spellcheck: false, autocomplete: "off", placeholder: "all", "aria-describedby": "layers-hint", onchange: changed });
  const type = make("select", { id: "layer-type", onchange: changed }, make("option", { value: "" }, "all types"), make("option", { value: "-conv2d" }, "matrices only"), make("option", { value: "-dense" }, "convolutions only"));
  const number = (/** @type {string} */ id, /** @type {string} */ label, /** @type {string} */ placeholder) =>
    make("input", { type: "number", id, min: id === "block-step" ? "1" : "0", step: "1", placeholder, "aria-label": label, onchange: changed });
  const from = number("block-from", "First block", "first");
  const to = number("block-to", "Last block", "last");
  const step = number("block-step", "Every so many blocks", "1");
  const hint = make("small", { id: "blocks-hint" });
  const blocks = make("div", { className: "field" }, make("span", {}, "Blocks"), make("div", { className: "range" }, from, make("span", {}, "to"), to, make("span", {}, "every"), step), hint);
  const typeField = make("div", { className: "field" }, make("label", { htmlFor: "layer-type" }, "Types"), type);
  const element = make(
    "fieldset",
    { className: "layer-choice" },
    make("legend", {}, "Layers"),
    make(
      "div",
      { className: "fields" },
      make("div", { className: "field" }, make("label", { htmlFor: "layers" }, "Names"), names, make("small", { id: "layers-hint" }, "* stands for anything, commas separate, a - leaves out: *attn*, -lm_head")),
      blocks,
      typeField,
    ),
  );
  blocks.hidden = true;
  typeField.hidden = true;
  /** @type {number[]} the model's, ascending */
  let blocksThere = [];

  const whole = (/** @type {HTMLInputElement} */ field) => (/^\d+$/.test(field.value.trim()) ? Number(field.value) : null);

  return {
    element,
    on,
    /** @param {LayerInfo[]} layers */
    model(layers) {
      blocksThere = [...new Set(layers.flatMap(({ block }) => (block === null || block === undefined ? [] : [block])))].sort((a, b) => a - b);
      hint.textContent = blocksThere.length ? `${count(blocksThere.length, "block")}, ${blocksThere[0]} to ${blocksThere[blocksThere.length - 1]}` : "";
      blocks.hidden = blocksThere.length < 2;
      typeField.hidden = new Set(layers.map((layer) => layer.layer_type)).size < 2;
      if (blocks.hidden) for (const field of [from, to, step]) field.value = "";
      if (typeField.hidden) type.value = "";
    },
    /** @param {string} list */
    fill(list) {
      const items = list.split(",").map((item) => item.trim()).filter(Boolean);
      // What these fields can't say stays in the list of names.
      const range = items.filter((item) => BLOCKS.test(item)).length === 1 ? items.find((item) => BLOCKS.test(item)) : undefined;
      const [, first, end, every] = range?.match(BLOCKS) ?? [];
      from.value = first ?? "";
      to.value = end ?? (range && !range.includes("-") ? first ?? "" : "");
      step.value = every ?? "";
      const kind = items.find((item) => ["-conv2d", "-dense"].includes(item)) ?? "";
      type.value = kind;
      names.value = items.filter((item) => item !== range && item !== kind).join(", ");
    },
    /** The engine's list. @param {number} [previewed] every so many-th block in place of the chosen step */
    value(previewed) {
      const items = names.value.split(",").map((item) => item.trim()).filter(Boolean);
      const [first, end, every] = [whole(from), whole(to), previewed ?? whole(step)];
      if (first !== null || end !== null || (every ?? 1) > 1) items.push(`blocks=${first ?? 0}-${end ?? ""}${(every ?? 1) > 1 ? `/${every}` : ""}`);
      if (type.value) items.push(type.value);
      return items.join(",");
    },
    previewStep() {
      const chosen = blocksThere.filter((block) => block >= (whole(from) ?? 0) && block <= (whole(to) ?? Infinity)).length;
      return chosen >= PREVIEW_BLOCKS && (whole(step) ?? 1) === 1 && !names.value.includes("blocks=") ? Math.ceil(chosen / PREVIEWED) : 0;
    },
  };
}
