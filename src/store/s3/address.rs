//! Addresses of S3 stores: `s3://bucket/prefix?region=eu-west-1`.

use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::S3Options;
use crate::aws;

/// `s3://BUCKET[/PREFIX][?NAME=VALUE[&NAME=VALUE…]]`.
///
/// The bucket is a name, the alias of an access point, or the ARN of one:
/// `s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/NAME/PREFIX`. An ARN names the region.
///
/// Names: `region`, `endpoint`, `path_style` (true, false), `ca` (a file of PEM certificates to
/// trust as well), `attempts` (of the SDK), `connect_timeout`, `first_byte_timeout`,
/// `attempt_timeout`, `operation_timeout` (seconds), `temporary` (a folder), `cache` (a folder for
/// copies of parts) and `cache_bytes` (the bound of the cache, 10 GiB by default; `500MiB`,
/// `20GiB`).
///
/// ```
/// # use deltafold::store::s3::S3Address;
/// let address: S3Address = "s3://vectors/prod?region=eu-west-1&cache=/var/cache/vectors&cache_bytes=20GiB".parse().unwrap();
/// assert_eq!((address.bucket.as_str(), address.prefix.as_str()), ("vectors", "prod"));
/// assert_eq!(address.cache.unwrap().1, 20 << 30);
/// ```
#[derive(Debug, Clone, Default)]
pub struct S3Address {
    /// The bucket, or the ARN of an access point.
    pub bucket: String,
    /// The prefix of all keys.
    pub prefix: String,
    /// The options of the connection.
    pub options: S3Options,
    /// A folder for copies of parts, and its bound in bytes.
    pub cache: Option<(PathBuf, u64)>,
}

/// The default bound of a cache.
const CACHE_BYTES: u64 = 10 << 30;

impl FromStr for S3Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The parser of URLs drops line breaks and tabs, which would name another bucket.
        if text.contains(char::is_control) {
            return Err(format!("{text:?} is not an address of an S3 store: it holds a control character"));
        }
        // An ARN is no host of a URL, so its place is taken by the name of the access point.
        let point = text.strip_prefix("s3://arn:").map(|rest| AccessPoint::parse(text, rest)).transpose()?;
        let plain = point.as_ref().map_or(text, |point| point.plain.as_str());
        let url = Url::parse(plain).map_err(|error| format!("`{text}` is not an address of an S3 store: {error}"))?;
        let bucket = url.host_str().unwrap_or_default();
        if url.scheme() != "s3" || bucket.is_empty() || url.port().is_some() || url.password().is_some() {
            return Err(format!("`{text}` is not an address of an S3 store; write `s3://BUCKET/PREFIX`"));
        }
        let prefix = url.path().trim_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()/".contains(c);
        if !prefix.chars().all(plain) || prefix.len() > 100 {
            return Err(format!("the prefix `{prefix}` must be of at most 100 of a-z A-Z 0-9 ! - _ . * ' ( ) /"));
        }
        let mut address = Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), ..Self::default() };
        let (mut cache, mut cache_bytes) = (None, CACHE_BYTES);
        for (name, value) in url.query_pairs() {
            if aws::parse(&mut address.options.aws, &name, &value)? {
                continue;
            }
            match (&*name, &*value) {
                ("path_style", "true" | "false") => address.options.path_style = Some(value == "true"),
                ("path_style", _) => return Err(format!("`path_style={value}` is neither true nor false")),
                ("temporary", folder) => address.options.temporary = Some(folder.into()),
                ("cache", folder) => cache = Some(PathBuf::from(folder)),
                ("cache_bytes", size) => {
                    cache_bytes = parse_bytes(size)
                        .ok_or_else(|| format!("`cache_bytes={size}` is not a size; write `20GiB`"))?;
                }
                _ => return Err(format!("an address of an S3 store has no parameter `{name}`")),
            }
        }
        address.cache = cache.map(|folder| (folder, cache_bytes));
        if let Some(point) = point {
            point.apply(&mut address)?;
        }
        Ok(address)
    }
}

