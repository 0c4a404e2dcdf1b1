//! What `config.json` says of a model's quantization.

use serde_json::Value;

/// The parts of a model's `config.json` that say how it is quantized.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// `quantization_config`: transformers' place for it.
    quantization_config: Value,
    /// `quantization`: MLX's.
    quantization: Value,
}

impl Config {
    /// Reads the text of a `config.json`. What can't be read says nothing: other programs have files of that name.
    pub fn parse(json: &[u8]) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(json) else { return Self::default() };
        let mut take = |key: &str| fields.remove(key).unwrap_or(Value::Null);
        Self { quantization_config: take("quantization_config"), quantization: take("quantization") }
    }

    /// What GPTQ's stored zeros lack: 1 in its first format, 0 in the second.
    pub(super) fn gptq_offset(&self) -> u8 {
        let format = self.quantization_config.get("checkpoint_format").and_then(Value::as_str);
        u8::from(format != Some("gptq_v2"))
    }

    /// Weights that share a scale; none where it is said to be the whole row, or not said.
    pub(super) fn group_size(&self) -> Option<u64> {
        self.quantization_config.get("group_size")?.as_u64()
    }

    /// Bits and group of an MLX tensor without `.weight`: its own, or the model's.
    pub(super) fn mlx(&self, name: &str) -> Option<(u64, u64)> {
        let own = self.quantization.get(name).filter(|own| own.is_object());
        let number = |key: &str| {
            let get = |from: &Value| from.get(key).and_then(Value::as_u64);
            own.and_then(get).or_else(|| get(&self.quantization))
        };
        Some((number("bits")?, number("group_size")?))
    }

    /// Bits of compressed-tensors' packed integers, if all its groups agree.
    pub(super) fn packed_bits(&self) -> Option<u64> {
        let groups = self.quantization_config.get("config_groups")?.as_object()?;
        let mut bits = groups.values().filter_map(|group| group.get("weights")?.get("num_bits")?.as_u64());
        let first = bits.next()?;
        bits.all(|other| other == first).then_some(first)
    }

    /// Rows and columns that share a scale in FP8 checkpoints.
    pub(super) fn fp8_block(&self) -> Option<[u64; 2]> {
        let block = self.quantization_config.get("weight_block_size")?.as_array()?;
        let [rows, cols] = &block[..] else { return None };
        Some([rows.as_u64()?, cols.as_u64()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_and_nonsense_says_nothing() {
        let config = Config::parse(
            br#"{"quantization": {"bits": 4, "group_size": 64, "a.b": {"bits": 8, "group_size": 32}, "c": false},
                "quantization_config": {"checkpoint_format": "gptq_v2", "weight_block_size": [128, 64],
                "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}}"#,
        );
        assert_eq!((config.mlx("a.b"), config.mlx("c")), (Some((8, 32)), Some((4, 64))));
        assert_eq!((config.gptq_offset(), config.packed_bits(), config.fp8_block()), (0, Some(4), Some([128, 64])));
        for text in [&b"not json"[..], b"[]", b"{}", br#"{"quantization": 3, "quantization_config": "x"}"#] {
            let config = Config::parse(text);
            assert_eq!((config.mlx("a"), config.gptq_offset(), config.packed_bits()), (None, 1, None));
        }
    }
}
