// Makes safetensors files, right ones and wrong ones, without the crate under test.
import { open } from "node:fs/promises";

/**
 * @typedef {{name: string, dtype?: string, shape: number[], data?: Uint8Array}} Tensor
 */

/** A file from a header as text and the bytes after it. @param {string} header @param {Uint8Array} [data] */
export function fromHeader(header, data = new Uint8Array()) {
  const text = Buffer.from(header, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

/** The header of tensors that lie one after the other. @param {Tensor[]} tensors */
function headerOf(tensors) {
  let at = 0;
  const entries = tensors.map(({ name, dtype = "F32", shape }) => {
    const size = shape.reduce((product, dim) => product * dim, 1) * { F32: 4, F16: 2, U8: 1 }[dtype];
    const entry = [name, { dtype, shape, data_offsets: [at, at + size] }];
    at += size;
    return entry;
  });
  return JSON.stringify(Object.fromEntries(entries));
}

/** A right file. @param {Tensor[]} tensors with data */
export function safetensors(tensors) {
  return fromHeader(headerOf(tensors), Buffer.concat(tensors.map(({ data }) => data)));
}

/** A right file on disk that holds only what is said; the rest of it is a hole. @param {string} path @param {Tensor[]} tensors */
export async function sparseSafetensors(path, tensors) {
  const header = Buffer.from(headerOf(tensors));
  const offsets = JSON.parse(header.toString());
  const file = await open(path, "w");
  try {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await file.write(length, 0, 8, 0);
    await file.write(header, 0, header.length, 8);
    await file.truncate(8 + header.length + Math.max(...Object.values(offsets).map(({ data_offsets }) => data_offsets[1])));
    for (const { name, data } of tensors) {
      if (data) await file.write(data, 0, data.length, 8 + header.length + offsets[name].data_offsets[0]);
    }
  } finally {
    await file.close();
  }
}

/** The same heavy-tailed numbers for the same seed, as F32 bytes. @param {number} rows @param {number} columns @param {number} seed */
export function weights(rows, columns, seed) {
  let state = seed >>> 0 || 1;
  const uniform = () => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const scales = Float64Array.from({ length: columns }, () => (1 - uniform()) ** -0.4);
  const values = Float32Array.from({ length: rows * columns }, (_, i) => (uniform() + uniform() + uniform() - 1.5) * scales[i % columns]);
  return new Uint8Array(values.buffer);
}

/** A tensor of such numbers. @param {string} name @param {number} rows @param {number} columns @param {number} seed @returns {Tensor} */
export function matrix(name, rows, columns, seed) {
  return { name, shape: [rows, columns], data: weights(rows, columns, seed) };
}
