//! Codes of less than a byte, one after another in little-endian words, the lowest bits first.

/// The code of `bits` bits, at most 8, that begins at bit `at`.
pub(super) fn code(bytes: &[u8], at: usize, bits: u8) -> u8 {
    let low = bytes[at / 8];
    let high = bytes.get(at / 8 + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([low, high]) >> (at % 8)) as u8 & mask(bits)
}

/// The same in a matrix of 32-bit words, `width` a row, whose stream runs down each column.
pub(super) fn code_down(bytes: &[u8], width: usize, column: usize, at: usize, bits: u8) -> u8 {
    let word = |row: usize| {
        let at = 4 * (row * width + column);
        u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
    };
    let (row, shift) = (at / 32, at % 32);
    let low = word(row) >> shift;
    let high = if shift + usize::from(bits) > 32 { word(row + 1) << (32 - shift) } else { 0 };
    (low | high) as u8 & mask(bits)
}

fn mask(bits: u8) -> u8 {
    u8::MAX >> (8 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_straddle_bytes_and_words() {
        // Codes 0 to 31 of five bits: 160 bits, five words.
        let mut stream = [0_u8; 20];
        for i in 0..32 {
            for bit in 0..5 {
                let at = 5 * i + bit;
                stream[at / 8] |= ((i >> bit & 1) as u8) << (at % 8);
            }
        }
        // The same stream down the second of two columns.
        let mut columns = [0xff_u8; 40];
        for (i, word) in stream.chunks(4).enumerate() {
            columns[8 * i + 4..8 * i + 8].copy_from_slice(word);
        }
        for i in 0..32 {
            assert_eq!(code(&stream, 5 * i, 5), i as u8);
            assert_eq!(code_down(&columns, 2, 1, 5 * i, 5), i as u8);
        }
    }
}