/// The ARN of an access point in an address.
struct AccessPoint {
    arn: String,
    region: String,
    /// The address with the name of the access point in place of its ARN.
    plain: String,
}

impl AccessPoint {
    /// Reads the rest of an address behind `s3://arn:`.
    fn parse(text: &str, rest: &str) -> Result<Self, String> {
        let usage = "write `s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/PREFIX`";
        let refused = |why: &str| format!("`{text}` is not an address of an S3 store: {why}; {usage}");
        let (rest, query) =
            rest.split_once('?').map_or((rest, String::new()), |(rest, query)| (rest, format!("?{query}")));
        let mut fields = rest.splitn(5, ':');
        let mut next = || fields.next().unwrap_or_default();
        let (partition, service, region, account, resource) = (next(), next(), next(), next(), next());
        match service {
            "s3" => {}
            "s3-outposts" | "s3-object-lambda" => {
                return Err(refused(&format!("access points of `{service}` do not keep what Deltafold needs")));
            }
            _ => return Err(refused("its ARN is not one of S3")),
        }
        let Some(resource) = resource.strip_prefix("accesspoint").filter(|rest| rest.starts_with(['/', ':'])) else {
            return Err(refused("its ARN names no access point; a bucket needs no ARN, only its name"));
        };
        let resource = resource.get(1..).unwrap_or_default();
        let (name, prefix) = resource.split_once('/').unwrap_or((resource, ""));
        if region.is_empty() {
            return Err(refused(
                "an access point of several regions leads to several buckets, and only one can hold the truth",
            ));
        }
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        if ![partition, region, account, name].into_iter().all(is_plain) {
            return Err(refused("a field of its ARN is empty, or holds another character than a-z 0-9 -"));
        }
        let arn = format!("arn:{partition}:s3:{region}:{account}:accesspoint/{name}");
        Ok(Self { arn, region: region.to_owned(), plain: format!("s3://{name}/{prefix}{query}") })
    }

    /// Puts the ARN and its region into the address.
    fn apply(self, address: &mut S3Address) -> Result<(), String> {
        let region = address.options.aws.region.get_or_insert_with(|| self.region.clone());
        if *region != self.region {
            return Err(format!("`region={region}` is not the region of the access point: leave it out"));
        }
        if address.options.path_style == Some(true) {
            return Err("`path_style=true` does not go with an access point: leave it out".to_owned());
        }
        // The endpoint of an access point has the name of the point before its own.
        address.options.path_style = Some(false);
        address.bucket = self.arn;
        Ok(())
    }
}

