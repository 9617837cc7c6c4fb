//! What makers do differently, as a table: one row per habit, looked up by what the firmware says of itself.
//!
//! A habit that shows in an error message is not listed here but answered where the error arrives, since
//! makers change it with firmware versions.

use crate::BootTarget;

/// Habits of a maker's controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quirks {
    /// The boot target that means virtual media.
    pub(crate) media_target: BootTarget,
    /// The boot mode must be sent with each boot override, else it falls back to BIOS.
    pub(crate) mode_with_override: bool,
}

/// What the standard says.
const STANDARD: Quirks = Quirks {
    media_target: BootTarget::Cd,
    mode_with_override: false,
};

/// Maker (start of its name, lower case) and what differs.
const TABLE: &[(&str, Quirks)] = &[
    (
        // Virtual media appears as a USB CD, and an override without a mode selects BIOS boot.
        "supermicro",
        Quirks {
            media_target: BootTarget::UsbCd,
            mode_with_override: true,
        },
    ),
    (
        "super micro",
        Quirks {
            media_target: BootTarget::UsbCd,
            mode_with_override: true,
        },
    ),
];

/// The habits of `manufacturer`.
pub(crate) fn of(manufacturer: Option<&str>) -> Quirks {
    let name = manufacturer.unwrap_or_default().to_lowercase();
    TABLE
        .iter()
        .find(|(maker, _)| name.starts_with(maker))
        .map_or(STANDARD, |(_, quirks)| *quirks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_are_found_by_the_start_of_their_name() {
        assert_eq!(of(Some("Supermicro")).media_target, BootTarget::UsbCd);
        assert_eq!(
            of(Some("Super Micro Computer Inc")).media_target,
            BootTarget::UsbCd
        );
        assert_eq!(of(Some("Dell Inc.")), STANDARD);
        assert_eq!(of(None), STANDARD);
    }
}
