//! Finds the line of a template that a refusal speaks of.
//!
//! A server gets templates as JSON, so it can name only the path of what is wrong; the file with its lines is here.

use std::path::Path;

use hot::Template;
use openstack_client::ClientError;

/// Where such a path begins.
const SECTIONS: [&str; 5] = [
    "resources",
    "outputs",
    "parameters",
    "conditions",
    "parameter_groups",
];

/// The same error, with file, line and column before it where the server refused for something in the template.
pub fn placed(error: anyhow::Error, template: Option<&Path>) -> anyhow::Error {
    let Some(file) = template else { return error };
    let Some(ClientError::Refused {
        status: 400,
        message,
        ..
    }) = error.downcast_ref()
    else {
        return error;
    };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    match place(message, &text) {
        Some((line, column)) => error.context(format!("{}:{line}:{column}", file.display())),
        None => error,
    }
}

/// Line and column of what a refusal names.
fn place(message: &str, text: &str) -> Option<(usize, usize)> {
    let template = Template::from_text(text).ok()?;
    let paths = message.split(": ").filter(|part| {
        let section = part.split('.').next().unwrap_or_default();
        SECTIONS.contains(&section) && part.contains('.') && !part.contains(' ')
    });
    for path in paths {
        if let Some(span) = template.locate(path) {
            return Some((span.line, span.column));
        }
    }
    // Heat names no path for a type that it does not know, but the type.
    let (_, rest) = message.split_once("The Resource Type (")?;
    let (kind, _) = rest.split_once(')')?;
    let mut lines = text.lines().enumerate();
    let (line, found) = lines.find(|(_, line)| line.contains(kind))?;
    Some((line + 1, found.find(kind)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "heat_template_version: 2018-08-31\nresources:\n  a:\n    type: OS::Heat::Valeu\n    \
                        properties: {value: 1}\n";

    #[track_caller]
    fn check(message: &str, expect: Option<(usize, usize)>) {
        assert_eq!(place(message, TEXT), expect);
    }

    #[test]
    fn paths_and_types_are_found_in_the_text() {
        check(
            "Property error: resources.a.properties: Unknown Property v",
            Some((5, 5)),
        );
        check(
            "Property error: resources.a.properties.value: too long",
            Some((5, 18)),
        );
        check(
            "The Resource Type (OS::Heat::Valeu) could not be found.",
            Some((4, 11)),
        );
        check("The Stack (a) already exists.", None);
        check("no such place: resources.b is not there", None);
    }
}