/// A number of bytes, KiB, MiB or GiB.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_says_where_and_how() {
        let address: S3Address = "s3://b-1.x/a/b/?endpoint=http://localhost:9000&path_style=false&attempts=3\
            &connect_timeout=0.5&operation_timeout=20&temporary=/tmp/x&cache=/c%20d"
            .parse()
            .unwrap();
        assert_eq!((address.bucket.as_str(), address.prefix.as_str()), ("b-1.x", "a/b"));
        let aws = &address.options.aws;
        assert_eq!(aws.endpoint.as_deref(), Some("http://localhost:9000"));
        assert_eq!((address.options.path_style, aws.attempts), (Some(false), Some(3)));
        assert_eq!(aws.timeouts.connect, Duration::from_millis(500));
        assert_eq!(aws.timeouts.operation, Duration::from_secs(20));
        assert_eq!(address.cache, Some(("/c d".into(), CACHE_BYTES)));
        assert_eq!("s3://bucket".parse::<S3Address>().unwrap().prefix, "");
    }

    #[test]
    fn access_points_are_addressed_by_arn_or_alias() {
        let arn = "arn:aws:s3:eu-west-1:111122223333:accesspoint/vectors";
        for (text, prefix) in [
            (format!("s3://{arn}"), ""),
            (format!("s3://{arn}/"), ""),
            (format!("s3://{arn}/prod/a?attempts=2"), "prod/a"),
            (format!("s3://{arn}/prod?region=eu-west-1"), "prod"),
            ("s3://arn:aws:s3:eu-west-1:111122223333:accesspoint:vectors/prod".to_owned(), "prod"),
        ] {
            let address: S3Address = text.parse().unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (arn, prefix), "{text}");
            assert_eq!(address.options.aws.region.as_deref(), Some("eu-west-1"));
            assert_eq!(address.options.path_style, Some(false));
        }
        let alias: S3Address = "s3://vectors-x1y2z3-s3alias/prod".parse().unwrap();
        assert_eq!((alias.bucket.as_str(), alias.prefix.as_str()), ("vectors-x1y2z3-s3alias", "prod"));
    }

    #[test]
    fn an_arn_of_no_access_point_is_named() {
        for (rest, why) in [
            ("aws:s3:::bucket/prefix", "needs no ARN"),
            ("aws:s3::111122223333:accesspoint/x.mrap", "several regions"),
            ("aws:s3-outposts:eu-west-1:1:outpost/op-1/accesspoint/x", "s3-outposts"),
            ("aws:s3-object-lambda:eu-west-1:1:accesspoint/x", "s3-object-lambda"),
            ("aws:sqs:eu-west-1:1:queue", "not one of S3"),
            ("aws:s3:eu-west-1:1:accesspoint/", "is empty"),
            ("aws:s3:eu west:1:accesspoint/x", "another character"),
            ("aws:s3:eu-west-1", "needs no ARN"),
            ("aws:s3:eu-west-1:1:accesspoint/x?region=us-east-1", "leave it out"),
            ("aws:s3:eu-west-1:1:accesspoint/x?path_style=true", "leave it out"),
        ] {
            let error = format!("s3://arn:{rest}").parse::<S3Address>().unwrap_err();
            assert!(error.contains(why), "{rest}: {error}");
        }
    }

    #[test]
    fn the_bound_of_the_cache_is_read_with_its_unit() {
        for (text, expected) in [
            ("0", 0),
            ("5000", 5_000),
            ("3KiB", 3 << 10),
            ("3MiB", 3 << 20),
            ("20GiB", 20 << 30),
            ("8589934591GiB", 8_589_934_591 << 30),
        ] {
            let address: S3Address = format!("s3://b?cache=/c&cache_bytes={text}").parse().unwrap();
            assert_eq!(address.cache, Some(("/c".into(), expected)), "{text}");
        }
        for text in ["", "GiB", "1 GiB", "1gib", "1.5GiB", "-1", "17179869184GiB", "18446744073709551616"] {
            let error = format!("s3://b?cache=/c&cache_bytes={text}").parse::<S3Address>().unwrap_err();
            assert!(error.contains("is not a size"), "{text}: {error}");
        }
    }

    #[test]
    fn a_prefix_has_100_characters_at_most() {
        let parse = |length: usize| format!("s3://b/{}", "p".repeat(length)).parse::<S3Address>();
        assert_eq!(parse(100).unwrap().prefix.len(), 100);
        assert!(parse(101).unwrap_err().contains("at most 100"));
    }

    #[test]
    fn a_bad_address_names_its_fault() {
        for (text, why) in [
            ("s3://", "not an address"),
            ("http://bucket", "s3://BUCKET"),
            ("s3://b/a b", "prefix"),
            ("s3://b\n/a", "control character"),
            ("s3://b/a\t", "control character"),
            ("s3://b/a?region=eu%0A", "line break"),
            ("s3://b/a?endpoint=http://x%0D", "line break"),
            ("s3://b/a?x=1", "no parameter `x`"),
            ("s3://b/a?attempts=0", "1 to 10"),
            ("s3://b/a?path_style=1", "neither"),
            ("s3://b/a?connect_timeout=-1", "seconds"),
            ("s3://b/a?endpoint=localhost", "http://"),
            ("s3://b/a?cache_bytes=7GB", "20GiB"),
            ("s3://b/a?ca=/no/such/file", "certificates"),
        ] {
            let error = text.parse::<S3Address>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
