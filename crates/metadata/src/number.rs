//! Numbers as Python compares and prints them.

use crate::Value;

/// Whether two values are the same number; booleans are 0 and 1.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (Number::of(a), Number::of(b)) {
        (Some(a), Some(b)) => a.equals(&b),
        _ => false,
    }
}

enum Number {
    Integer(String),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Bool(value) => Some(Number::Integer(i64::from(*value).to_string())),
            Value::Int(value) => Some(Number::Integer(value.to_string())),
            Value::BigInt(digits) => Some(Number::Integer(digits.clone())),
            Value::Float(value) => Some(Number::Float(*value)),
            Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    fn equals(&self, other: &Number) -> bool {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a == b,
            (Number::Float(a), Number::Float(b)) => a == b,
            (Number::Integer(digits), Number::Float(value))
            | (Number::Float(value), Number::Integer(digits)) => {
                // A whole float prints exactly as the integer that it is, however large.
                let whole = value.is_finite() && value.fract() == 0.0;
                whole && format!("{:.0}", value + 0.0) == *digits
            }
        }
    }
}

/// Prints a float as Python's `repr`: the shortest digits that read back, an exponent below 1e-4 and from 1e16.
pub(crate) fn repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() {
            "-0.0"
        } else {
            "0.0"
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::repr;

    #[test]
    fn floats_print_as_python_does() {
        for (value, expect) in [
            (1.0, "1.0"),
            (1000.0, "1000.0"),
            (1e20, "1e+20"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (-0.0, "-0.0"),
            (1.5e-10, "1.5e-10"),
            (1e300, "1e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(repr(value), expect);
        }
    }
}
