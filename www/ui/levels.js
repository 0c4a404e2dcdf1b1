// @ts-check
/** @import { Scheme } from "../types.js" */
import { events, make } from "./dom.js";
import { count } from "./numbers.js";

/** Families of the engine's table, in the order of a reader's interest. */
const FAMILIES = [
  ["naive", "Naive: one scale for a tensor, as in the study"],
  ["gguf file", "GGUF files: which tensor gets which type"],
  ["gguf", "GGUF block types"],
  ["bitsandbytes", "bitsandbytes"],
  ["mlx", "MLX"],
  ["integer", "Integers by row or group"],
  ["fp8", "FP8"],
  ["mx", "OCP microscaling"],
  ["nvfp4", "NVFP4"],
  ["hqq", "HQQ: half-quadratic, without data"],
  ["gptq", "GPTQ's grid, rounded to nearest: a pessimistic bound"],
  ["awq", "AWQ's grid, rounded to nearest: a pessimistic bound"],
  ["float", "Casts"],
];
const BASELINE = "fp16";

/** Sets that answer a question at a press. */
const PRESETS = [
  ["The study's six", "fp16,8bit,6bit,5bit,4bit,2bit"],
  ["GGUF files", "fp16,q8_0-file,q6_k-file,q5_k_m,q4_k_m,q3_k_m,q2_k-file"],
  ["Four bits, seven ways", "fp16,4bit,int4-g128,q4_0,q4_k,nf4,mlx4-g64,hqq4-g64"],
  ["Eight bits, five ways", "fp16,8bit,llm.int8,q8_0,fp8-e4m3-row,mxfp8-e4m3-floor"],
];

/** Which schemes to compare: those chosen as chips, all others in a list with a search. Tells "change". */
export function levels() {
  const { on, tell } = events();
  /** @type {Scheme[]} */
  let schemes = [];
  /** @type {string[]} */
  let chosen = [];

  const chips = make("div", { className: "chips", id: "chosen-levels", role: "group", "aria-label": "Chosen levels" });
  const search = make("input", { type: "search", id: "scheme-search", placeholder: "q4_k_m, nf4, 4.5 bits …", spellcheck: false, autocomplete: "off", "aria-label": "Find a scheme", oninput: list });
  const all = make("input", { type: "checkbox", id: "all-schemes", onchange: list });
  const found = make("output", { className: "quiet", htmlFor: "scheme-search all-schemes", id: "scheme-count" });
  const groups = make("div", { className: "box schemes", tabIndex: 0, role: "region", "aria-label": "Schemes to choose from, scrolls" });
  const panel = make(
    "details",
    { id: "scheme-panel", ontoggle: list },
    make("summary", {}, "Add or remove levels"),
    make("div", { className: "filters" }, search, make("label", { className: "check" }, all, "also the rare ones"), found),
    groups,
  );
  const presets = make(
    "div",
    { className: "presets", role: "group", "aria-label": "Sets of levels" },
    ...PRESETS.map(([title, names]) => make("button", { type: "button", className: "plain-button", onclick: () => choose(names.split(",")) }, title)),
  );
  const element = make("fieldset", { className: "levels" }, make("legend", {}, "Levels to compare"), chips, presets, panel);

  /** @param {string[]} names */
  function choose(names) {
    chosen = [BASELINE, ...names.filter((name) => name !== BASELINE)];
    show();
    list();
    tell("change");
  }

  /** @param {string} name @param {boolean} wanted */
  function toggle(name, wanted) {
    choose(wanted ? [...chosen, name] : chosen.filter((other) => other !== name));
  }

  function show() {
    chips.replaceChildren(
      ...chosen.map((name) => {
        if (name === BASELINE) return make("span", { className: "chip fixed", title: "The baseline: the weights as they are stored" }, "as stored");
        const { bits, title } = about(name);
        return make("span", { className: "chip", title }, name, bits && make("small", {}, bits), make("button", { type: "button", "aria-label": `Remove ${name}`, onclick: () => remove(name) }, "×"));
      }),
    );
  }

  /** The focus goes to the next chip: the one under it is gone. @param {string} name */
  function remove(name) {
    const place = chosen.indexOf(name);
    toggle(name, false);
    const buttons = chips.querySelectorAll("button");
    (buttons[Math.min(place - 1, buttons.length - 1)] ?? panel.querySelector("summary"))?.focus();
  }

  /** @param {string} name */
  function about(name) {
    const scheme = schemes.find((scheme) => scheme.name === name);
    if (!scheme) return { bits: "", title: "" };
    return { bits: bits(scheme), title: [scheme.description, scheme.needs && `needs ${scheme.needs}`, scheme.label].filter(Boolean).join("; ") };
  }

  function list() {
    if (!panel.open) return;
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const shown = schemes.filter(
      (scheme) =>
        scheme.name !== BASELINE &&
        (scheme.common || all.checked || words.length > 0 || chosen.includes(scheme.name)) &&
        words.every((word) => `${scheme.name} ${scheme.family} ${scheme.bits_per_weight} bits ${scheme.description} ${scheme.label ?? ""}`.toLowerCase().includes(word)),
    );
    found.textContent = `${count(shown.length, "scheme")} of ${schemes.length - 1}`;
    groups.replaceChildren(
      ...FAMILIES.flatMap(([family, title]) => {
        const members = shown.filter((scheme) => scheme.family === family);
        if (members.length === 0) return [];
        return make("div", { className: "family", role: "group", "aria-label": title }, make("h4", {}, title), make("div", { className: "family-list" }, ...members.map(line)));
      }),
    );
  }

  /** @param {Scheme} scheme */
  function line(scheme) {
    const box = make("input", { type: "checkbox", value: scheme.name, checked: chosen.includes(scheme.name), onchange: () => keepingFocus(scheme.name, box.checked) });
    return make(
      "label",
      { className: "scheme", title: scheme.needs && `needs ${scheme.needs}` },
      box,
      make("span", { className: "scheme-name" }, scheme.name),
      make("span", { className: "scheme-bits" }, bits(scheme)),
      make("span", { className: "scheme-about" }, scheme.description, scheme.label ? ` (${scheme.label})` : ""),
    );
  }

  /** The list is built anew, the reader stays where he was. @param {string} name @param {boolean} wanted */
  function keepingFocus(name, wanted) {
    toggle(name, wanted);
    const again = Array.from(groups.querySelectorAll("input")).find((box) => box.value === name);
    again?.focus({ preventScroll: true });
  }

  return {
    element,
    on,
    /** @param {Scheme[]} table @param {string} quantizations */
    fill(table, quantizations) {
      schemes = table;
      chosen = [BASELINE, ...names(quantizations).filter((name) => name !== BASELINE)];
      show();
      list();
    },
    value: () => chosen.join(","),
  };
}

/** @param {string} text */
function names(text) {
  return [...new Set(text.split(",").map((name) => name.trim()).filter(Boolean))];
}

/** Bits of a weight in short: what depends on the shape is next to nothing, and is left to the table. @param {Scheme} scheme */
function bits({ bits_per_weight: text }) {
  const number = Number.parseFloat(text);
  if (Number.isNaN(number)) return text;
  return `${Number(number.toFixed(3))} bits`;
}
