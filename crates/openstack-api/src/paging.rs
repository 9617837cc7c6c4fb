//! Pages of lists: `limit`, `marker`, and the link to what comes next.

use crate::{ApiError, Params};

/// What a service says about page sizes.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Size where the caller names none.
    pub default: usize,
    /// Larger wishes are cut down to this.
    pub max: usize,
    /// Whether `limit=0` asks for nothing; else it is refused.
    pub zero: bool,
}

/// The page that a caller asks for.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most so many.
    pub limit: usize,
    /// After the item with this id.
    pub marker: Option<String>,
}

impl Page {
    /// Reads `limit` and `marker`; 400 for a limit that is none.
    pub fn of(params: &Params, limits: PageLimits) -> Result<Self, ApiError> {
        let limit = match params.get("limit") {
            None => limits.default,
            Some(text) => {
                let wrong = || {
                    ApiError::bad_request(format!(
                        "Invalid value `{text}` for `limit`: a positive integer is expected."
                    ))
                };
                let number: i64 = text.parse().map_err(|_| wrong())?;
                if number < 0 || (number == 0 && !limits.zero) {
                    return Err(wrong());
                }
                usize::try_from(number)
                    .unwrap_or(usize::MAX)
                    .min(limits.max)
            }
        };
        let marker = params
            .get("marker")
            .filter(|text| !text.is_empty())
            .map(str::to_owned);
        Ok(Self { limit, marker })
    }

    /// Cuts the page out of an ordered list; says whether more follows.
    ///
    /// `None` where the marker is not in the list.
    pub fn cut<'a, T>(&self, items: &'a [T], id: impl Fn(&T) -> &str) -> Option<(&'a [T], bool)> {
        let start = match &self.marker {
            None => 0,
            Some(marker) => items.iter().position(|item| id(item) == marker)? + 1,
        };
        let end = items.len().min(start.saturating_add(self.limit));
        Some((&items[start..end], end < items.len()))
    }

    /// The query of the next page: the caller's own, with `marker` set.
    pub fn next_query(params: &Params, marker: &str) -> String {
        let mut kept: Vec<_> = params
            .0
            .iter()
            .filter(|(key, _)| key != "marker")
            .cloned()
            .collect();
        kept.push(("marker".to_owned(), marker.to_owned()));
        Params(kept).to_query()
    }
}

impl Params {
    /// Writes the parameters as a query string.
    pub fn to_query(&self) -> String {
        self.iter()
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect::<Vec<_>>()
            .join("&")
    }
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b',' | b':') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PageLimits = PageLimits {
        default: 2,
        max: 3,
        zero: false,
    };

    fn page(query: &str) -> Result<Page, ApiError> {
        Page::of(
            &Params::of(&format!("/x?{query}").parse().unwrap()).unwrap(),
            LIMITS,
        )
    }

    #[test]
    fn limits() {
        assert_eq!(page("").unwrap().limit, 2);
        assert_eq!(page("limit=100").unwrap().limit, 3);
        for bad in ["limit=0", "limit=-1", "limit=x", "limit="] {
            assert_eq!(page(bad).unwrap_err().status.as_u16(), 400, "{bad}");
        }
    }

    #[test]
    fn cutting() {
        let items = ["a", "b", "c"];
        let cut = |query: &str| {
            page(query)
                .unwrap()
                .cut(&items, |s| s)
                .map(|(s, more)| (s.concat(), more))
        };
        assert_eq!(cut(""), Some(("ab".into(), true)));
        assert_eq!(cut("marker=b"), Some(("c".into(), false)));
        assert_eq!(cut("marker=c"), Some((String::new(), false)));
        assert_eq!(cut("marker=zz"), None);
    }

    #[test]
    fn next_keeps_filters() {
        let params = Params::of(&"/x?limit=2&name=a%20b&marker=old".parse().unwrap()).unwrap();
        assert_eq!(
            Page::next_query(&params, "new"),
            "limit=2&name=a%20b&marker=new"
        );
    }
}
