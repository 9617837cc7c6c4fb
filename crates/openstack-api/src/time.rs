//! Times as the services write them. All are UTC.

use jiff::Timestamp;

/// `2026-01-02T03:04:05.000006Z`: identity, always with six digits.
pub fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// `2026-01-02T03:04:05Z`: image, orchestration, compute, network.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T03:04:05+00:00`: baremetal.
pub fn offset(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn three_forms() {
        let at = "2026-01-02T03:04:05.000006Z".parse().unwrap();
        assert_eq!(super::micros(at), "2026-01-02T03:04:05.000006Z");
        assert_eq!(super::seconds(at), "2026-01-02T03:04:05Z");
        assert_eq!(super::offset(at), "2026-01-02T03:04:05+00:00");
        assert_eq!(
            super::micros("2026-01-02T03:04:05Z".parse().unwrap()),
            "2026-01-02T03:04:05.000000Z"
        );
    }
}
