"""Chapter 04's calculator of the cache's memory, inside the page, without a kernel."""

from typing import Any

from minimind_lite.config import ModelConfig

from ...kit.in_page import Slider, in_page
from ...kit.labels import label

_DRAW = """
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const size = (n) => {
    const power = n > 0 ? Math.min(Math.floor(Math.log2(n) / 10), 4) : 0;
    return (n / Math.pow(1024, power)).toFixed(power ? 1 : 0) + " " + units[power];
  };
  const draw = (v) => {
    const bytes = 2 * v.layers * v.heads * v.width * v.tokens * v.texts * 2;
    root.querySelector(".product").textContent =
      ["2", v.layers, v.heads, v.width, v.tokens, v.texts, "2 bytes"].join(" × ");
    root.querySelector(".total").textContent = size(bytes);
  };
"""


def cache_calculator(config: ModelConfig, tokens: int = 8192) -> Any:
    """Keys and values of ``tokens`` tokens in 16 bits, worked out; every factor can be moved."""
    factors = (config.num_hidden_layers, config.num_key_value_heads, config.head_dim, tokens, 1)
    total = 4
    for factor in factors:
        total *= factor
    product = " × ".join(["2", *map(str, factors), "2 bytes"])
    picture = f'<div><span class="product">{product}</span> = <b class="total">{total / 2**20:.1f} MiB</b></div>'
    names = ("layers", "heads", "width", "tokens", "texts")
    words = ("layer", "kv_heads", "head_dim", "tokens_in_context", "texts_at_once")
    highs, steps = (64, 32, 256, 131072, 128), (1, 1, 16, 1024, 1)
    sliders = [Slider(name, label(word), step, high, value, step)
               for name, word, high, step, value in zip(names, words, highs, steps, factors, strict=True)]  # fmt: skip
    return in_page("cache-calculator", picture, sliders, _DRAW)
