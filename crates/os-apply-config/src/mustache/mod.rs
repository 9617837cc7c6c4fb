//! Mustache as pystache 0.6.8 renders it for os-apply-config: no escaping, values print as JSON, what is missing is
//! empty.
//!
//! The places where pystache leaves the Mustache specification are kept, because templates in images were written
//! against it. Partials come from a function of the caller; no file is read here.

mod parse;
mod render;

pub use parse::MustacheError;

use metadata::Value;

/// Finds the text of a partial by its name.
pub type Partials<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Renders `template` with `document` as its outermost context.
pub fn render(
    template: &str,
    document: &Value,
    partials: Partials<'_>,
) -> Result<String, MustacheError> {
    let parsed = parse::parse(template)?;
    let mut renderer = render::Renderer::new(document, partials);
    renderer.template(&parsed)?;
    Ok(renderer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"s":"str","t":true,"f":false,"z":0,"n":null,"l":[1,2,3],"a":"root",
        "d":{"a":"A","b":{"c":"C"}},"html":"<&>","lo":[{"a":1},{"b":2}],"p":{"n":"P","k":{"n":"K","k":null}}}"#;

    fn rendered(template: &str) -> Result<String, MustacheError> {
        let document = metadata::parse(DOCUMENT).unwrap();
        let partial = |name: &str| match name {
            "part" => Some("1\n2\n".to_owned()),
            "delims" => Some("{{=| |=}}|s|".to_owned()),
            "down" => Some("{{n}}{{#k}}<{{>down}}>{{/k}}".to_owned()),
            "forever" => Some("{{>forever}}".to_owned()),
            _ => None,
        };
        render(template, &document, &partial)
    }

    proptest::proptest! {
        #[test]
        fn any_template_is_rendered_or_refused(
            template in r"(\{\{|\}\}|[#^/&>=!{}|% .\n\tsdlkn]|part|delims|down|lo|\{\{#l\}\}|\{\{/l\}\}|é){0,24}"
        ) {
            let known = rendered(&template);
            if !template.contains("{{") {
                proptest::prop_assert_eq!(known.unwrap(), template);
            }
        }
    }

    #[track_caller]
    fn check(template: &str, expect: &str) {
        assert_eq!(rendered(template).unwrap(), expect, "{template}");
    }

    #[test]
    fn values() {
        check("{{s}} {{{s}}} {{&s}} {{ s }}", "str str str str");
        check(
            "{{t}} {{z}} [{{n}}] [{{no}}] {{l}}",
            "true 0 [] [] [1, 2, 3]",
        );
        check("{{html}}", "<&>");
        check("{{d.a}} [{{d.x.y}}] [{{l.0}}] [{{s.x}}]", "A [] [] []");
        check("{{s}}} ${s} { {{s}} }", "str} ${s} { str }");
    }

    #[test]
    fn sections() {
        check("{{#l}}<{{.}}>{{/l}}{{^l}}no{{/l}}", "<1><2><3>");
        check("{{#lo}}{{a}};{{/lo}}", "1;root;");
        check("{{#d}}{{a}}{{b.c}}{{s}}{{/d}}", "ACstr");
        check(
            "{{#f}}y{{/f}}{{^f}}n{{/f}}{{^z}}z{{/z}}{{^n}}n{{/n}}",
            "nzn",
        );
        check("{{#s}}[{{.}}]{{/s}}", "[str]");
    }

    #[test]
    fn lines_of_their_own() {
        check("a\n  {{#t}}\nin\n  {{/t}}\nb\n", "a\nin\nb\n");
        check("a\n{{! note }}\nb", "a\nb");
        check("a\n{{n}}\nb", "a\n\nb");
        check("  {{#t}}a{{/t}}\n", "  a\n");
        check("x\n{{=@ @=}}\n@s@", "x\nstr");
        check("a\r\n{{#t}}\r\nx\r\n{{/t}}\r\ny", "a\r\nx\r\ny");
    }

    #[test]
    fn delimiters() {
        check("{{=<% %>=}}<%s%> {{s}}<%={{ }}=%> {{s}}", "str {{s}} str");
        check("{{#t}}{{=| |=}}|s||/t| {{s}} |s|", "str {{s}} str");
        check("{{=[ ]=}}[s][{s}]", "strstr");
    }

    #[test]
    fn partials() {
        check("a\n  {{>part}}\nb", "a\n  1\n  2\nb");
        check("| {{>part}} |", "| 1\n2\n |");
        check("{{>delims}}{{s}}", "strstr");
        check("{{#p}}{{>down}}{{/p}}", "P<K>");
        check("a\n{{>nope}}\nb", "a\nb");
        assert!(rendered("{{>forever}}").is_err());
    }

    #[test]
    fn where_pystache_leaves_the_specification() {
        check("a\n  {{! x }}  \nb", "a\n    \nb");
        check("keep {{#s}}x", "x");
        check("{{s", "{{s");
        check("[{{}}]", "[{{}}]");
        check("[{{ }}]", "[]");
        check("[{{{s}}]", "[]");
        check("[{{s s}}]", "[]");
        check("{{=a b c=}}asb", "str");
        check("[{{}}] {{s}}", "[");
    }

    /// Every short text over the characters that matter is rendered or refused, and nothing else.
    #[test]
    fn no_text_is_too_odd() {
        const PIECES: [&str; 9] = ["{{", "}", "#", "/", "=", "\u{e9}", " ", "t", "\n"];
        const LENGTH: u32 = 5;
        for number in 0..PIECES.len().pow(LENGTH) {
            let mut left = number;
            let mut text = String::new();
            for _ in 0..LENGTH {
                text.push_str(PIECES[left % PIECES.len()]);
                left /= PIECES.len();
            }
            if let Ok(out) = rendered_from(&text, &Value::Bool(true)) {
                assert!(out.len() <= text.len() * 2, "{text:?}");
            }
        }
    }

    fn rendered_from(template: &str, document: &Value) -> Result<String, MustacheError> {
        render(template, document, &|_| None)
    }

    #[test]
    fn errors() {
        for template in [
            "{{/s}}",
            "{{#s}}{{/t}}",
            "{{#s}}{{#t}}{{/s}}{{/t}}",
            "{{=x=}}",
            "{{= | =}}",
        ] {
            assert!(rendered(template).is_err(), "{template}");
        }
        let error = rendered("a\n\n{{#s}}\n {{/t}}").unwrap_err();
        assert_eq!(error.line(), Some(4));
        assert_eq!(error.to_string(), "Section end tag mismatch: t != s");
    }
}
