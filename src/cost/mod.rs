//! The monthly cost of a pipeline: pure functions from rates, or from counted requests, to a bill.
//!
//! A month is 30 days. Prices are those of us-east-1 on demand, as of [`PRICES_OF`]; each can be
//! replaced.
//!
//! ```
//! use deltafold::cost::{Load, Prices, bill};
//!
//! let bill = bill(&Load::default(), &Prices::default());
//! assert!(bill.to_pay() <= 3.0, "30 messages a minute with the default template");
//! ```

mod bill;
mod counted;
mod load;
mod others;
mod prices;
mod queries;

pub use bill::{Bill, Line};
pub use counted::{Counted, counted};
pub use load::{Load, Shape, Source, bill};
pub use others::{Hosted, OldWay, Written, file_system, hosted, old_way, written};
pub use prices::{Item, PRICES_OF, Prices};
pub use queries::{
    OLD_WAY_FLAT, QueryLoad, QueryShape, chroma_cloud, function_url, query_loads, s3_vectors, turbopuffer,
};

/// Minutes of a month of 30 days.
pub const MINUTES: f64 = 43_200.0;
