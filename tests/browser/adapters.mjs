// Writes a model and the folder of an adapter to it: node adapters.mjs FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { matrix, safetensors } from "./safetensors.mjs";

const RANK = 12;
const NAMES = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"];

export const ADAPTER = ["adapter_model.safetensors", "adapter_config.json"];

/** @param {string} folder */
export function writeAdapters(folder) {
  mkdirSync(join(folder, "adapter"), { recursive: true });
  const halves = NAMES.flatMap((name, i) => [matrix(`base_model.model.${name}.lora_A.weight`, RANK, 48, 10 + i), matrix(`base_model.model.${name}.lora_B.weight`, 64, RANK, 20 + i)]);
  writeFileSync(join(folder, "adapted.safetensors"), safetensors(NAMES.map((name, i) => matrix(`${name}.weight`, 64, 48, i + 1))));
  writeFileSync(join(folder, "adapter", ADAPTER[0]), safetensors(halves));
  writeFileSync(join(folder, "adapter", ADAPTER[1]), JSON.stringify({ r: RANK, lora_alpha: 24, use_rslora: true }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeAdapters(process.argv[2]);
