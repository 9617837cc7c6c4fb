//! Microversions: which one a request asks for, and since when a field exists.
//!
//! Each API has one constant [`Microversions`] and one table of [`Since`]; nothing else in the service compares
//! version numbers.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::ApiError;

/// A version such as 1.81; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    /// Before the dot.
    pub major: u16,
    /// After the dot.
    pub minor: u16,
}

impl Microversion {
    /// A version.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Reads `1.81`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |part: &str| {
            (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse().ok())
                .flatten()
        };
        Some(Self::new(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// In which headers the version travels.
#[derive(Debug, Clone, Copy)]
pub enum HeaderStyle {
    /// `<prefix>-Version`, `<prefix>-Minimum-Version`, `<prefix>-Maximum-Version`, all in lower case.
    Own(&'static str),
    /// `OpenStack-API-Version: <service> 2.1`.
    Common(&'static str),
}

/// The range of versions that an API has.
#[derive(Debug, Clone, Copy)]
pub struct Microversions {
    /// Header names.
    pub style: HeaderStyle,
    /// Oldest, used where the request names none.
    pub min: Microversion,
    /// Newest.
    pub max: Microversion,
}

impl Microversions {
    /// The version to use for a request: the one asked for, `latest`, or the oldest; 406 for others.
    pub fn negotiate(&self, headers: &HeaderMap) -> Result<Microversion, ApiError> {
        let asked = match self.style {
            HeaderStyle::Own(prefix) => headers
                .get(format!("{prefix}-version"))
                .map(|value| value.to_str().unwrap_or("?").trim().to_owned()),
            HeaderStyle::Common(service) => headers
                .get_all("openstack-api-version")
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .find_map(|part| {
                    let (name, version) = part.trim().split_once(' ')?;
                    (name == service).then(|| version.trim().to_owned())
                }),
        };
        let Some(asked) = asked.filter(|text| !text.is_empty()) else {
            return Ok(self.min);
        };
        if asked.eq_ignore_ascii_case("latest") {
            return Ok(self.max);
        }
        let Some(version) = Microversion::parse(&asked) else {
            return Err(not_acceptable(format!(
                "Invalid value for the API version: `{asked}`"
            )));
        };
        if (self.min..=self.max).contains(&version) {
            return Ok(version);
        }
        let mut error = not_acceptable(format!(
            "Version {version} was requested but is not supported by this service. The supported versions are {} to {}.",
            self.min, self.max
        ));
        for (name, value) in self.range_headers() {
            error = error.header(name, value);
        }
        Err(error)
    }

    /// Writes the version used, and the range, into the headers of an answer.
    pub fn stamp(&self, headers: &mut HeaderMap, used: Microversion) {
        let (name, value) = match self.style {
            HeaderStyle::Own(prefix) => (format!("{prefix}-version"), used.to_string()),
            HeaderStyle::Common(service) => (
                "openstack-api-version".to_owned(),
                format!("{service} {used}"),
            ),
        };
        for (name, value) in text_header(&name, &value)
            .into_iter()
            .chain(self.range_headers())
        {
            headers.insert(name, value);
        }
        headers.append(
            http::header::VARY,
            HeaderValue::from_static("OpenStack-API-Version"),
        );
    }

    fn range_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let HeaderStyle::Own(prefix) = self.style else {
            return Vec::new();
        };
        [("minimum", self.min), ("maximum", self.max)]
            .into_iter()
            .filter_map(|(end, version)| {
                text_header(&format!("{prefix}-{end}-version"), &version.to_string())
            })
            .collect()
    }
}

fn not_acceptable(message: String) -> ApiError {
    ApiError::new(StatusCode::NOT_ACCEPTABLE, message).before_handler()
}

fn text_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((
        HeaderName::from_bytes(name.as_bytes()).ok()?,
        HeaderValue::from_str(value).ok()?,
    ))
}

/// A row of a service's table: a field, verb or path, and the first minor version that has it.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// Name.
    pub name: &'static str,
    /// First minor version.
    pub minor: u16,
}

impl Since {
    /// Whether `name` exists at `version`; names that the table does not list exist since ever.
    pub fn allows(table: &[Since], name: &str, version: Microversion) -> bool {
        table
            .iter()
            .find(|row| row.name == name)
            .is_none_or(|row| version.minor >= row.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Microversions = Microversions {
        style: HeaderStyle::Own("x-openstack-ironic-api"),
        min: Microversion::new(1, 1),
        max: Microversion::new(1, 81),
    };

    fn ask(text: Option<&str>) -> Result<Microversion, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(text) = text {
            headers.insert("X-OpenStack-Ironic-API-Version", text.parse().unwrap());
        }
        API.negotiate(&headers)
    }

    #[test]
    fn negotiation() {
        assert_eq!(ask(None).unwrap(), API.min);
        assert_eq!(ask(Some("latest")).unwrap(), API.max);
        assert_eq!(ask(Some("1.50")).unwrap(), Microversion::new(1, 50));
        for bad in ["1.82", "2.0", "1.0", "one", "1.", "1.-1", "1.+1"] {
            assert_eq!(
                ask(Some(bad)).unwrap_err().status,
                StatusCode::NOT_ACCEPTABLE,
                "{bad}"
            );
        }
    }

    #[test]
    fn out_of_range_tells_the_range_and_garbage_does_not() {
        let has_range = |text| {
            let answer = ask(Some(text))
                .unwrap_err()
                .render(crate::Dialect::Baremetal, None);
            answer
                .headers()
                .contains_key("x-openstack-ironic-api-maximum-version")
        };
        assert!(has_range("1.99"));
        assert!(!has_range("garbage"));
    }

    #[test]
    fn common_header() {
        let api = Microversions {
            style: HeaderStyle::Common("compute"),
            ..API
        };
        let mut headers = HeaderMap::new();
        headers.insert(
            "OpenStack-API-Version",
            "network 1.3, compute 1.40".parse().unwrap(),
        );
        assert_eq!(api.negotiate(&headers).unwrap(), Microversion::new(1, 40));
    }
}
