//! A bill from counted requests instead of modelled ones.

use super::bill::Bill;
use super::prices::{Item, Prices};
use crate::store::RequestKind;

/// Requests by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// Kind and calls.
    pub calls: Vec<(RequestKind, f64)>,
}

/// The billing class of a request. Deletions cost nothing.
fn item(kind: RequestKind) -> Option<(&'static str, Item)> {
    Some(match kind {
        RequestKind::Get | RequestKind::GetUnless => ("S3", Item::S3Get),
        RequestKind::Create
        | RequestKind::Replace
        | RequestKind::UploadStart
        | RequestKind::UploadPart
        | RequestKind::UploadComplete
        | RequestKind::UploadList
        | RequestKind::List => ("S3", Item::S3Put),
        // A HEAD of the bucket, for the date in its answer.
        RequestKind::Clock => ("S3", Item::S3Get),
        RequestKind::UploadAbort | RequestKind::Delete => return None,
        RequestKind::RegisterRead | RequestKind::RegisterList => ("DynamoDB", Item::TableRead),
        RequestKind::RegisterWrite => ("DynamoDB", Item::TableWrite),
    })
}

impl Counted {
    /// PUT-class requests and GET-class requests to the bucket.
    pub fn to_the_bucket(&self) -> (f64, f64) {
        let of = |wanted: Item| {
            let calls = self.calls.iter().filter(|(kind, _)| item(*kind).is_some_and(|(_, item)| item == wanted));
            calls.map(|(_, calls)| calls).sum()
        };
        (of(Item::S3Put), of(Item::S3Get))
    }
}

/// The bill of the requests, times `factor`: a month over the counted time, or a month's messages
/// over the counted ones.
pub fn counted(counted: &Counted, factor: f64, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    for (kind, calls) in &counted.calls {
        if let Some((service, item)) = item(*kind) {
            bill.add(prices, service, format!("counted: {kind}"), item, calls * factor);
        }
    }
    bill
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_billed_in_their_class() {
        let requests = Counted {
            calls: vec![
                (RequestKind::Create, 10.0),
                (RequestKind::GetUnless, 10.0),
                (RequestKind::List, 1.0),
                (RequestKind::Delete, 1_000.0),
                (RequestKind::RegisterWrite, 2.0),
            ],
        };
        let bill = counted(&requests, 100.0, &Prices::default());
        assert!((bill.list_for("S3") - (1_100.0 * 5e-6 + 1_000.0 * 4e-7)).abs() < 1e-12);
        assert!((bill.list_for("DynamoDB") - 200.0 * 6.25e-7).abs() < 1e-12);
        assert_eq!(requests.to_the_bucket(), (11.0, 10.0));
    }
}
