// @ts-check
/** @import { Head } from "../types.js" */
import { shown } from "./dom.js";
import { count } from "./numbers.js";

/** How a model is called: its file, or its number of shards. @param {Head["model"]} model */
export function nameOf({ files }) {
  const weights = files.filter(({ name }) => !name.endsWith(".index.json") && name !== "config.json");
  return weights.length === 1 ? shown(weights[0].name) : count(weights.length, "shard");
}
