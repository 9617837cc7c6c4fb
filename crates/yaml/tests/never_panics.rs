//! Whatever the text, reading it gives a value or an error.

use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = yaml::parse(&text);
    }

    #[test]
    fn text_made_of_yaml_is_read_or_refused(
        text in proptest::collection::vec(
            prop_oneof![
                Just("a: "), Just("- "), Just("\n"), Just("  "), Just("{"), Just("}"), Just("["),
                Just("]"), Just("&x "), Just("*x"), Just("<<: "), Just("!t "), Just("'"),
                Just("\""), Just("|"), Just(">-"), Just("---\n"), Just("0x1f"), Just("1:30"),
                Just("? "), Just(", "), Just("#c"), Just("\t"), Just("yes"),
            ],
            0..40,
        )
    ) {
        let _ = yaml::parse(&text.concat());
    }
}
