//! `digest`.

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use super::{type_error, value_error};
use crate::error::{Kind, TemplateError};
use crate::expr::{Call, Outcome};
use crate::scope::Scope;
use crate::value::Value;

const ALGORITHMS: &str = "blake2b, blake2s, md5, sha1, sha224, sha256, sha384, sha3_224, sha3_256, sha3_384, sha3_512, sha512, sha512_224, sha512_256";

pub(super) fn digest(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let args = call.args.resolve(scope)?;
    let texts: Option<Vec<&str>> = args
        .as_list()
        .and_then(|items| items.iter().map(Value::as_text).collect());
    let Some(texts) = texts else {
        return type_error("Argument to function \"digest\" must be a list of strings");
    };
    let [algorithm, text] = texts[..] else {
        return value_error("Function \"digest\" usage: [\"<algorithm>\", \"<value>\"]");
    };
    let mut bytes = Vec::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => return Err(not_latin1(c, at)),
        }
    }
    let digest = match algorithm.to_lowercase().as_str() {
        "md5" => Md5::digest(&bytes).to_vec(),
        "sha1" => Sha1::digest(&bytes).to_vec(),
        "sha224" => Sha224::digest(&bytes).to_vec(),
        "sha256" => Sha256::digest(&bytes).to_vec(),
        "sha384" => Sha384::digest(&bytes).to_vec(),
        "sha512" => Sha512::digest(&bytes).to_vec(),
        "sha512_224" => Sha512_224::digest(&bytes).to_vec(),
        "sha512_256" => Sha512_256::digest(&bytes).to_vec(),
        "sha3_224" => sponge::sha3(&bytes, 28),
        "sha3_256" => sponge::sha3(&bytes, 32),
        "sha3_384" => sponge::sha3(&bytes, 48),
        "sha3_512" => sponge::sha3(&bytes, 64),
        "blake2b" => blake::blake2b(&bytes),
        "blake2s" => blake::blake2s(&bytes),
        _ => return value_error(format!("Algorithm must be one of {{{ALGORITHMS}}}")),
    };
    Ok(Value::Text(
        digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

fn not_latin1(c: char, at: usize) -> TemplateError {
    let code = u32::from(c);
    let code = if code < 0x1_0000 {
        format!("\\u{code:04x}")
    } else {
        format!("\\U{code:08x}")
    };
    TemplateError::new(
        Kind::UnicodeEncodeError,
        format!(
            "'latin-1' codec can't encode character '{code}' in position {at}: ordinal not in range(256)"
        ),
    )
}

/// SHA-3, which Heat's Python offers; no crate of ours has it.
mod sponge {
    const ROTATIONS: [[u32; 5]; 5] = [
        [0, 36, 3, 41, 18],
        [1, 44, 10, 45, 2],
        [62, 6, 43, 15, 61],
        [28, 55, 25, 21, 56],
        [27, 20, 39, 8, 14],
    ];

    fn permute(state: &mut [[u64; 5]; 5]) {
        let mut lfsr = 1u8;
        for _ in 0..24 {
            let columns: [u64; 5] =
                std::array::from_fn(|x| state[x].iter().fold(0, |sum, lane| sum ^ lane));
            for x in 0..5 {
                let mix = columns[(x + 4) % 5] ^ columns[(x + 1) % 5].rotate_left(1);
                state[x].iter_mut().for_each(|lane| *lane ^= mix);
            }
            let mut moved = [[0u64; 5]; 5];
            for x in 0..5 {
                for y in 0..5 {
                    moved[y][(2 * x + 3 * y) % 5] = state[x][y].rotate_left(ROTATIONS[x][y]);
                }
            }
            for x in 0..5 {
                for y in 0..5 {
                    state[x][y] = moved[x][y] ^ (!moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y]);
                }
            }
            for bit in 0..7u32 {
                if lfsr & 1 == 1 {
                    state[0][0] ^= 1 << ((1u32 << bit) - 1);
                }
                lfsr = (lfsr << 1) ^ if lfsr & 0x80 != 0 { 0x71 } else { 0 };
            }
        }
    }

    pub(super) fn sha3(bytes: &[u8], size: usize) -> Vec<u8> {
        let rate = 200 - 2 * size;
        let mut padded = bytes.to_vec();
        padded.push(6);
        padded.resize(padded.len().next_multiple_of(rate), 0);
        if let Some(last) = padded.last_mut() {
            *last |= 0x80;
        }
        let mut state = [[0u64; 5]; 5];
        for block in padded.chunks(rate) {
            for (lane, word) in block.chunks_exact(8).enumerate() {
                let word = word
                    .iter()
                    .rev()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                state[lane % 5][lane / 5] ^= word;
            }
            permute(&mut state);
        }
        let lanes = (0..25).flat_map(|lane| state[lane % 5][lane / 5].to_le_bytes());
        lanes.take(size).collect()
    }
}

/// BLAKE2, without key and at full length.
mod blake {
    const SIGMA: [[usize; 16]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ];
    const LINES: [[usize; 4]; 8] = [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ];

    macro_rules! blake {
        ($name:ident, $word:ty, $rounds:literal, $turns:expr, $start:expr) => {
            pub(super) fn $name(bytes: &[u8]) -> Vec<u8> {
                const SIZE: usize = size_of::<$word>();
                const START: [$word; 8] = $start;
                const TURNS: [u32; 4] = $turns;
                let mut hash = START;
                hash[0] ^= 0x0101_0000 ^ (8 * SIZE as $word);
                let blocks = bytes.len().div_ceil(16 * SIZE).max(1);
                for at in 0..blocks {
                    let from = at * 16 * SIZE;
                    let to = bytes.len().min(from + 16 * SIZE);
                    let mut block = bytes[from..to].to_vec();
                    block.resize(16 * SIZE, 0);
                    let words: Vec<$word> = block
                        .chunks_exact(SIZE)
                        .map(|word| {
                            word.iter()
                                .rev()
                                .fold(0, |sum, b| sum << 8 | <$word>::from(*b))
                        })
                        .collect();
                    let mut v: [$word; 16] =
                        std::array::from_fn(|i| if i < 8 { hash[i] } else { START[i - 8] });
                    v[12] ^= to as $word;
                    if at + 1 == blocks {
                        v[14] = !v[14];
                    }
                    for round in 0..$rounds {
                        let order = &SIGMA[round % 10];
                        for (line, [a, b, c, d]) in LINES.into_iter().enumerate() {
                            for half in 0..2 {
                                let word = words[order[2 * line + half]];
                                v[a] = v[a].wrapping_add(v[b]).wrapping_add(word);
                                v[d] = (v[d] ^ v[a]).rotate_right(TURNS[2 * half]);
                                v[c] = v[c].wrapping_add(v[d]);
                                v[b] = (v[b] ^ v[c]).rotate_right(TURNS[2 * half + 1]);
                            }
                        }
                    }
                    for i in 0..8 {
                        hash[i] ^= v[i] ^ v[i + 8];
                    }
                }
                hash.iter().flat_map(|word| word.to_le_bytes()).collect()
            }
        };
    }

    blake!(
        blake2b,
        u64,
        12,
        [32, 24, 16, 63],
        [
            0x6a09e667f3bcc908,
            0xbb67ae8584caa73b,
            0x3c6ef372fe94f82b,
            0xa54ff53a5f1d36f1,
            0x510e527fade682d1,
            0x9b05688c2b3e6c1f,
            0x1f83d9abfb41bd6b,
            0x5be0cd19137e2179,
        ]
    );
    blake!(
        blake2s,
        u32,
        10,
        [16, 12, 8, 7],
        [
            0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
            0x5be0cd19,
        ]
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: Vec<u8>) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_python() {
        assert_eq!(
            hex(sponge::sha3(b"abc", 32)),
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"
        );
        assert_eq!(
            hex(blake::blake2s(b"abc")),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
        );
        assert!(hex(blake::blake2b(b"hello")).starts_with("e4cfa39a3d37be31c59609e807970799"));
    }
}
