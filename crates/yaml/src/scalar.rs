//! The implicit types of plain scalars, by PyYAML's rules of YAML 1.1.

use crate::Yaml;

/// Reads a plain scalar. Text that is no number, boolean or null stays text.
pub fn resolve_plain(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Yaml::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Yaml::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Yaml::Bool(false);
        }
        _ => {}
    }
    // Most scalars are words: one look at the first byte spares them the rest.
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'-' | b'+' | b'.' => {}
        _ => return Yaml::Text(text.to_owned()),
    }
    integer(text)
        .or_else(|| float(text))
        .unwrap_or_else(|| Yaml::Text(text.to_owned()))
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(|b| b == b'_' || allowed(b))
}

fn radix(digits: &str, base: u32, negative: bool) -> Option<Yaml> {
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() {
        return None;
    }
    if let Ok(number) = i64::from_str_radix(&digits, base) {
        return Some(Yaml::Int(if negative { -number } else { number }));
    }
    // Too large for a whole number: the nearest float.
    let number = match base {
        10 => digits.parse::<f64>().ok()?,
        _ => digits
            .chars()
            .filter_map(|c| c.to_digit(base))
            .fold(0.0, |sum, digit| sum * f64::from(base) + f64::from(digit)),
    };
    Some(Yaml::Float(if negative { -number } else { number }))
}

fn integer(text: &str) -> Option<Yaml> {
    let (negative, rest) = split_sign(text);
    if rest == "0" {
        return Some(Yaml::Int(0));
    }
    if let Some(digits) = rest.strip_prefix("0b") {
        return all(digits, |b| matches!(b, b'0' | b'1')).then(|| radix(digits, 2, negative))?;
    }
    if let Some(digits) = rest.strip_prefix("0x") {
        return all(digits, |b| b.is_ascii_hexdigit()).then(|| radix(digits, 16, negative))?;
    }
    if let Some(digits) = rest.strip_prefix('0') {
        return all(digits, |b| (b'0'..=b'7').contains(&b)).then(|| radix(digits, 8, negative))?;
    }
    if !matches!(rest.as_bytes().first(), Some(b'1'..=b'9')) {
        return None;
    }
    if all(rest, |b| b.is_ascii_digit()) {
        return radix(rest, 10, negative);
    }
    let mut parts = rest.split(':');
    let first = parts.next()?;
    if !all(first, |b| b.is_ascii_digit()) {
        return None;
    }
    let mut number: i64 = first.replace('_', "").parse().ok()?;
    for part in parts {
        number = number.checked_mul(60)?.checked_add(sexagesimal(part)?)?;
    }
    Some(Yaml::Int(if negative { -number } else { number }))
}

/// One place of a base-60 number: one or two digits, below sixty.
fn sexagesimal(part: &str) -> Option<i64> {
    let digits = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = digits.then(|| part.parse().ok())??;
    (number < 60).then_some(number)
}

fn float(text: &str) -> Option<Yaml> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(Yaml::Float(f64::NAN)),
        _ => {}
    }
    let (negative, rest) = split_sign(text);
    let sign = if negative { -1.0 } else { 1.0 };
    if matches!(rest, ".inf" | ".Inf" | ".INF") {
        return Some(Yaml::Float(sign * f64::INFINITY));
    }
    let (whole, tail) = rest.split_once('.')?;
    if let Some((first, places)) = whole.split_once(':') {
        return sexagesimal_float(first, places, tail).map(|n| Yaml::Float(sign * n));
    }
    let (fraction, exponent) = match tail.find(['e', 'E']) {
        Some(at) => (&tail[..at], Some(&tail[at + 1..])),
        None => (tail, None),
    };
    if whole.is_empty() {
        // PyYAML takes a sign before the digits only, not before a bare point.
        if rest.len() != text.len() || !matches!(fraction.as_bytes().first(), Some(b'0'..=b'9')) {
            return None;
        }
    } else if !whole.as_bytes()[0].is_ascii_digit() || !all(whole, |b| b.is_ascii_digit()) {
        return None;
    }
    if !fraction.bytes().all(|b| b == b'_' || b.is_ascii_digit()) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-'])?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
    }
    let plain: String = rest.chars().filter(|c| *c != '_').collect();
    plain.parse::<f64>().ok().map(|n| Yaml::Float(sign * n))
}

fn sexagesimal_float(first: &str, places: &str, fraction: &str) -> Option<f64> {
    if !all(first, |b| b.is_ascii_digit()) || first.starts_with('_') {
        return None;
    }
    if !fraction.bytes().all(|b| b == b'_' || b.is_ascii_digit()) {
        return None;
    }
    let mut number: f64 = first.replace('_', "").parse().ok()?;
    for part in places.split(':') {
        number = number * 60.0 + sexagesimal(part)? as f64;
    }
    let fraction: String = fraction.chars().filter(|c| *c != '_').collect();
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    Some(number + fraction)
}

/// Spells a float as Python's `repr` does: `1.0`, `1e+22`, `1e-05`, `inf`, `nan`.
pub fn spell_float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let shortest = format!("{number:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&power) {
        let plain = format!("{number}");
        return if plain.contains('.') {
            plain
        } else {
            format!("{plain}.0")
        };
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Yaml) {
        assert_eq!(resolve_plain(text), expect, "{text}");
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        check("0644", Yaml::Int(420));
        check("0899", Yaml::Text("0899".into()));
        check("0o644", Yaml::Text("0o644".into()));
        check("0x1f", Yaml::Int(31));
        check("0b101", Yaml::Int(5));
        check("1_000", Yaml::Int(1000));
        check("-12", Yaml::Int(-12));
        check("1:30", Yaml::Int(90));
        check("12:34:56", Yaml::Int(45296));
        check("12:64", Yaml::Text("12:64".into()));
        check("1e3", Yaml::Text("1e3".into()));
        check("1.0e+3", Yaml::Float(1000.0));
        check("1.", Yaml::Float(1.0));
        check(".5", Yaml::Float(0.5));
        check("-.5", Yaml::Text("-.5".into()));
        check("1:30.5", Yaml::Float(90.5));
        check("-.inf", Yaml::Float(f64::NEG_INFINITY));
        check("10.0.0.1", Yaml::Text("10.0.0.1".into()));
        check("2013-05-23", Yaml::Text("2013-05-23".into()));
        check("-", Yaml::Text("-".into()));
        check("+", Yaml::Text("+".into()));
        check("0x", Yaml::Text("0x".into()));
        check("9223372036854775808", Yaml::Float(9223372036854775808.0));
    }

    #[test]
    fn words_are_booleans_nulls_or_text() {
        check("yes", Yaml::Bool(true));
        check("off", Yaml::Bool(false));
        check("y", Yaml::Text("y".into()));
        check("~", Yaml::Null);
        check("nUll", Yaml::Text("nUll".into()));
    }

    #[test]
    fn floats_are_spelled_as_python_spells_them() {
        for (number, text) in [
            (1.0, "1.0"),
            (1e22, "1e+22"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (-0.5, "-0.5"),
        ] {
            assert_eq!(spell_float(number), text);
        }
    }
}
