//! The address of a webhook, as a tenant gives it.

use std::{fmt, net::IpAddr};

use reqwest::Url;

use crate::guard::Reach;

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 2_048;

/// Why a text is no address to send to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL, or one without a host.
    #[error("expected a URL such as https://example.com/hooks/cameo, found another text")]
    Shape,
    /// Longer than [`ADDRESS_BYTES_MAX`].
    #[error("expected a URL of at most {ADDRESS_BYTES_MAX} bytes, found {0}")]
    TooLong(usize),
    /// Neither encrypted nor allowed to be plain.
    #[error("expected a URL with https, found `{0}`")]
    NotHttps(String),
    /// A name and password in the address would be shown wherever the address is.
    #[error("expected a URL without a user name and password; the signature says who sends")]
    Credentials,
    /// An address that is not of the public internet.
    #[error("{0} is no public address; webhooks reach public addresses only")]
    NotPublic(IpAddr),
}

/// Where events go: a URL that was looked at. What its name resolves to is looked at when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address that may be reached.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        let url: Url = text.parse().map_err(|_| AddressError::Shape)?;
        match (url.scheme(), reach) {
            ("https", _) | ("http", Reach::Anywhere) => {}
            (scheme, _) => return Err(AddressError::NotHttps(scheme.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::Shape)?;
        // A literal address is not resolved, so it is looked at here.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !reach.allows(address) => Err(AddressError::NotPublic(address)),
            _ => Ok(Self(url)),
        }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_public_and_encrypted_unless_the_operator_allows_more() {
        for text in ["https://example.com/hooks?x=1", "https://8.8.8.8/", "https://[2606:4700::1]/"]
        {
            assert!(Address::parse(text, Reach::Public).is_ok(), "{text}");
        }
        // The last three are the loopback address in other spellings, which the URL's parser knows.
        for text in [
            "http://example.com/",
            "ftp://example.com/",
            "example.com",
            "https://",
            "/hooks",
            "https://ada:pw@example.com/",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
        ] {
            assert!(Address::parse(text, Reach::Public).is_err(), "{text}");
        }
        assert!(Address::parse("http://127.0.0.1:9000/", Reach::Anywhere).is_ok());
        assert!(Address::parse("ftp://127.0.0.1/", Reach::Anywhere).is_err());
        let long = format!("https://example.com/{}", "a".repeat(ADDRESS_BYTES_MAX));
        assert!(matches!(Address::parse(&long, Reach::Public), Err(AddressError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn no_private_address_passes_in_any_form(address in any::<u32>(), text in ".{0,60}") {
            let address = std::net::Ipv4Addr::from(address);
            for host in [address.to_string(), u32::from(address).to_string(),
                format!("[::ffff:{address}]")]
            {
                let parsed = Address::parse(&format!("https://{host}/"), Reach::Public);
                prop_assert_eq!(parsed.is_ok(), Reach::Public.allows(address.into()), "{}", host);
            }
            let _ = Address::parse(&text, Reach::Public);
        }
    }
}
