//! Identifiers as OpenStack writes them.

use uuid::Uuid;

/// Coins an identifier without dashes, as identity, compute projects and users have it.
pub fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Coins an identifier with dashes, as images, nodes, stacks and servers have it.
pub fn new_uuid() -> String {
    Uuid::new_v4().hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms() {
        assert_eq!(super::new_id().len(), 32);
        assert!(!super::new_id().contains('-'));
        assert_eq!(super::new_uuid().len(), 36);
    }
}
