//! The command `serve`: one JSON request a line, one JSON reply a line, in order.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use hot::{Kind, Phase, TemplateError};
use serde_json::Value as Json;

use crate::client::Request;
use crate::{eval, update};

/// Answers until the input ends.
pub fn serve(input: impl BufRead, mut output: impl Write) -> ExitCode {
    for line in input.lines() {
        let Ok(line) = line else {
            return ExitCode::FAILURE;
        };
        if line.trim().is_empty() {
            continue;
        }
        let reply = answer(&line).unwrap_or_else(|error| eval::error_json(&error));
        if writeln!(output, "{reply}")
            .and_then(|()| output.flush())
            .is_err()
        {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn wrong(message: String) -> TemplateError {
    TemplateError::new(Kind::ValueError, message).during(Phase::Api)
}

fn answer(line: &str) -> Result<Json, TemplateError> {
    let request: Json =
        serde_json::from_str(line).map_err(|error| wrong(format!("not a request: {error}")))?;
    match request["op"].as_str() {
        Some("eval") => eval::eval(&stack(&request, "")?),
        Some("validate") => eval::validate(&stack(&request, "")?),
        Some("changes") => update::changes(&update::Request {
            old: stack(&request, "old_")?,
            new: stack(&request, "new_")?,
            existing: request["existing"].as_bool().unwrap_or(false),
        }),
        _ => Err(wrong("`op` is one of eval, validate, changes".to_owned())),
    }
}

fn stack(request: &Json, prefix: &str) -> Result<Request, TemplateError> {
    let key = |word: &str| format!("{prefix}{word}");
    let root = PathBuf::from(request["root"].as_str().unwrap_or_default());
    let texts = |word: &str| -> Vec<String> {
        let items = request[key(word).as_str()].as_array();
        items
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let template = request[key("template").as_str()]
        .as_str()
        .ok_or_else(|| wrong(format!("`{}` is missing", key("template"))))?;
    Ok(Request {
        stack_name: request["stack_name"].as_str().unwrap_or("st").to_owned(),
        template: root.join(template),
        environments: texts("environments")
            .iter()
            .map(|path| root.join(path))
            .collect(),
        parameters: texts("parameters"),
    })
}
