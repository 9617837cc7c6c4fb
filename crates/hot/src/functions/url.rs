//! `make_url`.

use super::{type_error, value_error};
use crate::expr::{Call, Expr, Outcome};
use crate::scope::Scope;
use crate::value::{Map, Value};

const TEXTS: [&str; 5] = ["scheme", "username", "password", "host", "path"];

pub(super) fn check(call: &Call) -> Outcome<()> {
    let Some(keys) = call.args.keys() else {
        return type_error("The arguments to \"make_url\" must be a map");
    };
    let known = |key: &String| {
        TEXTS.contains(&key.as_str()) || ["port", "query", "fragment"].contains(&key.as_str())
    };
    if let Some(unknown) = keys.iter().find(|key| !known(key)) {
        return value_error(format!("Invalid arguments to \"make_url\": {unknown}"));
    }
    // Heat checks the parts in this order and stops at a query.
    for key in TEXTS {
        if let Some(Expr::Value(value)) = call.args.get(key)
            && value.as_text().is_none()
        {
            return type_error(format!(
                "The \"{key}\" argument to \"make_url\" must be a string"
            ));
        }
    }
    if let Some(Expr::Value(port)) = call.args.get("port") {
        check_port(&port, &call.args.as_value().cloned().unwrap_or_default())?;
    }
    if let Some(query) = call.args.get("query") {
        if query.keys().is_none() && !query.is_call() {
            return type_error("The \"query\" argument to \"make_url\" must be a map");
        }
        return Ok(());
    }
    match call.args.get("fragment") {
        Some(Expr::Value(value)) if value.as_text().is_none() => {
            type_error("The \"fragment\" argument to \"make_url\" must be a string")
        }
        _ => Ok(()),
    }
}

fn check_port(port: &Value, args: &Value) -> Outcome<()> {
    let number = match port {
        Value::Text(text) => text.trim().parse::<i64>().ok(),
        Value::Int(number) => Some(*number),
        Value::Float(number) => Some(*number as i64),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    };
    match number {
        Some(1..=65535) => Ok(()),
        Some(number) => value_error(format!(
            "Invalid URL port {number}, must be in range 1-65535"
        )),
        None => value_error(format!(
            "Invalid URL port \"{}\" for make_url called with {}",
            port.python_str(),
            args.python_repr()
        )),
    }
}

pub(super) fn make_url(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let Value::Map(args) = call.args.resolve(scope)? else {
        return type_error("The arguments to \"make_url\" must be a map");
    };
    for key in TEXTS.into_iter().chain(["fragment"]) {
        if args.get(key).is_some_and(|value| value.as_text().is_none()) {
            return type_error(format!(
                "The \"{key}\" argument to \"make_url\" must be a string"
            ));
        }
    }
    if let Some(port) = args.get("port") {
        check_port(port, &Value::Map(args.clone()))?;
    }
    build(&args).map(Value::Text)
}

fn build(args: &Map) -> Outcome<String> {
    let part = |key: &str| args.get(key).and_then(Value::as_text).unwrap_or_default();
    let mut url = String::new();
    let scheme = part("scheme");
    if scheme.contains(':') {
        return value_error("URL \"scheme\" should not contain ':'");
    }
    if !scheme.is_empty() {
        url.push_str(scheme);
        url.push(':');
    }
    let mut place = String::new();
    let (user, password) = (part("username"), part("password"));
    if !user.is_empty() || !password.is_empty() {
        place.push_str(&quote(user, b""));
        if !password.is_empty() {
            place.push(':');
            place.push_str(&quote(password, b""));
        }
        place.push('@');
    }
    place.push_str(&host(part("host")));
    if let Some(port) = args.get("port") {
        place.push(':');
        place.push_str(&port.python_str());
    }
    if !place.is_empty() {
        url.push_str("//");
        url.push_str(&place);
    }
    let path = part("path");
    if !path.is_empty() {
        if !place.is_empty() && !path.starts_with('/') {
            url.push('/');
        }
        url.push_str(&quote(path, b"/"));
    }
    match args.get("query") {
        None | Some(Value::Null) => {}
        Some(Value::Map(query)) if query.is_empty() => {}
        Some(Value::Map(query)) => {
            let pairs = query.iter().map(|(key, value)| {
                format!("{}={}", quote_plus(key), quote_plus(&value.python_str()))
            });
            url.push('?');
            url.push_str(&pairs.collect::<Vec<_>>().join("&"));
        }
        Some(_) => return type_error("The \"query\" argument to \"make_url\" must be a map"),
    }
    if !part("fragment").is_empty() {
        url.push('#');
        url.push_str(&quote(part("fragment"), b"/"));
    }
    Ok(url)
}

/// An IPv6 address goes into brackets.
fn host(host: &str) -> String {
    match host.trim_matches(['[', ']']) {
        inner if inner.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{inner}]"),
        _ => quote(host, b""),
    }
}

/// Escapes as Python's `quote` does, with some characters left as they are.
fn quote(text: &str, safe: &[u8]) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || safe.contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            quoted.push_str(&format!("%{byte:02X}"));
        }
    }
    quoted
}

fn quote_plus(text: &str) -> String {
    quote(text, b"/ ").replace(' ', "+")
}
